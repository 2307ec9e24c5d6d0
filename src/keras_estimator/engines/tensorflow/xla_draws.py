"""Random numbers that are the same with XLA as without it.

TensorFlow and XLA draw the same bits from a seed, by Philox, and make other numbers of them: TensorFlow takes the low
bits for the mantissa of a uniform number, XLA the high ones, and so on. What is traced within `drawing_alike` makes
numbers of bits as TensorFlow does (tensorflow/core/lib/random/random_distributions.h), in operations that XLA compiles.

The private part of TensorFlow used here is `gen_stateless_random_ops_v2`, by which all of `tf.random.stateless_*` and
`keras.random` make their operations; tests/test_xla_draws.py fails when it changes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import gen_stateless_random_ops_v2 as operations

from keras_estimator.model.computation.function_graph import DRAWS

# With a state inside of TensorFlow, of which XLA knows nothing; or made of bits in a way that is not repeated here.
DRAWS_OTHERWISE = DRAWS | {"StatelessTruncatedNormalV2", "StatelessMultinomial"}
_MANTISSA_BITS = {tf.float16: 10, tf.bfloat16: 7, tf.float32: 23}
_LEAST = 1e-7  # what TensorFlow puts in the place of smaller uniform numbers, before it takes the logarithm


def drawing_alike(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a step that draws the same random numbers with XLA as without."""

    def alike(batch: Any) -> Any:
        with _made_of_bits():
            return step(batch)

    return alike


@contextlib.contextmanager
def _made_of_bits() -> Iterator[None]:
    uniform, normal = operations.stateless_random_uniform_v2, operations.stateless_random_normal_v2
    operations.stateless_random_uniform_v2 = _uniform
    operations.stateless_random_normal_v2 = _normal
    try:
        yield
    finally:
        operations.stateless_random_uniform_v2 = uniform
        operations.stateless_random_normal_v2 = normal


def _uniform(shape: Any, key: Any, counter: Any, alg: Any, dtype: Any = tf.float32, name: str | None = None) -> Any:
    dtype = tf.as_dtype(dtype)
    if dtype == tf.float64:
        high, low = tf.unstack(_bits(tf.concat([shape, [2]], 0), key, counter, alg), axis=-1)
        return (tf.cast(high & 0xFFFFF, dtype) * 2.0**32 + tf.cast(low, dtype)) / 2.0**52
    return tf.cast(_uniform_floats(_bits(shape, key, counter, alg), _MANTISSA_BITS[dtype]), dtype, name)


def _normal(shape: Any, key: Any, counter: Any, alg: Any, dtype: Any = tf.float32, name: str | None = None) -> Any:
    """Make two numbers of two by the method of Box and Muller."""
    dtype = tf.as_dtype(dtype)
    if dtype == tf.float64:
        return _normal_doubles(shape, key, counter, alg)
    num_numbers = tf.reduce_prod(shape)
    pairs = tf.reshape(_bits([num_numbers + num_numbers % 2], key, counter, alg), [-1, 2])
    first, second = tf.unstack(_uniform_floats(pairs, _MANTISSA_BITS[tf.float32]), axis=1)
    radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(first, _LEAST)))
    angle = tf.cast(2.0 * math.pi * tf.cast(second, tf.float64), tf.float32)
    numbers = tf.reshape(tf.stack([tf.sin(angle) * radius, tf.cos(angle) * radius], axis=1), [-1])
    return tf.cast(tf.reshape(numbers[:num_numbers], shape), dtype, name)


def _normal_doubles(shape: Any, key: Any, counter: Any, alg: Any) -> Any:
    num_numbers = tf.reduce_prod(shape)
    pairs = tf.reshape(_uniform([num_numbers + num_numbers % 2], key, counter, alg, tf.float64), [-1, 2])
    first, second = tf.unstack(pairs, axis=1)
    radius, angle = tf.sqrt(-2.0 * tf.math.log(tf.maximum(first, _LEAST))), 2.0 * math.pi * second
    numbers = tf.reshape(tf.stack([tf.sin(angle) * radius, tf.cos(angle) * radius], axis=1), [-1])
    return tf.reshape(numbers[:num_numbers], shape)


def _bits(shape: Any, key: Any, counter: Any, alg: Any) -> Any:
    return operations.stateless_random_uniform_full_int_v2(shape, key, counter, alg, dtype=tf.uint32)


def _uniform_floats(bits: Any, num_bits: int) -> Any:
    mantissa = tf.cast(bits & np.uint32(2**num_bits - 1), tf.int32)
    return tf.cast(mantissa, tf.float32) / 2.0**num_bits
