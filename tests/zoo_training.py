"""Kinds of models and data that people give to `fit`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo_parts import (
    BATCH,
    CLASSES,
    IDS,
    ROWS,
    SERVING_CHANGES,
    X3,
    Kind,
    L,
    X,
    Y,
    batches,
    compiled,
    kind,
    mlp,
    of_layer,
    sequential,
)


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, peak: float, steps: int) -> None:
        self.peak, self.steps = peak, steps

    def __call__(self, step: Any) -> Any:
        step = tf.cast(step, "float32") + 1.0
        return self.peak * tf.minimum(step / self.steps, tf.math.rsqrt(step / self.steps))


class Orthogonal(keras.regularizers.Regularizer):
    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, w: Any) -> Any:
        return self.strength * tf.reduce_sum((tf.transpose(w) @ w - tf.eye(w.shape[1])) ** 2)


class Positive(keras.constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return tf.nn.relu(w)


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


class Opponents(keras.Model):
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
    return compiled(keras.Model(given, outputs), loss=loss, metrics={"kind": ["accuracy"]})


def _two_inputs() -> keras.Model:
    wide, deep = keras.Input((6,), name="wide"), keras.Input((3,), name="deep")
    joined = L.Concatenate()([wide, L.Dense(4, activation="relu")(deep)])
    return compiled(keras.Model([wide, deep], L.Dense(1)(joined)))


def _classifier() -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"loss": loss, "metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    return sequential(L.Input((6,)), L.Dense(8, activation="relu"), L.Dense(3), **options)


def _mixed() -> keras.Model:
    policy = keras.mixed_precision.DTypePolicy("mixed_bfloat16")
    return sequential(L.Input((6,)), L.Dense(8, activation="relu", dtype=policy), L.Dense(1, dtype="float32"))


def _image() -> keras.Model:
    layers = [L.Input((6, 6, 1)), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(1)]
    return sequential(*layers)


def _opponents() -> keras.Model:
    model = Opponents()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.01))
    return model


def _with(make: Callable[[], keras.optimizers.Optimizer], **more: Any) -> Kind:
    return kind(lambda: mlp(optimizer=make()), **more)


def _half() -> keras.Model:
    """Keras wraps the optimizer, because the policy of the model asks for it."""
    policy = keras.mixed_precision.DTypePolicy("mixed_float16")
    given = keras.Input((6,))
    hidden = L.Dense(8, activation="relu", dtype=policy)(given)
    model = keras.Model(given, L.Dense(1, dtype="float32")(hidden))
    model.dtype_policy = policy
    return compiled(model)


def _measured() -> keras.Model:
    metrics = [
        keras.metrics.AUC(num_thresholds=20, name="auc"),
        keras.metrics.Precision(thresholds=[0.3, 0.6], name="precision"),
        keras.metrics.F1Score(threshold=0.5, average="micro"),
        keras.metrics.MeanIoU(num_classes=2, name="iou"),
        keras.metrics.RecallAtPrecision(0.5, num_thresholds=20, name="recall"),
    ]
    layers = [L.Input((6,)), L.Dense(8, activation="relu"), L.Dense(1, activation="sigmoid")]
    return sequential(*layers, loss=keras.losses.BinaryFocalCrossentropy(label_smoothing=0.1), metrics=metrics)


_TASKS = {"price": Y, "clicked": (Y > 0).astype("float32"), "kind": CLASSES}


def _multi_task() -> keras.Model:
    given = keras.Input((6,), name="features")
    body = L.Dense(8, activation="relu")(given)
    heads = {
        "price": L.Dense(1, name="price")(body),
        "clicked": L.Dense(1, activation="sigmoid", name="clicked")(body),
        "kind": L.Dense(3, activation="softmax", name="kind")(body),
    }
    return compiled(
        keras.Model(given, heads),
        loss={
            "price": keras.losses.Huber(),
            "clicked": "binary_crossentropy",
            "kind": "sparse_categorical_crossentropy",
        },
        loss_weights={"price": 1.0, "clicked": 0.5, "kind": 0.2},
        metrics={"price": ["mae"], "clicked": [keras.metrics.AUC(num_thresholds=20, name="auc")]},
    )


def _fine_tuned() -> keras.Model:
    """Trained with its base frozen, thawed except BatchNormalization, and compiled anew."""
    base = keras.Sequential([L.Input((6,)), L.Dense(8), L.BatchNormalization(), L.ReLU()], name="base")
    base.trainable = False
    model = sequential(L.Input((6,)), base, L.Dense(1))
    model.train_on_batch(X[:BATCH], Y[:BATCH])
    base.trainable = True
    base.layers[1].trainable = False
    return compiled(model, optimizer=_OPTIMIZERS.Adam(1e-3))


_WEIGHTS = np.linspace(0.0, 2.0, ROWS).astype("float32")
_SCHEDULE = keras.optimizers.schedules.CosineDecay
_OPTIMIZERS = keras.optimizers
_NO_TRACKER = "the step does not update Keras's tracker of the loss: Keras says 0.0, we give the last batch's"
_CANNOT_STEP = {
    "steps_mirrored": "Keras: an optimizer that accumulates, averages or scales decides on a replica's value"
}
KINDS: dict[str, Kind] = {
    "mlp": kind(mlp),
    "dropout": kind(lambda: mlp(L.Dropout(0.4), L.GaussianNoise(0.1))),
    "batch_normalization": of_layer(L.BatchNormalization),
    "convolution": kind(_image, batches(np.repeat(X[:, :, None, None], 6, 2))),
    "regularizers": kind(
        lambda: mlp(L.Dense(4, kernel_regularizer="l2", activity_regularizer="l1"), L.LayerNormalization())
    ),
    "custom_layer_add_loss_hidden_state": of_layer(Scaled, says=SERVING_CHANGES),
    "sample_weights": kind(lambda: mlp(weighted_metrics=["mse"]), batches(X, Y, _WEIGHTS)),
    "class_weights": kind(_classifier, batches(X, CLASSES), class_weight={0: 1.0, 1: 5.0, 2: 0.5}),
    "two_outputs_by_name": kind(_two_outputs, batches(X, {"value": Y, "kind": CLASSES})),
    "two_inputs_by_name": kind(_two_inputs, batches({"wide": X, "deep": X3})),
    "masked_sequences": kind(
        lambda: sequential(L.Input((6,)), L.Embedding(9, 4, mask_zero=True), L.LSTM(5), L.Dense(1)), batches(IDS)
    ),
    "own_train_step": kind(
        lambda: compiled(OwnStep(), metrics=None),  # Keras cannot report compiled metrics that no step updates
        exceptions={"loss_of_a_pass": _NO_TRACKER},
    ),
    "two_optimizers": kind(_opponents, exceptions={"evaluates": _NO_TRACKER}),
    "clipping_decay_average": _with(
        lambda: _OPTIMIZERS.AdamW(_SCHEDULE(0.05, 20), clipnorm=0.5, weight_decay=0.01, use_ema=True)
    ),
    "accumulated_gradients": _with(
        lambda: _OPTIMIZERS.Adam(0.05, gradient_accumulation_steps=3), exceptions=_CANNOT_STEP
    ),
    "mixed_precision": kind(_mixed),
    "eager": kind(lambda: mlp(run_eagerly=True)),
    "loss_scale": _with(
        lambda: _OPTIMIZERS.LossScaleOptimizer(_OPTIMIZERS.Adam(0.01), dynamic_growth_steps=2),
        exceptions=_CANNOT_STEP,
    ),
    "average_and_decay": _with(
        lambda: _OPTIMIZERS.AdamW(
            _OPTIMIZERS.schedules.ExponentialDecay(0.05, 3, 0.5), use_ema=True, ema_overwrite_frequency=2
        ),
        exceptions=_CANNOT_STEP,
    ),
    "adafactor": _with(lambda: _OPTIMIZERS.Adafactor(0.05)),
    "lion_clipped_by_value": _with(lambda: _OPTIMIZERS.Lion(0.01, clipvalue=0.1)),
    "own_schedule": _with(lambda: _OPTIMIZERS.Adam(WarmUp(0.05, 4))),
    "compiled_by_xla": kind(lambda: mlp(L.Dropout(0.2), jit_compile=True)),
    "several_steps_per_execution": kind(lambda: mlp(steps_per_execution=2)),
    "double_precision": of_layer(
        lambda: L.Dense(8, dtype="float64"),
        exceptions={"steps_mirrored": "TensorFlow adds the gradients of replicas in one tensor, so of one type"},
    ),
    "half_precision_scales_by_itself": kind(_half, exceptions=_CANNOT_STEP),
    "many_metrics": kind(_measured, batches(X, (Y > 0).astype("float32"))),
    "multi_task_with_weights_of_losses": kind(_multi_task, batches(X, _TASKS)),
    "custom_regularizer_and_constraint": of_layer(
        lambda: L.Dense(
            8, kernel_regularizer=Orthogonal(0.01), kernel_constraint=Positive(), activation=lambda x: x * tf.tanh(x)
        )
    ),
    "frozen_then_fine_tuned": kind(_fine_tuned),
}
if keras.__version__ >= "3.13":  # before, Muon asks variables of TensorFlow for a path, which they have not
    KINDS["muon"] = _with(lambda: _OPTIMIZERS.Muon(0.01))
