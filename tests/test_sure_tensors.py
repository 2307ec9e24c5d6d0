"""What surely is a tensor in a traced function, and what is not, or only may be."""

from __future__ import annotations

import ast
import textwrap

import pytest

from keras_estimator.doctor.source import Source
from keras_estimator.doctor.sure_tensors import sure_tensors
from keras_estimator.doctor.tensors import own_attribute

HEAD = "import keras\nimport numpy as np\nimport tensorflow as tf\nfrom keras import ops\n"


def source(text: str) -> Source:
    return Source("file.py", HEAD + textwrap.dedent(text))


def names_in(body: str, given: str = "x") -> set[str]:
    lines = textwrap.indent(textwrap.dedent(body), " " * 8)
    text = f"class A(keras.layers.Layer):\n    def call(self, {given}):\n{lines}\n        return x\n"
    (one,) = sure_tensors(source(text))
    return set(one.names)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("y = ops.sin(x) * 2", {"x", "y"}),
        ("y = x[0]\nz = -y", {"x", "y", "z"}),
        ("y = x\ny = y + 1\ny /= 2", {"x", "y"}),
        ("a, b = x", {"x", "a", "b"}),
        ("y = keras.layers.Dense(4)(x)", {"x", "y"}),
        ("y = tf.concat([x, x], 0)", {"x", "y"}),
        ("y = x > 0", {"x", "y"}),
        ("y = x if self.flag else -x", {"x", "y"}),
    ],
)
def test_what_comes_of_a_tensor_is_one(body: str, names: set[str]) -> None:
    assert names_in(body) == names


@pytest.mark.parametrize(
    "body",
    [
        "y = x.shape",
        "y = ops.shape(x)",
        "y = len(x)",
        "y = x is None",
        "y = self.helper(x)",
        "y = ops.sin(x)\ny = 1",
        "for y in x:\n    pass",
        "y = self.y",
        "y = not x",
        "def inner(y):\n    return y",
        "n = 1\nwhile n:\n    n = n + 1",
    ],
)
def test_what_may_be_something_else_is_none(body: str) -> None:
    assert names_in(body) == {"x"}


def test_settings_of_a_call_are_no_tensors() -> None:
    assert names_in("y = rate * 2", "x, rate, training=False") == {"x"}


def test_an_argument_that_becomes_a_plain_value_is_none() -> None:
    assert names_in("x = x.shape[0]") == set()
    assert names_in("x = self.block(x)") == {"x"}


def test_an_attribute_that_holds_one_makes_none_of_the_others() -> None:
    assert names_in("self.kept = x\ny = np.sqrt(self.units)") == {"x"}


def test_a_function_that_is_handed_one_has_one() -> None:
    text = """
        class A(keras.layers.Layer):
            def call(self, x):
                return self.inner(x, 2) + outer(value=x)

            def inner(self, a, times):
                return a * times

        def outer(value, scale=1):
            return value
        """
    found = {one.traced.name: (one.is_entry, set(one.given)) for one in sure_tensors(source(text))}
    assert found == {"call": (True, {"x"}), "inner": (False, {"a"}), "outer": (False, {"value"})}


@pytest.mark.parametrize(
    "text",
    [
        "class A(keras.layers.Layer):\n    def call(self, x):\n        return tf.py_function(f, [x], 'float32')",
        "class A(keras.layers.Layer):\n    def call(self, x):\n        return ops.convert_to_numpy(x)",
        "class WordTokenizer(keras.layers.Layer):\n    def call(self, x):\n        return x",
        "class A(keras.initializers.Initializer):\n    def __call__(self, shape, dtype=None):\n        return 0",
    ],
)
def test_code_outside_of_the_graph_is_left_out(text: str) -> None:
    assert sure_tensors(source(text)) == []


def test_layers_of_the_class_give_tensors() -> None:
    text = """
        class A(keras.layers.Layer):
            def __init__(self):
                self.dense = keras.layers.Dense(4)
                self.rank = 2

            def call(self, x):
                y = self.dense(x)
                z = self.other(x)
        """
    (one,) = sure_tensors(source(text))
    assert one.names == {"x", "y"}
    calls = [node for node in one.traced.nodes if isinstance(node, ast.Call)]
    assert [(one.holds(call), one.any_holds(call)) for call in calls] == [(True, True), (False, True)]


def test_own_attributes() -> None:
    def attribute(code: str) -> str:
        return own_attribute(ast.parse(code, mode="eval").body)

    assert [attribute(code) for code in ("self.a", "self.a.b", "other.a", "a")] == ["a", "", "", ""]
    assert own_attribute(None) == ""
