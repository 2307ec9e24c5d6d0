"""Which names of a traced function hold tensors, and which plain values of Python."""

from __future__ import annotations

import ast

import pytest

from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import Traced

HEAD = (
    "import keras\nimport numpy as np\nimport tensorflow as tf\n"
    "class A(keras.Layer):\n    def call(self, x, training=None, scale=2.0):\n"
)


def traced(*lines: str) -> Traced:
    (found,) = Source("file.py", HEAD + "".join(f"        {line}\n" for line in lines)).traced
    return found


@pytest.mark.parametrize(
    ("lines", "tensors"),
    [
        (["y = x * 2", "return y"], {"x", "y"}),
        (["y = self.dense(x)", "z = y[0]"], {"x", "y", "z"}),
        (["y = self.kernel"], {"x"}),
        (["n = x.shape[0]", "m = n * 2"], {"x"}),
        (["n = tf.shape(x)[0]"], {"x", "n"}),
        (["n = len(x.shape)", "k = isinstance(x, list)", "d = x.dtype"], {"x"}),
        (["n = keras.ops.ndim(x)"], {"x"}),
        (["a, b = keras.ops.split(x, 2)"], {"x", "a", "b"}),
        (["for row in x:", "    y = row"], {"x", "row", "y"}),
        (["if (y := x) is None:", "    return y"], {"x", "y"}),
        (["total = 0", "total += x"], {"x", "total"}),
        (["z = w", "w = x"], {"x", "w", "z"}),
        (["is_none = x is None"], {"x"}),
        (["self.kept = x", "out[k] = x"], {"x", "out"}),
        (["s = scale * 2", "t = training"], {"x"}),
    ],
)
def test_which_names_hold_tensors(lines: list[str], tensors: set[str]):
    assert traced(*lines).tensors == tensors


def test_an_expression_holds_a_tensor_if_a_part_of_it_does():
    one = traced("return np.sin(x) + np.sqrt(self.units)")
    calls = [node for node in one.nodes if isinstance(node, ast.Call)]
    assert {ast.unparse(call): one.holds_tensor(call) for call in calls} == {
        "np.sin(x)": True,
        "np.sqrt(self.units)": False,
    }


def test_all_arguments_of_a_step_are_tensors():
    text = "import keras\nclass M(keras.Model):\n    def train_step(self, data):\n        x, y = data\n"
    (one,) = Source("file.py", text).traced
    assert one.tensors == {"data", "x", "y"}


def test_of_a_function_that_is_called_only_what_gets_a_tensor_is_one():
    text = HEAD + (
        "        return self.inner(x, 3, scale=self.scale) + outer(7, y=x)\n"
        "    def inner(self, x, n, scale):\n        return x\n"
        "    def never(self, x):\n        return x\n"
        "def outer(n, y):\n    return y\n"
    )
    assert {one.name: one.tensors for one in Source("file.py", text).traced} == {
        "call": {"x"},
        "inner": {"x"},
        "outer": {"y"},
    }


def test_tensors_of_all_calls_of_a_function_count():
    text = HEAD + "        return outer(x, 1) + outer(1, x)\n"
    text += "def outer(a, b):\n    return inner(a)\ndef inner(c):\n    pass\n"
    found = {one.name: one.tensors for one in Source("file.py", text).traced}
    assert found == {"call": {"x"}, "outer": {"a", "b"}, "inner": {"c"}}
