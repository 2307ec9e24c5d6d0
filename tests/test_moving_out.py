"""What a `call` makes, made in `__init__` or `build`."""

from __future__ import annotations

import pytest

from keras_estimator.doctor.moving_out import moved_out, removed
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.sure_tensors import sure_tensors

INIT = "    def __init__(self, units):\n        super().__init__()\n        self.units = units\n\n"


def written(statement: str, to: str, before: str = "") -> str:
    call = f"    def call(self, x):\n{statement}        return x\n"
    text = f"import keras\n\n\nclass A(keras.layers.Layer):\n{before}{call}"
    source = Source("file.py", text)
    one = next(one for one in sure_tensors(source) if one.traced.name == "call")
    made = next(node for node in source.calls if node in one.traced.nodes and "(" in source.code(node)[4:])
    fix = moved_out(source, one, made, to=to)
    return changed(text, fix.changes) if fix else ""


def line(code: str, indent: int = 8) -> str:
    return f"{' ' * indent}{code}\n"


def test_into_init() -> None:
    dense = "self.d = keras.layers.Dense(self.units)"
    assert f"super().__init__()\n        {dense}\n        self.units" in written(line(dense), "__init__", INIT)
    assert f"super().__init__(**kwargs)\n        {dense}\n" in written(line(dense), "__init__")


def test_in_the_place_of_nothing() -> None:
    guarded = line("if self.d is None:") + line("self.d = keras.layers.Dense(4)", 12)
    after = written(guarded, "__init__", INIT.rstrip() + "\n        self.d = None\n\n")
    assert "self.units = units\n        self.d = keras.layers.Dense(4)\n" in after
    assert "if self.d" not in after


def test_into_build() -> None:
    weight = line("self.w = self.add_weight(shape=(x.shape[-1],))")
    made = "self.w = self.add_weight(shape=(input_shape[-1],))"
    assert f"def build(self, input_shape):\n        {made}\n" in written(weight, "build")
    build = "    def build(self, shape):\n        self.a = 1\n\n"
    renamed = made.replace("input_shape", "shape")
    assert f"def build(self, shape):\n        {renamed}\n        self.a = 1" in written(weight, "build", build)
    text = '    def build(self, shape):\n        """Make it."""\n        self.a = 1\n\n'
    assert f'"""Make it."""\n        {renamed}\n' in written(weight, "build", text)


@pytest.mark.parametrize(
    "statement",
    [
        line("self.d = keras.layers.Dense(x.shape[-1])"),
        line("self.d = keras.layers.Dense(4)  # why"),
        line("self.d = keras.layers.Dense(4); y = 1"),
        line("d = keras.layers.Dense(4)"),
        line("for _ in range(2):") + line("self.d = keras.layers.Dense(4)", 12),
        line("if self.other:") + line("self.d = keras.layers.Dense(4)", 12),
        line("n = 4") + line("self.d = keras.layers.Dense(n)"),
    ],
)
def test_what_is_told_only(statement: str) -> None:
    assert written(statement, "__init__", INIT) == ""


def test_a_statement_is_taken_out() -> None:
    source = Source("file.py", "a = 1\nb = 2\n")
    assert changed(source.text, [removed(source.tree.body[0])]) == "b = 2\n"
