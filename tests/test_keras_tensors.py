"""Which expressions of functional code are KerasTensors."""

from __future__ import annotations

import textwrap

import pytest

from keras_estimator.doctor.keras_tensors import functional_code
from keras_estimator.doctor.source import Source

HEAD = """import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from other import block
"""


def names_in(text: str) -> list[set[str]]:
    return [set(one.names) for one in functional_code(Source("file.py", HEAD + textwrap.dedent(text)))]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("y = layers.Dense(4)(x)", {"x", "y"}),
        ("dense = layers.Dense(4)\ny = dense(x)", {"x", "y"}),
        ("base = keras.applications.MobileNet()\ny = base(x)", {"x", "y"}),
        ("y = ops.sin(x) + 1\nz = y[:, 0]", {"x", "y", "z"}),
        ("y = layers.Add()([x, x])", {"x", "y"}),
        ("y = x\ny = tf.nn.relu(y)", {"x", "y"}),
    ],
)
def test_what_comes_of_an_input(text: str, names: set[str]) -> None:
    assert names_in(f"x = keras.Input((4,))\n{text}") == [names]


@pytest.mark.parametrize(
    "text",
    [
        "y = keras.Model(x, x)",
        "y = block(x)",
        "y = x.shape",
        "y = ops.shape(x)",
        "y = np.shape(x)",
        "y = len(x)",
        "y = layers.Dense(4)(x)\ny = 1",
        "for y in x:\n    pass",
        "f = lambda y: y",
        "def f(y):\n    z = x\n    return z",
    ],
)
def test_what_is_none(text: str) -> None:
    assert names_in(f"x = keras.Input((4,))\n{text}") == [{"x"}]


def test_an_argument_of_a_function_of_the_file() -> None:
    text = """
        def inner(a, units, b=None):
            h = layers.Dense(units)(a)
            return h

        def build():
            x = keras.Input((4,))
            return inner(x, 4)
        """
    assert names_in(text) == [{"x"}, {"a", "h"}]


def test_a_file_without_inputs_has_none() -> None:
    assert names_in("x = 1") == []
    assert names_in("f = lambda: keras.Input((4,))") == []
