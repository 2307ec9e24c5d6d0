"""The graph of a live model: operations with layer and line, and what they write."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_estimator.doctor.live import LiveModel

GLOBAL = tf.Variable(1.0)


class Writes(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.raw = tf.Variable(0.0, trainable=False)

    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        tf.cond(tf.reduce_sum(x) > 0.0, lambda: self.raw.assign_add(2.0), lambda: self.raw.read_value())
        return x * GLOBAL


def graph() -> Any:
    live = LiveModel(keras.Sequential([keras.Input((3,)), Writes(name="writes"), keras.layers.Dense(1, name="dense")]))
    assert live.inference is not None
    return live.inference


def line(place: Any) -> str:
    with open(place.file, encoding="utf-8") as file:
        return file.read().splitlines()[place.line - 1].strip()


def test_every_operation_has_the_layer_and_the_line_that_made_it():
    made = graph()
    (product,) = made.of_kind("MatMul")
    assert (product.layer, product.place) == ("dense", None)
    sums = [one for one in made.of_kind("Sum") if one.place]
    assert [(one.layer, line(one.place)[:8]) for one in sums] == [("writes", "tf.cond(")]


def test_what_is_written_is_found_also_inside_of_a_condition():
    writes = {captured.name: (operation.layer, line(operation.place)) for captured, operation in graph().writes()}
    assert writes == {
        "writes/count": ("writes", "self.count.assign_add(1.0)"),
        "writes/raw": (
            "writes",
            "tf.cond(tf.reduce_sum(x) > 0.0, lambda: self.raw.assign_add(2.0), lambda: self.raw.read_value())",
        ),
    }


def test_what_is_captured_is_told_apart_by_who_holds_it():
    captured = {one.name: one.holding is not None for one in graph().captured}
    assert captured["writes/count"]
    assert captured["dense/kernel"]
    # What a function of the model reads of its globals is the model's, too.
    assert len(captured) == 5
