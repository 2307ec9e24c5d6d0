"""What the kinds of models are made of: `Kind`, what must hold for it, and small data to train it on.

Tests import `zoo`, which has all kinds. A process of test_pickled_graph.py runs this file and the files of kinds
as its `__main__`, like the cells of a notebook, so a name stands in one of them only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

ROWS, BATCH = 70, 16  # the last batch of a pass is a short one
L = keras.layers

CHECKS = {
    "copies": "a copy in the same process trains beside the model with equal bits, and shares nothing",
    "travels": "a process without the source of the model makes it and trains it with equal bits",
    "mirrors": "a process makes it in the scope of two replicas with equal bits",
    "steps_mirrored": "the two replicas make a step",
    "fits": "train gives the losses and logs of fit, step by step and pass by pass",
    "loss_of_a_pass": "the loss that is reported for a pass is that of fit",
    "evaluates": "evaluate gives the numbers of Keras's evaluate",
    "predicts": "predict gives the numbers of Keras's predict",
    "resumes": "a new model in a new estimator goes on with the bits of a run that did not stop",
    "exports": "what an export serves are the numbers of predict",
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of model, for which all of `CHECKS` must hold, except what it excepts with a reason.

    Attributes:
        build: Returns a compiled model; called after the seed was set.
        data: Returns a dataset of `BATCH` rows, in one order.
        class_weight: Passed to `fit` and to `train`.
        exceptions: Check to the reason why it cannot hold.
        says: "trains" or "exports" to what the warning says that we give at that moment.
        reference: Returns what Keras can fit with the same numbers, where it cannot fit the model itself.
    """

    build: Callable[[], keras.Model]
    data: Callable[[], tf.data.Dataset]
    class_weight: dict[int, float] | None = None
    exceptions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    says: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reference: Callable[[], keras.Model] | None = None

    def must(self, check: str) -> bool:
        assert check in CHECKS
        return check not in self.exceptions


_RNG = np.random.default_rng(7)
X = _RNG.normal(size=(ROWS, 6)).astype("float32")
X3 = np.ascontiguousarray(X[:, :3])
Y = (X[:, :1] * 2 - X[:, 1:2] ** 2).astype("float32")
CLASSES = _RNG.integers(0, 3, size=(ROWS,)).astype("int64")
IDS = _RNG.integers(0, 9, size=(ROWS, 6))
WORDS = np.array([b"a", b"b c", b"c", b"x"] * ROWS)[:ROWS]
IMAGES = _RNG.normal(size=(ROWS, 8, 8, 3)).astype("float32")
SEQUENCE = np.repeat(X[:, None], 5, 1)

SERVING_CHANGES = {"exports": "serving changes the model"}


def batches(x: Any = X, y: Any = Y, *more: Any, whole: bool = False) -> Callable[[], tf.data.Dataset]:
    parts = x if y is None else (x, y, *more)
    return lambda: tf.data.Dataset.from_tensor_slices(parts).batch(BATCH, drop_remainder=whole)


def compiled(model: keras.Model, **options: Any) -> keras.Model:
    model.compile(**({"optimizer": "adam", "loss": "mse", "metrics": ["mae"]} | options))
    return model


def sequential(*layers: Any, **options: Any) -> keras.Model:
    return compiled(keras.Sequential(list(layers)), **options)


def mlp(*between: Any, **options: Any) -> keras.Model:
    return sequential(L.Input((6,)), L.Dense(8, activation="relu"), *between, L.Dense(1), **options)


def functional(call: Callable[[Any], Any], shape: Any = (6,), dtype: str = "float32", **options: Any) -> keras.Model:
    given = keras.Input(shape, dtype=dtype)
    return compiled(keras.Model(given, call(given)), **options)


def kind(build: Callable[[], keras.Model], data: Callable[[], tf.data.Dataset] | None = None, **more: Any) -> Kind:
    return Kind(build, data or batches(), **more)


def of_layer(make: Callable[[], Any], **more: Any) -> Kind:
    return kind(lambda: mlp(make()), **more)


def changed(change: Callable[[Any], None], make: Callable[[], Any], **more: Any) -> Kind:
    """Change the layer after it was made."""

    def build() -> keras.Model:
        layer = make()
        change(layer)
        return mlp(layer)

    return kind(build, **more)
