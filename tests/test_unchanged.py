"""What runs inside `unchanged` leaves nothing behind in the model."""

from __future__ import annotations

from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model.anatomy import holdings
from keras_estimator.model.computation.unchanged import unchanged

L = keras.layers


class Slotted:
    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 1


class Box:
    """Keras makes a dict of its own of each dict that is an attribute of a layer."""

    def __init__(self) -> None:
        self.ordered = OrderedDict(a=1, b=2)


class Changes(L.Layer):
    """Changes everything that it holds each time it is called."""

    def __init__(self) -> None:
        super().__init__()
        count = 0

        def advance() -> int:
            nonlocal count
            count += 1
            return count

        self.advance, self.slotted = advance, Slotted()
        self.number, self.array = 1, np.zeros(2)
        self.row, self.table, self.names = [1], {"a": [1]}, {"a"}
        self.last = deque([1], maxlen=2)
        self.box = Box()
        self.raw = tf.Variable(0.0, trainable=False)
        self.words = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        self.words.insert(["a"], [1])

    def call(self, x: Any, by: float = 1.0) -> Any:
        self.number += 1
        self.array += 1
        self.row.append(2)
        self.table["a"].append(2)
        self.table["b"] = 3
        self.names.add("b")
        self.box.ordered.move_to_end("a")
        self.last.append(2)
        self.raw.assign_add(1.0)
        self.words.insert(["b"], [2])
        self.slotted.number += 1
        self.new = True
        return x * float(self.advance()) * by

    def seen(self) -> list[Any]:
        words = sorted(key.decode() for key in self.words.export()[0].numpy())
        count = next(cell.cell_contents for cell in self.advance.__closure__ or ())
        plain = [self.number, self.array.tolist(), list(self.row), dict(self.table), set(self.names)]
        more = [list(self.box.ordered), list(self.last), float(self.raw.numpy()), words, self.slotted.number, count]
        return [*plain, *more, hasattr(self, "new")]


def state(model: Any) -> dict[str, bytes]:
    return {held.path: held.variable.numpy().tobytes() for held in holdings(model)}


def names_saved_by_tensorflow(model: Any, folder: Path) -> set[str]:
    saved = tf.train.Checkpoint(model=model).write(str(folder / "checkpoint"))
    return {name for name, _ in tf.train.list_variables(saved)}


def test_attributes_containers_closures_variables_and_tables_are_put_back() -> None:
    layer = Changes()
    expected = [1, [0.0, 0.0], [1], {"a": [1]}, {"a"}, ["a", "b"], [1], 0.0, ["a"], 1, 0, False]
    assert layer.seen() == expected
    with unchanged(layer, values=True):
        layer(tf.ones((1, 1)))
        assert all(now != before for now, before in zip(layer.seen(), expected, strict=True))
    assert layer.seen() == expected


def test_a_model_that_was_trained_inside_is_as_if_it_never_was(tmp_path: Path) -> None:
    def build() -> Any:
        keras.utils.set_random_seed(1)
        layers = [L.Input((3,)), L.Dense(4), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse", metrics=["mae"])
        return model

    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    model, other = build(), build()
    before, names = state(model), names_saved_by_tensorflow(model, tmp_path)
    with unchanged(model, values=True):
        model.fit(x, y, epochs=2, verbose=0)
        assert model.optimizer.built
    assert state(model) == before
    assert not model.optimizer.built
    assert names_saved_by_tensorflow(model, tmp_path) == names
    assert model.fit(x, y, verbose=0).history == other.fit(x, y, verbose=0).history
    assert state(model) == state(other)


def test_it_is_put_back_after_an_error() -> None:
    layer = Changes()
    before = layer.seen()
    with pytest.raises(TypeError), unchanged(layer, values=True):
        layer(tf.ones((1, 1)), by="no number")  # it fails when all has been changed
    assert layer.seen() == before
