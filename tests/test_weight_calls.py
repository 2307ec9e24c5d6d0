"""What `self.add_weight(...)` is written for a `tf.Variable(...)`, and in how many lines."""

from __future__ import annotations

import pytest

from keras_estimator.doctor.source import Source
from keras_estimator.doctor.weight_calls import Weight, in_width, weight_for

FILE = """\
import keras
import numpy as np
import tensorflow as tf


class Holder(keras.{base}):
    def {method}(self, n):
        self.v = {call}
"""


def parsed(call: str, base: str = "layers.Layer", method: str = "__init__") -> tuple[Source, Weight | None]:
    source = Source("file.py", FILE.format(call=call, base=base, method=method))
    made = next(node for node in source.calls if source.dotted(node.func) == "tensorflow.Variable")
    return source, weight_for(source, made, "v", source.classes[0], used_as="v")


@pytest.mark.parametrize(
    ("call", "shape", "dtype", "initializer", "is_same"),
    [
        ("tf.Variable(0)", "()", "int32", '"zeros"', True),
        ("tf.Variable(-1.5, trainable=False)", "()", "float32", "keras.initializers.Constant(-1.5)", True),
        ("tf.Variable(1.5)", "()", "float32", "keras.initializers.Constant(1.5)", False),
        ("tf.Variable([[1, 1], [1, 1]])", "(2, 2)", "int32", '"ones"', True),
        ("tf.Variable([1, 2.0], False)", "(2,)", "float32", "keras.initializers.Constant([1, 2.0])", True),
        ("tf.Variable(True)", "()", "bool", '"ones"', True),
        ("tf.Variable(0.0, trainable=False, dtype='float64')", "()", "float64", '"zeros"', False),
        ("tf.Variable(tf.ones((n, 2), tf.int64))", "(n, 2)", "int64", '"ones"', True),
        ("tf.Variable(tf.zeros(3), False)", "(3,)", "float32", '"zeros"', True),
    ],
)
def test_what_a_weight_begins_with(call: str, shape: str, dtype: str, initializer: str, is_same: bool) -> None:
    _, weight = parsed(call)
    assert weight is not None
    assert weight.code.items[:4] == ('name="v"', f"shape={shape}", f'dtype="{dtype}"', f"initializer={initializer}")
    assert weight.is_same == is_same


@pytest.mark.parametrize(
    "call",
    [
        "tf.Variable(n)",
        "tf.Variable(np.zeros(3))",
        "tf.Variable([[1], [1, 2]])",
        "tf.Variable([])",
        "tf.Variable('text')",
        "tf.Variable(0, dtype=n)",
        "tf.Variable(0, trainable=n)",
        "tf.Variable(0, constraint=None)",
        "tf.Variable(*n)",
        "tf.Variable(tf.zeros(n))",
        "tf.Variable(tf.zeros(n, name='zeros'))",
    ],
)
def test_what_is_computed_is_left_alone(call: str) -> None:
    assert parsed(call)[1] is None


def test_only_where_a_layer_may_make_weights() -> None:
    assert parsed("tf.Variable(0)", method="build")[1] is not None
    assert parsed("tf.Variable(0)", method="call")[1] is None
    assert parsed("tf.Variable(0)", base="optimizers.SGD")[1] is None


def test_a_short_call_stays_in_one_line_and_a_long_one_has_an_argument_in_each() -> None:
    source, weight = parsed("tf.Variable(0.0, trainable=False)", base="metrics.Metric")
    call = source.calls[0]
    assert weight is not None
    assert in_width(source, call, weight.code).count("\n") == 2  # its arguments fit into one line
    source, weight = parsed("tf.Variable(0)")
    assert weight is not None
    lines = in_width(source, source.calls[0], weight.code).splitlines()
    assert lines[0] == "self.add_weight("
    assert lines[1] == '    name="v",'
    assert lines[-1] == ")"
