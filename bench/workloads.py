"""What a workload is, and the three smallest: they build in Keras 3, on TensorFlow or JAX, and in TensorFlow 2.15."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

SEED = 0
AT_ONCE = 50
_SHUFFLE_ROWS = 4096


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model, its data and how much of them is worked through at a time.

    Attributes:
        name: As given to `--models`.
        title: What a person reads.
        batch_size: Rows in a batch.
        steps: Steps of a turn, where a turn has as many for all (bench/scaling.py).
        quick_steps: The same for `--quick`.
        make_arrays: Returns `(x, y)`; `x` is an array, or a dict of them by the names of the inputs.
        make_model: Takes the module `tf`, or what stands for it on JAX, and returns a compiled model.
        at_once: Steps in one execution, for those that can make several; turns are multiples of it.
        evaluated: Batches in a call of `evaluate` or `predict`.
    """

    name: str
    title: str
    batch_size: int
    steps: int
    quick_steps: int
    make_arrays: Callable[[], tuple[Any, Any]]
    make_model: Callable[[Any], Any]
    at_once: int = AT_ONCE
    evaluated: int = 20

    def dataset(self, tf: Any, x: Any, y: Any) -> Any:
        """Return the training pipeline that every contender reads."""
        rows = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(_SHUFFLE_ROWS, seed=SEED).repeat()
        return rows.batch(self.batch_size, drop_remainder=True).prefetch(2)


def first_rows(x: Any, count: int) -> Any:
    """Return the first rows of an array, or of each of a dict of arrays."""
    return {name: array[:count] for name, array in x.items()} if isinstance(x, dict) else x[:count]


def _mlp_arrays() -> tuple[Any, Any]:
    x = np.random.default_rng(SEED).normal(size=(4096, 10)).astype("float32")
    return x, (x[:, :1] * 2 + np.sin(x[:, 1:2])).astype("float32")


def _mlp_model(tf: Any) -> Any:
    class Swish(tf.keras.layers.Layer):  # type: ignore[misc]  # the class comes with the argument
        def call(self, inputs: Any) -> Any:
            return inputs * tf.nn.sigmoid(inputs)

    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((10,)), layers.Dense(64, activation="relu"), Swish(), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def _wide_arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    return rng.normal(size=(4096, 256)).astype("float32"), rng.integers(0, 10, size=4096).astype("int32")


def _wide_model(tf: Any) -> Any:
    layers = tf.keras.layers
    hidden = [layers.Dense(1024, activation="relu") for _ in range(2)]
    return compiled_classifier(tf, tf.keras.Sequential([layers.Input((256,)), *hidden, layers.Dense(10)]))


def _cnn_arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    return rng.normal(size=(2048, 28, 28, 1)).astype("float32"), rng.integers(0, 10, size=2048).astype("int32")


def _cnn_model(tf: Any) -> Any:
    layers = tf.keras.layers
    stages = [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D()]
    stages += [layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()]
    stages += [layers.Flatten(), layers.Dense(10)]
    return compiled_classifier(tf, tf.keras.Sequential([layers.Input((28, 28, 1)), *stages]))


def compiled_classifier(tf: Any, model: Any) -> Any:
    """Compile a model that answers with a logit for each class; return it."""
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("mlp", "MLP 10-64-1 with a custom layer", 32, 1500, 100, _mlp_arrays, _mlp_model),
        Workload("wide", "MLP 256-1024-1024-10", 128, 100, 50, _wide_arrays, _wide_model),
        Workload("cnn", "CNN 28x28", 64, 100, 50, _cnn_arrays, _cnn_model),
    )
}
