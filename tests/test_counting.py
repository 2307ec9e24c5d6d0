"""A counter of Python, written as a weight."""

from __future__ import annotations

import ast

import pytest

from keras_estimator.doctor.counting import counted_by_weight
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.source import Source


def written(first: str, count: str, base: str = "keras.layers.Layer") -> str:
    text = f"""import keras


class A({base}):
    def __init__(self):
        super().__init__()
        self.n = {first}

    def call(self, x):
        {count}
        return x
"""
    source = Source("file.py", text)
    assigned = next(node for node in source.nodes if isinstance(node, ast.Assign))
    statement = source.classes[0].methods["call"].body[0]
    assert isinstance(assigned.value, ast.Constant)
    fix = counted_by_weight(source, source.classes[0], "n", assigned.value, statement)
    return changed(text, fix.changes) if fix else ""


@pytest.mark.parametrize(
    ("first", "dtype", "initializer"),
    [
        ("0", "int32", '"zeros"'),
        ("1.0", "float32", '"ones"'),
        ("7", "int32", "keras.initializers.Constant(7)"),
    ],
)
def test_what_it_starts_with(first: str, dtype: str, initializer: str) -> None:
    after = written(first, "self.n += 1")
    assert f'dtype="{dtype}"' in after
    assert f"initializer={initializer}" in after
    assert "        self.n.assign_add(1)\n" in after


def test_counting_down() -> None:
    assert "self.n.assign_sub(2)" in written("0", "self.n -= 2")


@pytest.mark.parametrize("count", ["self.n *= 2", "self.n = self.n + 1", "self.n += 1; x = x"])
def test_what_is_told_only(count: str) -> None:
    assert written("0", count) == ""


def test_a_loss_has_no_weights() -> None:
    assert written("0", "self.n += 1", "keras.losses.Loss") == ""
