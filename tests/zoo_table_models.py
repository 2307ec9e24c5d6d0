"""Kinds of whole models of the list of 61, and those of them that Keras itself cannot make."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo_parts import IDS, Kind, L, batches, compiled, functional, kind, mlp, sequential


class Subclassed(keras.Model):
    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.hidden, self.head = L.Dense(units, activation="tanh"), L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.hidden(x))


@keras.saving.register_keras_serializable("carried")
class RegisteredSubclassed(Subclassed):
    """Its config says 8 whatever it was made with: Keras's `Model.__new__` drops the arguments."""

    def __init__(self, units: int = 8) -> None:
        super().__init__(units)


class OfLayers(keras.Model):
    """Is given its layers."""

    def __init__(self, body: Any, head: Any) -> None:
        super().__init__()
        self.body, self.head = body, head

    def call(self, x: Any) -> Any:
        return self.head(self.body(x))


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


@keras.saving.register_keras_serializable("carried")
class RegisteredMixes(Mixes):
    pass


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


def _mae(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.abs(y - p), axis=-1)


def _mixes(which: type[Mixes]) -> keras.Model:
    given = keras.Input((6,))
    return compiled(which(given, _shared(given), alpha=0.25), metrics=None)


def _shared(x: Any) -> Any:
    shared = L.Dense(6, activation="relu")
    return L.Dense(1)(L.add([shared(x), shared(shared(x))]))


def _frozen(x: Any) -> Any:
    inner = keras.Sequential([L.Input((6,)), L.Dense(6), L.BatchNormalization()])
    inner.trainable = False
    return L.Dense(1)(inner(x))


def _tied(ids: Any) -> Any:
    embedding = L.Embedding(9, 4)
    return L.Dense(1)(Tied(embedding)(L.GlobalAveragePooling1D()(embedding(ids))))


_AVERAGED = {"use_ema": True, "clipnorm": 1.0}
MODELS: dict[int, tuple[str, Kind]] = {
    21: ("shared_layer", kind(lambda: functional(_shared))),
    22: ("nested_frozen", kind(lambda: functional(_frozen))),
    23: ("subclassed", kind(lambda: compiled(Subclassed()))),
    24: ("subclassed_of_layers", kind(lambda: compiled(OfLayers(L.Dense(5, activation="relu"), L.Dense(1))))),
    27: ("functional_train_step", kind(lambda: _mixes(Mixes))),
    28: ("custom_loss", kind(lambda: mlp(loss=_mae))),
    29: ("lambda_loss", kind(lambda: mlp(loss=lambda y, p: tf.reduce_mean((y - p) ** 2, axis=-1)))),
    30: (
        "custom_metric_optimizer_initializer",
        kind(lambda: mlp(L.Dense(8, kernel_initializer=Eye()), optimizer=Slow(0.1, momentum=0.9), metrics=[Thirds()])),
    ),
    52: ("subclassed_registered", kind(lambda: compiled(RegisteredSubclassed(units=4)))),
    53: ("functional_train_step_registered", kind(lambda: _mixes(RegisteredMixes))),
    55: ("operations", kind(lambda: functional(lambda x: L.Dense(1)(keras.ops.relu(x) + keras.ops.sin(x) * 2)))),
    59: ("compile_flags", kind(lambda: mlp(optimizer=keras.optimizers.Adam(**_AVERAGED), run_eagerly=True))),
    60: ("tied", kind(lambda: functional(_tied, dtype="int32"), batches(IDS))),
    61: ("deferred", kind(lambda: sequential(L.Dense(4), L.Dense(1)))),
}
KINDS: dict[str, Kind] = {
    **dict(MODELS.values()),
}


class CountsWhole(L.Layer):
    """The third example of the article: a whole number times a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = tf.Variable(0, trainable=False)

    def call(self, x: Any) -> Any:
        self.counter.assign_add(1)
        return x + 0.001 * self.counter


class MakesStateInCall(L.Layer):
    def call(self, x: Any) -> Any:
        if not hasattr(self, "scale"):
            self.scale = self.add_weight(shape=(), initializer="ones")
        return x * self.scale


def _of_a_function(function: Callable[[Any], Any]) -> keras.Model:
    given = keras.Input((6,))
    return keras.Model(given, function(given))


# Row to the kind, how it is tried, and what Keras says.
CANNOT_BE_MADE: dict[int, tuple[str, Callable[[], Any], str]] = {
    16: ("integer_variable_times_float", lambda: _of_a_function(CountsWhole()), "int32"),
    25: ("state_made_in_call", lambda: _of_a_function(MakesStateInCall()), "cannot add new elements of state"),
    56: ("tensorflow_on_a_symbol", lambda: _of_a_function(tf.sin), "cannot be used as input to a TensorFlow function"),
    57: ("numpy_on_a_symbol", lambda: _of_a_function(np.sin), "A KerasTensor is symbolic"),
}
