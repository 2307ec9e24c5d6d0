"""Kinds of models that a copy must get right: what Keras's own ways to save, clone and copy lose or refuse."""

# No `from __future__ import annotations`: test_blueprint.py runs this file as `__main__`, too, like a notebook.

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo import BATCH, ROWS, Kind

L = keras.layers
_RNG = np.random.default_rng(7)
_X = _RNG.normal(size=(ROWS, 6)).astype("float32")
_Y = (_X[:, :1] * 2 - _X[:, 1:2] ** 2).astype("float32")
_IDS = _RNG.integers(0, 9, size=(ROWS, 6))


def batches(x: Any = _X, y: Any = _Y) -> Callable[[], tf.data.Dataset]:
    return lambda: tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH, drop_remainder=True)


def compiled(model: keras.Model, **options: Any) -> keras.Model:
    model.compile(**({"optimizer": "adam", "loss": "mse", "metrics": ["mae"]} | options))
    return model


def mlp(*between: Any, **options: Any) -> keras.Model:
    return compiled(keras.Sequential([L.Input((6,)), L.Dense(8, activation="relu"), *between, L.Dense(1)]), **options)


def kind(build: Callable[[], keras.Model], data: Callable[[], tf.data.Dataset] | None = None) -> Kind:
    return Kind(build, data or batches())


def of_layer(make: Callable[[], Any]) -> Kind:
    return kind(lambda: mlp(make()))


