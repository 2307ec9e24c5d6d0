"""Receiver functions: tf.Examples, raw tensors, and functions written for the original with placeholders."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import export, receivers
from keras_estimator.engines.tensorflow.predicting import Predicting
from keras_estimator.engines.tensorflow.state import ModelState
from keras_estimator.errors import ConfigError, ExportError

layers = keras.layers


class Summing(keras.Model):
    """Takes one tensor, and no name for it."""

    def call(self, x):
        return tf.reduce_sum(x, axis=1)


def served(model: keras.Model, base: Path, receiver_fn: object, spec: object = None) -> dict[str, object]:
    step = Predicting(model, ModelState(model), lambda: False).step
    folder = export.export_saved_model(model, step, spec, base, receiver_fn=receiver_fn, verify=False)
    return tf.saved_model.load(folder).signatures


def example(**features: list[float] | list[bytes]) -> bytes:
    made = {}
    for name, values in features.items():
        if isinstance(values[0], bytes):
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        else:
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def test_examples_are_parsed_and_reach_the_inputs_of_their_names(tmp_path: Path):
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    model = keras.Model([b, a], layers.Concatenate(name="both")([a, b]))
    columns = {"a": tf.io.FixedLenFeature([2], tf.float32), "b": tf.io.FixedLenFeature([1], tf.float32, [9.0])}
    signature = served(model, tmp_path, receivers.build_parsing_serving_input_receiver_fn(columns))["serving_default"]
    outputs = signature(examples=tf.constant([example(a=[1.0, 2.0], b=[3.0]), example(a=[4.0, 5.0])]))
    assert outputs["both"].numpy().tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]]


def test_a_single_column_reaches_a_model_that_takes_one_tensor_whatever_its_name(tmp_path: Path):
    columns = {"anything": tf.io.FixedLenFeature([2], tf.float32)}
    receiver_fn = receivers.build_parsing_serving_input_receiver_fn(columns)
    signature = served(Summing(), tmp_path, receiver_fn, tf.TensorSpec([None, 2]))["serving_default"]
    assert signature(examples=tf.constant([example(anything=[1.0, 2.0])]))["output_1"].numpy().tolist() == [3.0]


@pytest.mark.parametrize(
    "features",
    [np.zeros((5, 2), "float32"), tf.TensorSpec([None, 2], tf.float32), tf.ones([7, 2])],
    ids=["array", "spec", "tensor"],
)
def test_raw_features_are_described_by_an_array_a_spec_or_a_tensor(tmp_path: Path, features: object):
    receiver_fn = receivers.build_raw_serving_input_receiver_fn(features)
    signature = served(Summing(), tmp_path, receiver_fn)["serving_default"]
    assert signature.structured_input_signature[1]["input"].shape.as_list() == [None, 2]
    assert signature(input=tf.ones([3, 2]))["output_1"].numpy().tolist() == [2.0] * 3


def test_raw_features_keep_their_names_and_a_size_of_batch_if_one_is_asked_for(tmp_path: Path):
    model = keras.Sequential([keras.Input((2,), name="class"), layers.Dense(1)])
    receiver_fn = receivers.build_raw_serving_input_receiver_fn({"price": tf.TensorSpec([None, 2])}, 4)
    [(name, spec)] = served(model, tmp_path, receiver_fn)["serving_default"].structured_input_signature[1].items()
    assert (name, spec.shape.as_list()) == ("price", [4, 2])


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_ragged_and_sparse_features_are_fed_as_their_parts(tmp_path: Path, kind: str):
    rows = tf.ragged.constant([[1.0], [2.0, 3.0]])
    given = rows if kind == "ragged" else rows.to_sparse()
    ones = layers.Dense(1, kernel_initializer="ones")
    model = Summing() if kind == "ragged" else keras.Sequential([keras.Input((2,), sparse=True, name="x"), ones])
    signature = served(model, tmp_path, receivers.build_raw_serving_input_receiver_fn(given))["serving_default"]
    if kind == "ragged":
        outputs = signature(input_values=rows.values, input_row_splits=rows.row_splits)
    else:
        outputs = signature(input_indices=given.indices, input_values=given.values, input_dense_shape=[2, 2])
    assert np.ravel(next(iter(outputs.values()))).tolist() == [1.0, 5.0]


def test_a_receiver_function_of_the_original_style_works_and_its_alternatives_become_signatures(tmp_path: Path):
    scale = tf.Variable(10.0)

    def receiver_fn():
        serialized = tf.compat.v1.placeholder(tf.string, [None], name="input_example_tensor")
        parsed = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([2], tf.float32)})
        features = {"x": parsed["x"] * scale}
        return receivers.ServingInputReceiver(features, {"examples": serialized}, {"raw": {"x": parsed["x"]}})

    model = keras.Sequential([keras.Input((2,), name="x"), layers.Dense(1, kernel_initializer="ones", name="y")])
    signatures = served(model, tmp_path, receiver_fn)
    assert sorted(signatures) == ["raw:serving_default", "serving_default"]
    examples = tf.constant([example(x=[1.0, 2.0])])
    assert signatures["serving_default"](examples=examples)["y"].numpy().tolist() == [[30.0]]
    assert signatures["raw:serving_default"](x=tf.constant([[1.0, 2.0]]))["y"].numpy().tolist() == [[30.0]]


def test_a_single_tensor_is_named_as_the_original_named_it():
    with tf.Graph().as_default():
        tensor = tf.compat.v1.placeholder(tf.float32, [None, 2])
        named = receivers.ServingInputReceiver(tensor, tensor)
        alone = receivers.TensorServingInputReceiver(tensor, tensor, {"other": tensor})
    assert (list(named.features), list(named.receiver_tensors)) == (["feature"], ["input"])
    assert alone.features is tensor
    assert list(alone.receiver_tensors_alternatives["other"]) == ["input"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: receivers.ServingInputReceiver({"x": 1.0}, tf.constant(1.0)),
        lambda: receivers.ServingInputReceiver({1: tf.constant(1.0)}, tf.constant(1.0)),
        lambda: receivers.ServingInputReceiver(tf.constant(1.0), "x"),
        lambda: receivers.TensorServingInputReceiver({"x": tf.constant(1.0)}, tf.constant(1.0)),
        lambda: receivers.ServingInputReceiver(tf.constant(1.0), tf.constant(1.0), {"other": {"x": None}}),
    ],
)
def test_what_is_no_tensor_is_refused_when_the_receiver_is_made(make: object):
    with pytest.raises(ConfigError, match="not a dict of tensors by name"):
        make()


def test_a_receiver_that_returns_something_else_says_what_to_return(tmp_path: Path):
    with pytest.raises(ExportError, match="does not return what it receives"):
        served(Summing(), tmp_path, lambda: {"x": 1})


def test_a_placeholder_that_is_not_fed_is_named(tmp_path: Path):
    def receiver_fn():
        x, forgotten = (tf.compat.v1.placeholder(tf.float32, [None, 2], name=name) for name in ("x", "forgotten"))
        return receivers.TensorServingInputReceiver(x + forgotten, {"x": x})

    with pytest.raises(ExportError, match="a tensor that is not fed") as caught:
        served(Summing(), tmp_path, receiver_fn)
    assert "forgotten" in caught.value.found


def test_a_table_that_dies_with_its_receiver_function_is_refused(tmp_path: Path):
    def receiver_fn():
        x = tf.compat.v1.placeholder(tf.float32, [None, 2])
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [1.0]), 0.0)
        return receivers.TensorServingInputReceiver(x + tf.ensure_shape(table.lookup(tf.constant(0)), ()), {"x": x})

    with pytest.raises(ExportError, match="cannot be saved") as caught:
        served(Summing(), tmp_path, receiver_fn)
    assert "whose Python object is gone" in caught.value.found
