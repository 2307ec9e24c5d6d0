"""Kinds of models that training must give `fit`'s numbers for: a builder and the data of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

ROWS, BATCH = 70, 16  # the last batch of a pass is a short one
L = keras.layers


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes:
        build: Returns a compiled model; called after the seed was set.
        data: Returns a dataset of `BATCH` rows, in one order.
        class_weight: Passed to `fit` and to `train`.
    """

    build: Callable[[], keras.Model]
    data: Callable[[], tf.data.Dataset]
    class_weight: dict[int, float] | None = None


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


def _x(width: int = 6) -> np.ndarray[Any, Any]:
    return _rng().normal(size=(ROWS, width)).astype("float32")


def _y() -> np.ndarray[Any, Any]:
    return (_x()[:, :1] * 2 - _x()[:, 1:2] ** 2).astype("float32")


def _classes(count: int = 3) -> np.ndarray[Any, Any]:
    return _rng().integers(0, count, size=(ROWS,)).astype("int64")


def _batches(*parts: Any) -> Callable[[], tf.data.Dataset]:
    return lambda: tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(BATCH)


def _compiled(model: keras.Model, **options: Any) -> keras.Model:
    model.compile(**({"optimizer": "adam", "loss": "mse", "metrics": ["mae"]} | options))
    return model


def _dense(*between: Any, **options: Any) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        layers = [make() for make in between]
        return _compiled(
            keras.Sequential([L.Input((6,)), L.Dense(8, activation="relu"), *layers, L.Dense(1)]), **options
        )

    return build


def _with_optimizer(make: Callable[[], keras.optimizers.Optimizer]) -> Callable[[], keras.Model]:
    return lambda: _dense(optimizer=make())()


class Scaled(L.Layer):
    """Custom, without get_config, with an activity loss and a counter that Keras does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = tf.Variable(0.0, trainable=False)

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        self.add_loss(0.01 * tf.reduce_mean(x**2))
        return x * tf.nn.sigmoid(x) + 0.001 * self.calls


class OwnStep(keras.Model):
    """A subclassed model with a train_step and a metric of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = L.Dense(8, activation="tanh")
        self.head = L.Dense(1)
        self.error = keras.metrics.Mean(name="error")

    def call(self, x: Any) -> Any:
        return self.head(self.hidden(x))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(self(x, training=True) - y))
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        self.error.update_state(loss)
        return {"error": self.error.result(), "loss": loss}


class Rivals(keras.Model):
    """Two networks, two optimizers, an own compile, no call."""

    def __init__(self) -> None:
        super().__init__()
        self.one = keras.Sequential([L.Dense(8, activation="relu"), L.Dense(6)])
        self.other = keras.Sequential([L.Dense(8, activation="relu"), L.Dense(1)])

    def compile(self, first: Any, second: Any) -> None:
        super().compile()
        self.first, self.second = first, second

    def train_step(self, data: Any) -> dict[str, Any]:
        x, _ = data
        with tf.GradientTape() as tape:
            fooled = tf.reduce_mean((self.other(self.one(x)) - 1.0) ** 2)
        self.first.apply_gradients(
            zip(tape.gradient(fooled, self.one.trainable_variables), self.one.trainable_variables, strict=True)
        )
        with tf.GradientTape() as tape:
            caught = tf.reduce_mean(self.other(self.one(x)) ** 2) + tf.reduce_mean((self.other(x) - 1.0) ** 2)
        self.second.apply_gradients(
            zip(tape.gradient(caught, self.other.trainable_variables), self.other.trainable_variables, strict=True)
        )
        return {"loss": fooled + caught, "caught": caught}

    def test_step(self, data: Any) -> dict[str, Any]:
        x, _ = data
        return {"loss": tf.reduce_mean(self.other(self.one(x)) ** 2)}

    def predict_step(self, data: Any) -> Any:
        return self.other(self.one(data[0]))


