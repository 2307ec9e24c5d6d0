"""A source file: which classes are Keras's, which functions it traces, which lines are silenced."""

from __future__ import annotations

import ast

import pytest

from keras_estimator.doctor.source import Source

CLASSES = """
import keras
from keras import layers
from keras.layers import Dense as D

class Direct(layers.Layer):
    def call(self, x):
        return self.step(x)

    def step(self, x):
        return x

class ByWay(Direct):
    pass

class Wide(D):
    pass

class Net(keras.Model): ...
class Far(keras.losses.Loss): ...
class Plain: ...
class Unknown(Missing): ...
"""


def test_classes_of_keras_are_found_by_way_of_others():
    source = Source("file.py", CLASSES)
    assert {one.name: (one.kind, one.is_of_builtin) for one in source.classes} == {
        "Direct": ("layer", False),
        "ByWay": ("layer", False),
        "Wide": ("layer", True),
        "Net": ("model", False),
        "Far": ("loss", False),
    }
    by_way = source.classes[1]
    assert by_way.method("call") is source.classes[0].methods["call"]
    assert by_way.method("missing") is None


TRACED = """
import keras

def plain(x):
    return x

def loss(y, p):
    return near(y - p)

def near(d):
    return d

def given(x):
    return x

class Net(keras.Model):
    def __init__(self):
        self.units = 3

    def call(self, x, training=False):
        return self.inner(x) + self.size(3)

    def inner(self, x):
        return x

    def size(self, units):
        return units

    def train_step(self, data):
        return {}

layers = [keras.layers.Lambda(given), keras.layers.Lambda(lambda x: x), keras.layers.Dense(3, activation=given)]
model = keras.Sequential(layers)
model.compile(loss=loss, metrics=[lambda y, p: p])
"""


def test_functions_that_keras_traces_are_found_and_no_others():
    found = {(one.name, one.role) for one in Source("file.py", TRACED).traced}
    assert found == {
        ("call", "model"),
        ("inner", "model"),
        ("train_step", "model"),
        ("given", "lambda"),
        ("lambda", "lambda"),
        ("loss", "loss"),
        ("near", "loss"),
        ("lambda", "metric"),
    }


def test_a_line_can_be_silenced_for_all_rules_or_some():
    text = "a = 1  # mark\nb = 2  # mark: KE201, KE301\nc = 3  # MARK:ke201\nd = 4  # mark: E501 - why\ne = 5"
    text = text.replace("mark", "no" + "qa").replace("MARK", "NO" + "QA")
    source = Source("file.py", text)
    assert [source.is_silenced(line, "KE201") for line in range(1, 6)] == [True, True, True, False, False]
    assert [source.is_silenced(line, "KE301") for line in range(1, 6)] == [True, True, False, False, False]
    assert not source.is_silenced(99, "KE201")


def test_what_is_around_a_node_is_found():
    source = Source("file.py", CLASSES)
    call = next(node for node in source.calls if ast.unparse(node) == "self.step(x)")
    function, owner = source.function_of(call), source.class_of(call)
    assert isinstance(function, ast.FunctionDef)
    assert owner is not None
    assert (function.name, owner.name) == ("call", "Direct")
    assert source.code(source.statement_of(call)) == "return self.step(x)"
    assert str(source.place(call)) == "file.py:8:16"


def test_a_file_that_is_no_python_is_a_syntax_error():
    with pytest.raises(SyntaxError):
        Source("file.py", "def f(:")


def test_classes_of_other_files_are_asked_for():
    text = "from mine.layers import Special\nclass A(Special): ..."

    class Around:
        def canonical(self, dotted: str) -> str:
            return dotted

        def kind_of(self, dotted: str) -> str:
            return {"mine.layers.Special": "layer"}.get(dotted, "")

    source = Source("file.py", text, "mine.net", Around())
    assert [(one.name, one.kind) for one in source.classes] == [("A", "layer")]
