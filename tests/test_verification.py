"""The comparison of an export with the live model: made-up inputs, given ones, and what it does when they fail."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import export, receivers, verification
from keras_estimator.engines.tensorflow.predicting import Predicting
from keras_estimator.engines.tensorflow.signatures import Answer, Signature, entry_of_features
from keras_estimator.engines.tensorflow.state import ModelState
from keras_estimator.errors import EstimatorWarning, ExportError

layers = keras.layers


def exported(model: keras.Model, base: Path, **options: object) -> str:
    step = Predicting(model, ModelState(model), lambda: False).step
    return export.export_saved_model(model, step, None, base, **options)


class Mixing(keras.Model):
    """Takes one dense, one sparse, one ragged and one string column."""

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(shape=(2,), initializer="ones")

    def call(self, x):
        sparse = tf.reduce_sum(tf.sparse.to_dense(x["sparse"]), axis=1, keepdims=True)
        ragged = tf.reduce_sum(x["ragged"], axis=1)[:, tf.newaxis]
        word = tf.strings.length(x["word"])
        return x["dense"] * self.weight + tf.cast(sparse, tf.float32) + ragged + tf.cast(word, tf.float32)


def test_examples_are_made_up_for_every_kind_of_column_and_every_signature_is_compared(tmp_path: Path):
    columns = {
        "dense": tf.io.FixedLenFeature([2], tf.float32),
        "sparse": tf.io.VarLenFeature(tf.int64),
        "ragged": tf.io.RaggedFeature(tf.float32),
        "word": tf.io.FixedLenFeature([1], tf.string),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", EstimatorWarning)
        exported(
            Mixing(), tmp_path, receiver_fn=receivers.build_parsing_serving_input_receiver_fn(columns),
            export_outputs={"output_1": "regress"},
        )  # fmt: skip


def receive_pictures() -> receivers.TensorServingInputReceiver:
    pictures = tf.compat.v1.placeholder(tf.string, [None])
    pixels = tf.map_fn(lambda one: tf.io.decode_png(one, 1), pictures, fn_output_signature=tf.uint8)
    features = tf.reshape(tf.cast(pixels, tf.float32), [-1, 4])
    return receivers.TensorServingInputReceiver(features, {"pictures": pictures})


def test_inputs_that_cannot_be_made_up_are_said_and_a_sample_takes_their_place(tmp_path: Path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    with pytest.warns(EstimatorWarning, match="`serving_default` loads, but was not compared .*Unknown image file"):
        exported(model, tmp_path, receiver_fn=receive_pictures)
    picture = tf.io.encode_png(np.zeros((2, 2, 1), "uint8")).numpy()
    exported(model, tmp_path, receiver_fn=receive_pictures, sample={"pictures": np.array([picture], dtype=object)})


def test_an_export_that_cannot_be_loaded_is_refused_with_the_last_words_of_the_process(tmp_path: Path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(ExportError, match="cannot be served without the code that made it") as caught:
        verification.verify(tmp_path, {}, doubling())
    assert "Error" in caught.value.found


SPEC = tf.TensorSpec([None, 2])


def doubling() -> verification.LiveModel:
    return verification.LiveModel(keras.Sequential([]), lambda x: {"y": x * 2.0}, SPEC)


def call(rows: int) -> verification.Call:
    entry = entry_of_features(keras.Sequential([]), SPEC)
    signature = Signature(entry, Answer(), entry.parts(), None)
    return verification.Call("serving_default", signature, {"inputs": tf.ones([rows, 2])})


def test_the_live_model_answers_in_order_and_is_the_same_afterwards():
    counter = keras.layers.Layer()
    counter.count = counter.add_weight(shape=(), initializer="zeros", trainable=False)
    model = keras.Sequential([keras.Input((2,)), counter])

    def count(x):
        counter.count.assign_add(1.0)
        return {"y": x[:, 0] * counter.count}

    live = verification.LiveModel(model, count, SPEC)
    answers = [answer["y"].numpy().tolist() for answer in live([call(3), call(2)])]
    assert answers == [[1.0, 1.0, 1.0], [2.0, 2.0]]
    assert counter.count.numpy() == 0.0


def test_half_precision_inside_of_the_model_is_noticed():
    cast = verification.LiveModel(
        keras.Sequential([]), lambda x: {"y": tf.cast(tf.cast(x, "bfloat16"), "float32")}, SPEC
    )
    assert (cast.is_half_precise, doubling().is_half_precise) == (True, False)
