"""Weights of a class in its source: where they are made, of which dtype, and what is assigned to them."""

from __future__ import annotations

import pytest

from keras_estimator.doctor.source import Source
from keras_estimator.doctor.state_writes import created, dtype_of, is_floating, writes_of

CODE = """
import keras
import tensorflow as tf

class Counts(keras.layers.Layer):
    def build(self, shape):
        self.mean = self.add_weight(shape=())
        self.count = self.add_weight(shape=(), dtype="int32")
        self.scale = keras.Variable(1.0)

    def call(self, x):
        self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(x))
        self._count()
        self._add(x)
        return x

    def _count(self):
        self.count.assign_add(1)

    def _add(self, x):
        self.count.assign_add(tf.shape(x)[0])
"""


def test_weights_and_what_is_assigned_to_them() -> None:
    source = Source("a.py", CODE)
    (one,) = source.classes
    assert list(created(one)) == ["mean", "count"]
    writes = list(writes_of(source, one))
    assert [(write.attribute, write.method, write.is_of_data) for write in writes] == [
        ("mean", "assign", True),
        ("count", "assign_add", True),
    ]
    assert [write.reads("mean") for write in writes] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "dtype", "floating"),
    [
        ("shape=()", "", True),
        ("shape=(), dtype='float32'", "float32", True),
        ("shape=(), dtype=tf.bfloat16", "bfloat16", True),
        ("shape=(), dtype=self.compute_dtype", "compute_dtype", True),
        ("shape=(), dtype='int32'", "int32", False),
        ("shape=(), dtype=kind", "", False),
        ("shape=(), dtype=None", "", False),
        ("(), 'zeros', 'int32'", "", False),
        ("**more", "", False),
    ],
)
def test_the_dtype_of_a_weight(arguments: str, dtype: str, floating: bool) -> None:
    call = Source("a.py", f"self.add_weight({arguments})").calls[0]
    assert (dtype_of(call), is_floating(call)) == (dtype, floating)
