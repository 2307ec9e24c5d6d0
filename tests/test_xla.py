"""What XLA cannot compile is found in a traced graph, by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow.xla import obstacle_in, obstacle_in_batches

VECTOR = tf.TensorSpec((4,), tf.float32)


def compiles(function: Any) -> bool:
    try:
        tf.function(function, jit_compile=True)(tf.constant([1.0, 2.0, 3.0, 4.0]))
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return False
    return True


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: tf.nn.relu(x) @ tf.ones([4, 2]) if x.shape.rank == 2 else tf.nn.relu(x), ""),
        (lambda x: tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: (y + 1,), (x,))[0], ""),
        (lambda x: tf.cond(x[0] > 0, lambda: tf.sin(x), lambda: x), ""),
        (lambda x: tf.random.stateless_normal([4], [1, 2]) + x, ""),
        (lambda x: tf.py_function(lambda y: y, [x], tf.float32), "EagerPyFunc"),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), "PyFunc"),
        (lambda x: tf.cond(x[0] > 0, lambda: tf.strings.length(tf.strings.as_string(x))[0], lambda: 1), "StringLength"),
        (lambda x: tf.random.stateless_gamma([4], [1, 2], 2.0) + x, "StatelessRandomGammaV3"),
    ],
)
def test_it_agrees_with_xla_itself(function: Any, named: str) -> None:
    found = obstacle_in(tf.function(function).get_concrete_function(VECTOR).graph)
    assert compiles(function) == (found == "")
    assert named in found


def test_a_step_of_keras_has_no_obstacle() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Dropout(0.5)]
    )
    model.add(layers.Flatten())
    model.add(layers.Dense(3))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    x, y = np.zeros((2, 8, 8, 1), "float32"), np.zeros((2,), "int32")
    model.train_on_batch(x, y)
    step = tf.function(model.train_step, autograph=False).get_concrete_function((tf.constant(x), tf.constant(y)))
    assert obstacle_in(step.graph) == ""


def test_batches_of_texts_ragged_and_sparse_rows_are_not_for_xla() -> None:
    assert obstacle_in_batches({"a": VECTOR, "b": (VECTOR,)}) == ""
    assert obstacle_in_batches(tf.TensorSpec((None,), tf.string)) == "XLA takes no string"
    assert obstacle_in_batches((VECTOR, tf.RaggedTensorSpec((None, None)))) == "XLA takes no RaggedTensor"
    assert obstacle_in_batches([tf.SparseTensorSpec((None, 3))]) == "XLA takes no SparseTensor"