class Swish(L.Layer):
    """Without get_config, the first example of the article."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def call(self, x: Any) -> Any:
        return x * tf.sigmoid(self.beta * x)


class Plain(L.Layer):
    def __init__(self, units: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.inner = L.Dense(units)

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Applies(L.Layer):
    """Its argument is a function, an array, a layer, a dict: anything that can be applied."""

    def __init__(self, by: Any) -> None:
        super().__init__()
        self.by = by

    def call(self, x: Any) -> Any:
        return self.by(x) if callable(self.by) else x * self.by


@keras.saving.register_keras_serializable("carried")
class Forgetful(L.Layer):
    def __init__(self, k: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def call(self, x: Any) -> Any:
        return x * self.k

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Counts(L.Layer):
    """A raw variable, trainable or not, of any type."""

    def __init__(self, start: Any, trainable: bool = False) -> None:
        super().__init__()
        self.counter = tf.Variable(start, trainable=trainable)

    def call(self, x: Any) -> Any:
        if not self.counter.trainable:
            self.counter.assign_add(tf.ones_like(self.counter))
        return x + 0.001 * tf.cast(self.counter, x.dtype)


class Weighted(L.Layer):
    def build(self, shape: Any) -> None:
        options = {"shape": (), "trainable": False, "initializer": "zeros"}
        self.seen = self.add_weight(dtype="int32", aggregation="only_first_replica", **options)

    def call(self, x: Any) -> Any:
        self.seen.assign_add(1)
        return x + 0.01 * tf.cast(self.seen, x.dtype)


class PythonState(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.traces = 0

    def call(self, x: Any) -> Any:
        return x * self.scale() if self.traces > 1 else x

    def scale(self) -> float:
        return 1.0 + self.traces


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


class Subclassed(keras.Model):
    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.hidden, self.head = L.Dense(units, activation="tanh"), L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.hidden(x))


class Mixes(keras.Model):
    """A functional model with a train step of its own."""

    def __init__(self, *args: Any, alpha: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alpha = alpha

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data[:2]
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True)) * self.alpha
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self._loss_tracker.update_state(loss)
        return {"loss": loss}


class Thirds(keras.metrics.Metric):
    def __init__(self) -> None:
        super().__init__(name="thirds")
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")

    def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(tf.reduce_mean(tf.abs(y - p)) / 3)

    def result(self) -> Any:
        return self.total


class Slow(keras.optimizers.SGD):
    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient * 0.5, variable, learning_rate)


class Eye(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return tf.eye(*shape, dtype=dtype)


class Tied(L.Layer):
    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other = other

    def call(self, x: Any) -> Any:
        return x @ tf.transpose(self.other.embeddings)


class Extra(L.Dense):
    def __init__(self, units: int, gain: float = 1.0, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.gain = gain

    def call(self, x: Any) -> Any:
        return super().call(x) * self.gain


def _mae(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.abs(y - p), axis=-1)


def _functional(call: Callable[[Any], Any]) -> keras.Model:
    given = keras.Input((6,))
    return compiled(keras.Model(given, call(given)))


def _mixes() -> keras.Model:
    given = keras.Input((6,))
    return compiled(Mixes(given, _shared(given), alpha=0.25), metrics=None)


def _shared(x: Any) -> Any:
    shared = L.Dense(6, activation="relu")
    return L.Dense(1)(L.add([shared(x), shared(shared(x))]))


def _frozen(x: Any) -> Any:
    inner = keras.Sequential([L.Input((6,)), L.Dense(6), L.BatchNormalization()])
    inner.trainable = False
    return L.Dense(1)(inner(x))


def _tied() -> keras.Model:
    embedding = L.Embedding(9, 4)
    ids = keras.Input((6,), dtype="int32")
    x = Tied(embedding)(L.GlobalAveragePooling1D()(embedding(ids)))
    return compiled(keras.Model(ids, L.Dense(1)(x)))


def _adapted() -> keras.Model:
    normalization = L.Normalization()
    normalization.adapt(_X * 3 + 1)
    return compiled(keras.Sequential([L.Input((6,)), normalization, L.Dense(1)]))


def _changed(change: Callable[[Any], None], make: Callable[[], Any]) -> Kind:
    def build() -> keras.Model:
        layer = make()
        change(layer)
        return mlp(layer)

    return kind(build)


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


def _strings(layer: Callable[[], Any], after: list[Any]) -> Callable[[], keras.Model]:
    return lambda: compiled(
        keras.Sequential([L.Input((), dtype="string"), layer(), *[type(a)(**a.get_config()) for a in after]])
    )


def to_list(x: Any) -> Any:
    return x * 3.0


WORDS = np.array([b"a", b"b c", b"c", b"x"] * ROWS)[:ROWS]
_EMBEDDED = [L.Embedding(9, 4), L.Flatten(), L.Dense(1)]
_POLICY = keras.mixed_precision.DTypePolicy
KINDS: dict[str, Kind] = {
    "built_in": of_layer(lambda: L.Dropout(0.4)),
    "no_config": of_layer(lambda: Swish(1.5)),
    "no_kwargs": of_layer(lambda: Plain(8)),
    "callable_argument": of_layer(lambda: Applies(tf.nn.softplus)),
    "array_argument": of_layer(lambda: Applies(np.linspace(0.1, 1, 8).astype("float32"))),
    "layer_argument": kind(lambda: _functional(lambda x: L.Dense(1)(Applies(L.Activation("tanh"))(x)))),
    "forgets_argument": of_layer(lambda: Forgetful(5.0)),
    "class_in_closure": of_layer(_closure_class),
    "lambda_pure": of_layer(lambda: L.Lambda(lambda x: x * 2)),
    "lambda_global": of_layer(lambda: L.Lambda(lambda x: tf.sin(x))),
    "lambda_module": of_layer(lambda: L.Lambda(lambda x: x * float(len(os.sep)))),
    "lambda_shadow": of_layer(lambda: L.Lambda(lambda x: to_list(x))),
    "lambda_closure_number": of_layer(lambda: _lambda_holding(0.5)),
    "lambda_closure_list": of_layer(lambda: _lambda_holding([0.5] * 8)),
    "lambda_closure_array": of_layer(lambda: _lambda_holding(np.ones(8, "float32"))),
    "lambda_closure_function": of_layer(lambda: _lambda_holding(lambda x: x + 1)),
    "lambda_closure_layer": of_layer(lambda: _lambda_holding(L.Dense(8))),
    "lambda_closure_variable": of_layer(lambda: _lambda_holding(tf.Variable(0.5, trainable=False))),
    "lambda_keyword_default": of_layer(lambda: L.Lambda(_keyword_default)),
    "lambda_arguments": of_layer(lambda: L.Lambda(lambda x, by: x * by, arguments={"by": np.ones(8, "float32")})),
    "raw_variable": of_layer(lambda: Counts(0.0)),
    "raw_variable_integer": of_layer(lambda: Counts(3)),
    "raw_variable_trainable": of_layer(lambda: Counts(1.5, trainable=True)),
    "weight_counter": of_layer(Weighted),
    "python_state": _changed(lambda layer: setattr(layer, "traces", 7), PythonState),
    "shared_layer": kind(lambda: _functional(_shared)),
    "nested_frozen": kind(lambda: _functional(_frozen)),
    "subclassed": kind(lambda: compiled(Subclassed())),
    "subclassed_arguments": kind(lambda: compiled(Subclassed(units=7))),
    "boxes": of_layer(Boxes),
    "functional_train_step": kind(lambda: _mixes()),
    "custom_loss": kind(lambda: mlp(loss=_mae)),
    "lambda_loss": kind(lambda: mlp(loss=lambda y, p: tf.reduce_mean((y - p) ** 2, axis=-1))),
    "custom_metric_optimizer_initializer": kind(
        lambda: mlp(L.Dense(8, kernel_initializer=Eye()), optimizer=Slow(0.1, momentum=0.9), metrics=[Thirds()])
    ),
    "adapted": kind(_adapted),
    "patched_method": _changed(_patch, lambda: Forgetful(3.0)),
    "changed_attribute": _changed(lambda layer: setattr(layer, "k", 9.0), Forgetful),
    "tf_function_method": of_layer(Traced),
    "mixed_policy": of_layer(lambda: L.Dense(8, dtype=_POLICY("mixed_bfloat16"))),
    "add_loss": of_layer(AddsLoss),
    "subclass_of_built_in": of_layer(lambda: Extra(8, gain=6.0)),
    "two_classes_of_one_name": kind(lambda: mlp(*_same_name())),
    "operations": kind(lambda: _functional(lambda x: L.Dense(1)(keras.ops.relu(x) + keras.ops.sin(x) * 2))),
    "integer_keys": _changed(lambda layer: setattr(layer, "by_number", {1: (2.0, 3)}), Forgetful),
    "compile_flags": kind(lambda: mlp(optimizer=keras.optimizers.Adam(use_ema=True, clipnorm=1.0), run_eagerly=True)),
    "tied": kind(_tied, batches(_IDS)),
    "deferred": kind(lambda: compiled(keras.Sequential([L.Dense(4), L.Dense(1)]))),
}
