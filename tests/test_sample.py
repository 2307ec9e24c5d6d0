"""What a model takes is read off the model, or off a batch of the user."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.errors import BlueprintError
from keras_estimator.model.computation.sample import (
    ROWS,
    batches_of,
    features_of,
    specs_of,
    training_data_of,
    values_for,
)

L = keras.layers


class Adds(keras.Model):
    def call(self, x: Any) -> Any:
        return x["a"] + x["b"]


def test_features_are_what_the_inputs_declare() -> None:
    given = {"a": keras.Input((3,), name="a"), "b": keras.Input((1,), dtype="string", name="b")}
    numbers = L.StringLookup(vocabulary=["a"], output_mode="count")(given["b"])
    model = keras.Model(given, L.Concatenate()([L.Dense(1)(given["a"]), numbers]))
    spec = features_of(model, None)
    assert spec["a"] == tf.TensorSpec([None, 3])
    assert spec["b"] == tf.TensorSpec([None, 1], tf.string)
    assert features_of(keras.Sequential([L.Input((3,)), L.Dense(1)]), None) == tf.TensorSpec([None, 3])


def test_a_subclassed_model_takes_what_it_was_built_with() -> None:
    model = Adds()
    model({"a": np.ones((2, 3), "float32"), "b": np.ones((2, 3), "float32")})
    assert features_of(model, None) == {"a": tf.TensorSpec([None, 3]), "b": tf.TensorSpec([None, 3])}


def test_a_batch_says_it_for_a_model_that_was_never_called() -> None:
    batch = {"a": np.ones((2, 3), "float32"), "b": np.ones((2, 3))}, np.ones(2)
    assert features_of(Adds(), batch)["b"] == tf.TensorSpec([None, 3], tf.float64)
    with pytest.raises(BlueprintError, match="never called") as refused:
        features_of(Adds(), None)
    assert refused.value.rule == "KE502"


def test_a_stated_size_of_batches_is_kept() -> None:
    model = keras.Sequential([L.Input(batch_shape=(4, 2)), L.Dense(1)])
    assert features_of(model, None) == tf.TensorSpec([4, 2])
    assert specs_of((np.ones((4, 2)), np.ones(4)), model)[1] == tf.TensorSpec([4], tf.float64)
    assert values_for(features_of(model, None)).shape == (4, 2)


def test_labels_are_numbers_or_classes_for_each_output() -> None:
    given = keras.Input((3,))
    model = keras.Model(given, {"one": L.Dense(2)(given), "two": L.Dense(5)(given)})
    outputs = {"one": tf.TensorSpec([None, 2]), "two": tf.TensorSpec([None, 5])}
    features = tf.TensorSpec([None, 3])
    model.compile("sgd", "mse")
    found = list(training_data_of(model, None, features, outputs))
    assert found[0] == (features, outputs)
    assert (features, {"one": outputs["one"], "two": tf.TensorSpec([None], tf.int64)}) in found
    assert found[-2:] == [(features,), features]
    by_itself = keras.Model(given, L.Dense(1)(given))
    by_itself.compile("sgd")
    assert next(training_data_of(by_itself, None, features, outputs)) == (features,)


def test_two_batches_are_the_users_in_both_orders_or_made_up() -> None:
    model = keras.Sequential([L.Input((1,)), L.Dense(1)])
    one, other = batches_of(model, (np.array([[1.0], [2.0]]), np.zeros(2)))
    assert (one.tolist(), other.tolist()) == ([[1.0], [2.0]], [[2.0], [1.0]])
    one, other = batches_of(model, None)
    assert one.shape == other.shape == (ROWS, 1)
    assert (one != other).all()


def test_made_up_values_fit_and_are_the_same_each_time() -> None:
    specs = (tf.TensorSpec([None, None, 2]), tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int64))
    floats, texts, integers = values_for(specs)
    assert floats.shape == (ROWS, 8, 2)
    assert floats.min() >= 0
    assert set(texts) <= {b"a", b"b"}
    assert set(integers) <= {0, 1}
    np.testing.assert_array_equal(values_for(specs)[0], floats)
    assert (values_for(specs, seed=1)[0] != floats).any()
