"""Draws of NumPy and Python, written as draws of keras.random."""

from __future__ import annotations

import pytest

from keras_estimator.doctor.findings import Applicability
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.seeded_draws import seeded
from keras_estimator.doctor.source import Source

HEAD = "import random\nimport keras\nimport numpy as np\n\n\nclass A(keras.layers.Layer):\n"


def written(call: str, init: str = "", name: str = "") -> str:
    text = f"{HEAD}{init}    def call(self, x):\n        return {call}\n"
    source = Source("file.py", text)
    node = next(one for one in source.calls if source.code(one) == call)
    fix = seeded(source, node, name or source.dotted(node.func), source.classes[0], set())
    if fix.applicability is Applicability.DISPLAY:
        return ""
    return changed(text, fix.changes)


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        ("np.random.normal(0.0, 2.0, (3,))", "normal((3,), mean=0.0, stddev=2.0, seed=self.seed_generator)"),
        ("np.random.uniform(size=x.shape)", "uniform(keras.ops.shape(x), seed=self.seed_generator)"),
        ("np.random.uniform(-1, 1)", "uniform((), minval=-1, maxval=1, seed=self.seed_generator)"),
        ("np.random.randn(3, n)", "normal((3, n), seed=self.seed_generator)"),
        ("np.random.rand(3)", "uniform((3,), seed=self.seed_generator)"),
        ("np.random.random(4)", "uniform((4,), seed=self.seed_generator)"),
        ("random.gauss(0, 1)", "normal((), mean=0, stddev=1, seed=self.seed_generator)"),
    ],
)
def test_how_each_is_written(call: str, instead: str) -> None:
    assert f"return keras.random.{instead}\n" in written(call)


@pytest.mark.parametrize("call", ["np.random.randint(3)", "np.random.normal(*x)", "np.random.normal(**x)", "f(x)"])
def test_what_is_told_only(call: str) -> None:
    assert written(call) == ""


def test_where_the_generator_is_made() -> None:
    line = "self.seed_generator = keras.random.SeedGenerator()"
    init = "    def __init__(self):\n        super().__init__()\n        self.a = 1\n\n"
    assert f"super().__init__()\n        {line}\n        self.a = 1" in written("random.random()", init)
    assert f"super().__init__(**kwargs)\n        {line}" in written("random.random()")
    assert written("random.random()", f"{init.rstrip()}\n        {line}\n\n").count(line) == 1
    assert written("random.random()", "    def __init__(self):\n        self.a = 1\n\n") == "", "there is no place"
