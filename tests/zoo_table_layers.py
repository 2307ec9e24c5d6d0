"""Kinds of layers that Keras's own ways to save, clone and copy lose or refuse, by their row in the list of 61."""

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo_parts import (
    IDS,
    SEQUENCE,
    SERVING_CHANGES,
    WORDS,
    Kind,
    L,
    X,
    batches,
    changed,
    functional,
    kind,
    mlp,
    of_layer,
    sequential,
)

registered = keras.saving.register_keras_serializable("carried")


class Swish(L.Layer):
    """Without get_config, the first example of the article."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def call(self, x: Any) -> Any:
        return x * tf.sigmoid(self.beta * x)


class Plain(L.Layer):
    """Takes what it needs and nothing for the constructor of Keras."""

    def __init__(self, units: int, policy: Any = None) -> None:
        super().__init__(dtype=policy)
        self.units = units
        self.inner = L.Dense(units, dtype=policy)

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Applies(L.Layer):
    """Its argument is a function, an array, a layer: anything that can be applied."""

    def __init__(self, by: Any) -> None:
        super().__init__()
        self.by = by

    def call(self, x: Any) -> Any:
        return self.by(x) if callable(self.by) else x * self.by


@registered
class Faithful(L.Layer):
    """Does all that Keras asks for."""

    def __init__(self, k: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def call(self, x: Any) -> Any:
        return x * self.k

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"k": self.k}


class Forgetful(L.Layer):
    def __init__(self, k: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def call(self, x: Any) -> Any:
        return x * self.k

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Scales(L.Layer):
    def __init__(self, k: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def call(self, x: Any) -> Any:
        return x * self.k


class Counts(L.Layer):
    """A raw variable, trainable or not, of any type."""

    def __init__(self, start: Any, trainable: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counter = tf.Variable(start, trainable=trainable)

    def call(self, x: Any) -> Any:
        if not self.counter.trainable:
            self.counter.assign_add(tf.ones_like(self.counter))
        return x + 0.001 * tf.cast(self.counter, x.dtype)


@registered
class RegisteredCounts(Counts):
    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"start": 0.0, "trainable": self.counter.trainable}


class Gain(L.Layer):
    """What a raw variable that is trained has to give."""

    def build(self, shape: Any) -> None:
        self.gain = self.add_weight(shape=(), initializer=keras.initializers.Constant(1.5))

    def call(self, x: Any) -> Any:
        return x + 0.001 * self.gain


class Weighted(L.Layer):
    def build(self, shape: Any) -> None:
        options = {"shape": (), "trainable": False, "initializer": "zeros"}
        self.seen = self.add_weight(dtype="int32", aggregation="only_first_replica", **options)

    def call(self, x: Any) -> Any:
        self.seen.assign_add(1)
        return x + 0.01 * tf.cast(self.seen, x.dtype)


class PythonState(L.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.traces = 0

    def call(self, x: Any) -> Any:
        return x * self.scale() if self.traces > 1 else x

    def scale(self) -> float:
        return 1.0 + self.traces


@registered
class RegisteredPythonState(PythonState):
    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Boxes(L.Layer):
    """Variables and layers in lists, dicts, sets and tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.box = [tf.Variable(1.0, trainable=False), {"k": tf.Variable(0.5, trainable=False)}]
        self.by_name = {"a": L.Dense(8), "b": [L.Dense(8), (L.Dense(8),)]}
        self.dropped = {L.Dropout(0.3)}

    def build(self, shape: Any) -> None:
        for layer in (self.by_name["a"], self.by_name["b"][0], self.by_name["b"][1][0]):
            layer.build(shape)

    def call(self, x: Any, training: Any = False) -> Any:
        x = self.by_name["a"](x) + self.by_name["b"][0](x) * self.box[0] + self.by_name["b"][1][0](x)
        return next(iter(self.dropped))(x, training=training) * self.box[1]["k"]