def _two_outputs() -> keras.Model:
    given = keras.Input((6,), name="features")
    hidden = L.Dense(8, activation="relu")(given)
    outputs = {"value": L.Dense(1, name="value")(hidden), "kind": L.Dense(3, name="kind")(hidden)}
    loss = {"value": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    return _compiled(keras.Model(given, outputs), loss=loss, metrics={"kind": ["accuracy"]})


def _two_inputs() -> keras.Model:
    wide, deep = keras.Input((6,), name="wide"), keras.Input((3,), name="deep")
    joined = L.Concatenate()([wide, L.Dense(4, activation="relu")(deep)])
    return _compiled(keras.Model([wide, deep], L.Dense(1)(joined)))


def _text() -> keras.Model:
    words = keras.Input((), dtype="string", name="words")
    lookup = L.StringLookup(vocabulary=["a", "b", "c"])
    return _compiled(keras.Model(words, L.Dense(1)(L.Embedding(5, 4)(lookup(words)))))


def _masked() -> keras.Model:
    return _compiled(keras.Sequential([L.Input((5,)), L.Embedding(9, 4, mask_zero=True), L.LSTM(5), L.Dense(1)]))


def _classifier() -> keras.Model:
    model = keras.Sequential([L.Input((6,)), L.Dense(8, activation="relu"), L.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return _compiled(model, loss=loss, metrics=["accuracy"], weighted_metrics=["accuracy"])


def _mixed() -> keras.Model:
    policy = keras.mixed_precision.DTypePolicy("mixed_bfloat16")
    layers = [L.Input((6,)), L.Dense(8, activation="relu", dtype=policy), L.Dense(1, dtype="float32")]
    return _compiled(keras.Sequential(layers))


def _image() -> keras.Model:
    layers = [L.Input((6, 6, 1)), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(1)]
    return _compiled(keras.Sequential(layers))


def _unbuilt() -> keras.Model:
    return _compiled(keras.Sequential([L.Dense(8, activation="relu"), L.Dense(1)]))


def _own_step() -> keras.Model:
    return _compiled(OwnStep(), metrics=None)  # Keras cannot report compiled metrics that no step updates


def _rivals() -> keras.Model:
    model = Rivals()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.01))
    return model


_WEIGHTS = np.linspace(0.0, 2.0, ROWS).astype("float32")
_REGRESSION = _batches(_x(), _y())
_SCHEDULE = keras.optimizers.schedules.CosineDecay

KINDS: dict[str, Kind] = {
    "mlp": Kind(_dense(), _REGRESSION),
    "unbuilt": Kind(_unbuilt, _REGRESSION),
    "dropout": Kind(_dense(lambda: L.Dropout(0.4), lambda: L.GaussianNoise(0.1)), _REGRESSION),
    "batch_normalization": Kind(_dense(L.BatchNormalization), _REGRESSION),
    "convolution": Kind(_image, _batches(_x(36).reshape(ROWS, 6, 6, 1), _y())),
    "regularizers": Kind(
        _dense(lambda: L.Dense(4, kernel_regularizer="l2", activity_regularizer="l1"), L.LayerNormalization),
        _REGRESSION,
    ),
    "custom_layer_add_loss_hidden_state": Kind(_dense(Scaled), _REGRESSION),
    "sample_weights": Kind(_dense(weighted_metrics=["mse"]), _batches(_x(), _y(), _WEIGHTS)),
    "class_weights": Kind(_classifier, _batches(_x(), _classes()), {0: 1.0, 1: 5.0, 2: 0.5}),
    "two_outputs_by_name": Kind(_two_outputs, _batches(_x(), {"value": _y(), "kind": _classes()})),
    "two_inputs_by_name": Kind(_two_inputs, _batches({"wide": _x(), "deep": _x(3)}, _y())),
    "strings": Kind(_text, _batches(np.array(["a", "b", "c", "x"] * ROWS)[:ROWS], _y())),
    "masked_sequences": Kind(_masked, _batches(_rng().integers(0, 9, size=(ROWS, 5)), _y())),
    "own_train_step": Kind(_own_step, _REGRESSION),
    "two_optimizers": Kind(_rivals, _REGRESSION),
    "clipping_decay_average": Kind(
        _with_optimizer(
            lambda: keras.optimizers.AdamW(_SCHEDULE(0.05, 20), clipnorm=0.5, weight_decay=0.01, use_ema=True)
        ),
        _REGRESSION,
    ),
    "accumulated_gradients": Kind(
        _with_optimizer(lambda: keras.optimizers.Adam(0.05, gradient_accumulation_steps=3)), _REGRESSION
    ),
    "mixed_precision": Kind(_mixed, _REGRESSION),
    "eager": Kind(_dense(run_eagerly=True), _REGRESSION),
}
