"""Operations belong to the layer that made them, and what is captured has a name that every process knows."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.model.computation.traces import Tracer

L = keras.layers


def parts(model: Any, shape: list[int | None]) -> set[str]:
    return set(Tracer(model).trace(lambda x: model(x), tf.TensorSpec(shape))[0].computation().parts)


def whole(model: Any) -> str:
    return Tracer(model).trace(lambda x: model(x), tf.TensorSpec([None, 3]))[0].computation().hash


def test_inner_layers_have_parts_of_their_own() -> None:
    inner = keras.Sequential([L.Input((4,)), L.Dense(2), L.ReLU()], name="inner")
    model = keras.Sequential([L.Input((3,)), L.Dense(4), inner])
    assert parts(model, [None, 3]) == {"dense", "inner/dense", "inner/re_lu", ""}


def test_layers_that_keras_does_not_track_have_a_path_too() -> None:
    hidden = L.Dense(2)
    model = keras.Sequential([L.Input((3,)), L.Lambda(lambda x: hidden(x) + 1.0)])
    assert {"lambda/function/hidden", "lambda"} <= parts(model, [None, 3])


def test_the_values_of_variables_do_not_count_and_those_of_constants_do() -> None:
    def model(constant: Any) -> Any:
        kept = tf.constant(np.full((3, 200), constant, "float32"))
        return keras.Sequential([L.Input((3,)), L.Lambda(lambda x: x @ kept), L.Dense(1)])

    assert whole(model(1.0)) == whole(model(1.0))
    assert whole(model(1.0)) != whole(model(2.0))


def test_the_content_of_a_table_counts_and_its_order_does_not() -> None:
    def model(keys: list[int], values: list[int]) -> Any:
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(keys, tf.int64), tf.constant(values, tf.int64))
        table = tf.lookup.StaticHashTable(pairs, -1)
        look = L.Lambda(lambda x: tf.cast(table.lookup(tf.cast(x, tf.int64)), "float32"))
        return keras.Sequential([L.Input((3,)), look])

    assert whole(model([1, 2], [3, 4])) == whole(model([2, 1], [4, 3]))
    assert whole(model([1, 2], [3, 4])) != whole(model([1, 2], [4, 3]))


def test_which_variable_is_read_counts() -> None:
    class Two(L.Layer):
        def __init__(self, first: str) -> None:
            super().__init__()
            self.left, self.right = L.Dense(3), L.Dense(3)
            self.first = first

        def call(self, x: Any) -> Any:
            first, second = (self.left, self.right) if self.first == "left" else (self.right, self.left)
            return second(tf.sin(first(x)))

    models = [keras.Sequential([L.Input((3,)), Two(first)]) for first in ("left", "right")]
    assert whole(models[0]) != whole(models[1])