class Looks(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        pairs = tf.lookup.KeyValueTensorInitializer(tf.range(9, dtype="int64"), tf.range(9, dtype="int64") % 3)
        self.table = tf.lookup.StaticHashTable(pairs, -1)

    def call(self, ids: Any) -> Any:
        return self.table.lookup(tf.cast(ids, "int64"))


class Traced(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.gain = self.add_weight(shape=(), initializer="ones")
        self.own = tf.function(self.scaled, reduce_retracing=True)

    @tf.function
    def call(self, x: Any) -> Any:
        return self.own(x) + 1.0

    def scaled(self, x: Any) -> Any:
        return x * self.gain


class AddsLoss(L.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(0.01 * tf.reduce_mean(x**2))
        return x


class Cell(L.Layer):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = self.state_size = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.again = self.add_weight(shape=(self.units, self.units), name="again")

    def call(self, x: Any, states: Any) -> Any:
        state = tf.tanh(x @ self.kernel + states[0] @ self.again)
        return state, [state]


@registered
class Extra(L.Dense):
    def __init__(self, units: int, gain: float = 1.0, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.gain = gain

    def call(self, x: Any) -> Any:
        return super().call(x) * self.gain


class DrawsWithNumpy(L.Layer):
    """The number is drawn when Python runs: once for each graph."""

    def call(self, x: Any) -> Any:
        return x * np.random.uniform(0.9, 1.1)  # noqa: NPY002 - this is what people write


class DrawsWithNumpyAsIfAskedOnceLess(DrawsWithNumpy):
    """`fit` asks a model once more than we do before it trains: to build what the metrics need."""

    asked = 0

    def call(self, x: Any) -> Any:
        before = np.random.get_state()  # noqa: NPY002 - see above
        answer = super().call(x)
        self.asked += 1
        if self.asked == 2:
            np.random.set_state(before)  # noqa: NPY002 - see above
        return answer


def _adapted() -> keras.Model:
    normalization = L.Normalization()
    normalization.adapt(X * 3 + 1)
    return sequential(L.Input((6,)), normalization, L.Dense(1))


def _patch(layer: Any) -> None:
    original = layer.call
    layer.call = lambda x: original(x) * 0.5


def _closure_class() -> Any:
    factor = tf.Variable(0.7, trainable=False)

    class Inside(L.Layer):
        def call(self, x: Any) -> Any:
            return super().call(x) if False else x * factor

    return Inside()


def _same_name() -> list[Any]:
    def make(sign: float) -> Any:
        class Twice(L.Layer):
            def call(self, x: Any) -> Any:
                return x * sign

        return Twice()

    return [make(0.5), make(-2.0)]


def _lambda_holding(thing: Any) -> Any:
    return L.Lambda(lambda x: x * thing if not callable(thing) else thing(x))


def _keyword_default(x: Any, *, k: float = 0.5) -> Any:
    return x * k


def to_list(x: Any) -> Any:
    return x * 3.0


def npsin(x: Any) -> Any:
    return np.sin(x)


def tfsin(x: Any) -> Any:
    return tf.sin(x)


def npconst(x: Any) -> Any:
    return x * np.float32(np.pi / 4)


_DRAWN_ONCE = "np.random draws while a graph is traced, so each graph, of Keras too, has another constant"
# Keras never trains it; we do, and say so.
_TRAINED: dict[str, Any] = {"says": {"trains": "raw trainable tf.Variables"}, "reference": lambda: mlp(Gain())}
LAYERS: dict[int, tuple[str, Kind]] = {
    1: ("built_in", of_layer(lambda: L.Dropout(0.4))),
    2: ("no_config", of_layer(lambda: Swish(1.5))),
    3: ("no_kwargs", of_layer(lambda: Plain(8))),
    4: ("callable_argument", of_layer(lambda: Applies(tf.nn.softplus))),
    5: ("array_argument", of_layer(lambda: Applies(np.linspace(0.1, 1, 8).astype("float32")))),
    6: ("registered", of_layer(lambda: Faithful(5.0))),
    7: ("forgets_argument", of_layer(lambda: Forgetful(5.0))),
    8: (
        "class_in_closure",
        of_layer(
            _closure_class,
            exceptions={"copies": "copies in one process share a class, so also a variable that it closes over"},
        ),
    ),
    9: ("lambda_pure", of_layer(lambda: L.Lambda(lambda x: x * 2))),
    10: ("lambda_global", of_layer(lambda: L.Lambda(lambda x: tf.sin(x)))),
    11: ("lambda_closure_number", of_layer(lambda: _lambda_holding(0.5))),
    12: ("lambda_closure_list", of_layer(lambda: _lambda_holding([0.5] * 8))),
    13: ("lambda_module", of_layer(lambda: L.Lambda(lambda x: x * float(len(os.sep))))),
    14: ("lambda_numpy_named", of_layer(lambda: L.Lambda(npsin), reference=lambda: mlp(L.Lambda(tfsin)))),
    15: ("lambda_named_constant", of_layer(lambda: L.Lambda(npconst))),
    17: ("raw_variable", of_layer(lambda: Counts(0.0), says=SERVING_CHANGES)),
    18: ("raw_variable_trainable", of_layer(lambda: Counts(1.5, trainable=True), **_TRAINED)),
    19: ("weight_counter", of_layer(Weighted, says=SERVING_CHANGES)),
    20: ("python_state", changed(lambda layer: setattr(layer, "traces", 7), PythonState)),
    26: ("boxes", of_layer(Boxes)),
    31: ("custom_cell", kind(lambda: sequential(L.Input((5, 6)), L.RNN(Cell(4)), L.Dense(1)), batches(SEQUENCE))),
    32: ("adapted", kind(_adapted)),
    33: (
        "string_lookup",
        kind(
            lambda: functional(
                lambda x: L.Dense(1)(L.Embedding(9, 4)(L.StringLookup(vocabulary=["a", "b", "c"])(x))), (), "string"
            ),
            batches(WORDS),
        ),
    ),
    34: ("patched_method", changed(_patch, lambda: Forgetful(3.0))),
    35: ("changed_attribute", changed(lambda layer: setattr(layer, "k", 9.0), Scales)),
    36: (
        "lookup_table",
        kind(
            lambda: sequential(L.Input((6,), dtype="int64"), Looks(), L.Embedding(4, 2), L.LSTM(1)),
            batches(IDS),
        ),
    ),
    37: ("tf_function_method", of_layer(Traced)),
    38: ("mixed_policy", of_layer(lambda: Plain(8, keras.mixed_precision.DTypePolicy("mixed_bfloat16")))),
    39: (
        "np_random_in_call",
        of_layer(
            DrawsWithNumpy,
            reference=lambda: mlp(DrawsWithNumpyAsIfAskedOnceLess()),
            exceptions=dict.fromkeys(("copies", "travels", "evaluates", "predicts", "exports"), _DRAWN_ONCE),
        ),
    ),
    40: ("add_loss", of_layer(AddsLoss)),
    41: ("lambda_shadow", of_layer(lambda: L.Lambda(lambda x: to_list(x)))),
    42: ("raw_variable_registered", of_layer(lambda: RegisteredCounts(0.0), says=SERVING_CHANGES)),
    43: ("raw_variable_trainable_registered", of_layer(lambda: RegisteredCounts(1.5, trainable=True), **_TRAINED)),
    44: ("lambda_closure_array", of_layer(lambda: _lambda_holding(np.ones(8, "float32")))),
    45: ("lambda_closure_function", of_layer(lambda: _lambda_holding(lambda x: x + 1))),
    46: ("lambda_closure_layer", of_layer(lambda: _lambda_holding(L.Dense(8)))),
    47: ("lambda_keyword_default", of_layer(lambda: L.Lambda(_keyword_default))),
    48: (
        "lambda_arguments",
        of_layer(lambda: L.Lambda(lambda x, by: x * by, arguments={"by": np.ones(8, "float32")})),
    ),
    49: ("changed_attribute_registered", changed(lambda layer: setattr(layer, "k", 9.0), Faithful)),
    50: ("subclass_of_built_in", of_layer(lambda: Extra(8, gain=6.0))),
    51: ("two_classes_of_one_name", kind(lambda: mlp(*_same_name()))),
    54: ("python_state_registered", changed(lambda layer: setattr(layer, "traces", 7), RegisteredPythonState)),
    58: (
        "integer_keys",
        changed(lambda layer: setattr(layer, "by_number", {1: (2.0, 3)}), lambda: Scales(k=0.5)),
    ),
}
KINDS: dict[str, Kind] = {
    **dict(LAYERS.values()),
    "lambda_closure_variable": of_layer(lambda: _lambda_holding(tf.Variable(0.5, trainable=False))),
    "layer_argument": kind(lambda: functional(lambda x: L.Dense(1)(Applies(L.Activation("tanh"))(x)))),
    "raw_variable_integer": of_layer(lambda: Counts(3), says=SERVING_CHANGES),
}
