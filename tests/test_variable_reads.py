"""An integer tf.Variable meets a floating tensor as a Keras variable does; everything else is TensorFlow's."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import variable_reads
from keras_estimator.errors import EstimatorWarning

HERE = Path(__file__).name
X = np.array([0.5, 1.5, -2.0], "float32")
OPERATIONS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip

variable_reads.install()


def quietly(function: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimatorWarning)
        return function()


def in_a_graph(function: Callable[[], Any]) -> Any:
    return tf.function(function, autograph=False)()


def at_once(function: Callable[[], Any]) -> Any:
    return function()


def test_tensorflow_still_keeps_its_operators_where_they_are_replaced():
    for cls in (tf.Tensor, tf.Variable):
        for name in variable_reads.OPERATORS:
            assert "_promoting" in vars(cls)[name].__code__.co_qualname
    for cls in (type(tf.constant(0.0)), type(tf.Variable(0))):
        assert all(getattr(cls, name).__module__.startswith("tensorflow") for name in variable_reads.OPERATORS)
        assert all("_promoting" in getattr(cls, name).__code__.co_qualname for name in variable_reads.OPERATORS)


@pytest.mark.parametrize("run", [at_once, in_a_graph])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operator_reads_the_variable_in_the_dtype_of_the_tensor(operation: Any, run: Any):
    counter = tf.Variable(2, trainable=False)
    for left, right, wanted in (
        (X, counter, operation(X, np.float32(2))),
        (counter, X, operation(np.float32(2), X)),
    ):
        pair = [tf.constant(side) if side is X else side for side in (left, right)]
        got = quietly(lambda pair=pair: run(lambda: operation(*pair)))
        assert got.dtype.name == wanted.dtype.name
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_dtype_is_that_of_the_tensor(dtype: str):
    assert quietly(lambda: tf.constant([1.0], dtype) * tf.Variable(2, dtype="int64")).dtype.name == dtype


def test_a_python_float_counts_as_floatx():
    counter = tf.Variable(4)
    assert quietly(lambda: counter * 0.5).numpy() == np.float32(2.0)
    assert quietly(lambda: 1.0 / counter).dtype.name == "float32"


def test_it_promotes_as_a_variable_of_keras_does():
    raw, own = tf.Variable(3, trainable=False), keras.Variable(3, dtype="int32", trainable=False)
    x = tf.constant(X)
    for function in (lambda v: x * v, lambda v: v * x, lambda v: v - 0.5, lambda v: x**v):
        mine, theirs = quietly(lambda function=function: function(raw)), function(own)
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_what_tensorflow_did_before_it_does_now():
    counter, scale = tf.Variable(3), tf.Variable(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (counter * tf.constant(2)).dtype == tf.int32
        assert (counter / 2).dtype == tf.float64
        assert (counter * np.float64(2.5)).numpy() == 6
        assert (scale * tf.constant([2.0])).dtype == tf.float32
        assert (tf.constant(3) == counter).numpy()
        assert not (counter == tf.constant(1)).numpy()
        with pytest.raises((TypeError, tf.errors.InvalidArgumentError)):
            scale * tf.constant(2)
        with pytest.raises((TypeError, tf.errors.InvalidArgumentError)):
            tf.constant(2) * tf.constant(2.0)


class Counting(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.counter = tf.Variable(0, trainable=False)

    def call(self, x: Any) -> Any:
        self.counter.assign_add(1)
        return x * self.counter


def test_a_layer_is_built_traced_and_differentiated():
    model = quietly(lambda: keras.Sequential([keras.Input((3,)), Counting()]))
    assert model.output_shape == (None, 3)
    x = tf.constant(X[None])

    @tf.function
    def slope() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)
        return tape.gradient(y, x)

    np.testing.assert_array_equal(slope(), [[1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(slope(), [[2.0, 2.0, 2.0]])


def test_a_line_is_reported_once_with_its_repair():
    class Owner:
        def __init__(self) -> None:
            self.steps = tf.Variable([0, 0], trainable=False)

        def call(self, x: Any) -> Any:
            return x + self.steps

    owner = Owner()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            owner.call(tf.constant([1.0, 2.0]))
    (warning,) = caught
    number = Owner.call.__code__.co_firstlineno + 1
    assert (Path(warning.filename).name, warning.lineno) == (HERE, number)
    assert issubclass(warning.category, EstimatorWarning)
    assert warning.message.rule == "KE303"
    assert f"{HERE}:{number}: the int32 variable `steps` meets float32 in `return x + self.steps`" in str(
        warning.message
    )
    assert 'self.steps = self.add_weight(name="steps", shape=(2,), dtype="int32", ' in str(warning.message)
