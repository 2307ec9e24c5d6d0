"""A row that depends on other rows is found, and so is the layer where it does."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.errors import BlueprintError
from keras_estimator.model.computation.separability import Separability, separability_of

L = keras.layers


def probed(*layers: Any, x: Any = None) -> Separability:
    model = keras.Sequential([L.Input((6,)), *layers, L.Dense(2)])
    return separability_of(model, np.random.default_rng(0).normal(size=(8, 6)).astype("float32") if x is None else x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.Dense(3),
        lambda: L.Dropout(0.5),
        L.LayerNormalization,
        lambda: L.Lambda(lambda x: x / tf.norm(x, axis=-1, keepdims=True)),
        lambda: L.Lambda(lambda x: tf.cast(x > 0, "float32")),
    ],
)
def test_rows_of_most_layers_are_separate(make: Any) -> None:
    found = probed(L.Dense(4), make())
    assert (found.inference, found.training) == ((), ())
    assert found.is_separable


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: L.Lambda(lambda x: x - tf.reduce_mean(x, keepdims=True)), "lambda"),
        (lambda: L.Softmax(axis=0), "softmax"),
        (lambda: keras.Sequential([L.Input((4,)), L.Lambda(lambda x: tf.sin(x) * tf.reduce_max(x))]), "lambda"),
    ],
)
def test_a_layer_that_mixes_rows_is_named(make: Any, name: str) -> None:
    found = probed(L.Dense(4), make())
    assert [path.rpartition("/")[2] for path in found.inference] == [name]
    assert found.inference == found.training
    assert found.largest_difference is not None
    assert found.largest_difference > 0.01
    assert not found.is_separable


def test_batch_normalization_mixes_rows_in_training_only() -> None:
    found = probed(L.Dense(4), L.BatchNormalization())
    assert found.inference == ()
    assert found.training == ("batch_normalization",)
    assert found.is_separable


def test_a_dependence_without_derivatives_is_found_by_the_parts_of_a_batch() -> None:
    ranks = L.Lambda(lambda x: tf.cast(tf.argsort(tf.argsort(x, axis=0), axis=0), "float32"))
    found = probed(ranks)
    assert found.inference == ()
    assert not found.is_separable


def test_state_that_moves_is_no_dependence_and_chance_tells_nothing() -> None:
    class Counts(L.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.count = tf.Variable(0.0, trainable=False)

        def call(self, x: Any) -> Any:
            return x * self.count.assign_add(1.0)

    layer = Counts()
    found = probed(layer)
    before = layer.count.numpy()
    assert found.is_separable
    assert layer.count.numpy() == before
    chance = probed(L.Lambda(lambda x: x * random.random()))
    assert chance.largest_difference is None
    assert chance.is_separable


def test_integers_and_texts_are_compared_too() -> None:
    model = keras.Sequential([L.Input((3,), dtype="int64"), L.Embedding(5, 4), L.LSTM(2)])
    assert separability_of(model, np.arange(12).reshape(4, 3) % 5).is_separable
    most = keras.Sequential([L.Input((3,)), L.Lambda(lambda x: tf.argmax(x, axis=0)[None] + 0 * tf.cast(x, "int64"))])
    assert not separability_of(most, np.eye(3, dtype="float32")).is_separable


def test_what_calls_python_is_judged_by_the_parts() -> None:
    calls = L.Lambda(lambda x: tf.ensure_shape(tf.py_function(lambda a: a, [x], tf.float32), x.shape))
    assert probed(calls).is_separable


def test_a_model_that_states_the_size_of_its_batches_is_not_split() -> None:
    model = keras.Sequential([L.Input(batch_shape=(4, 5, 2)), L.LSTM(2, stateful=True)])
    found = separability_of(model, np.ones((4, 5, 2), "float32"))
    assert found == Separability(None, (), ())


def test_a_model_without_a_call_is_refused() -> None:
    with pytest.raises(BlueprintError, match="answers nothing"):
        separability_of(keras.Model(), np.ones((4, 2), "float32"))
