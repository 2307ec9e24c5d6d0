"""Conditions of Python, written as conditions of the graph."""

from __future__ import annotations

import ast
import textwrap

import pytest

from keras_estimator.doctor.conditions import decided_in_graph
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.source import Source


def written(code: str) -> str:
    text = "from keras import ops\n\n\ndef f(x, y):\n" + textwrap.indent(textwrap.dedent(code), "    ")
    source = Source("file.py", text)
    node = next(node for node in source.nodes if isinstance(node, ast.If | ast.IfExp))
    fix = decided_in_graph(source, node)
    return textwrap.dedent(changed(text, fix.changes).partition("def f(x, y):\n")[2]) if fix else ""


@pytest.mark.parametrize(
    ("code", "instead"),
    [
        ("return x if ops.sum(x) > 0 else y\n", "return ops.cond(ops.sum(x) > 0, lambda: x, lambda: y)\n"),
        ("return x if x > 0 else y\n", "return ops.where(x > 0, x, y)\n"),
        ("if ops.max(x) > 1:\n    x = y\nreturn x\n", "x = ops.cond(ops.max(x) > 1, lambda: y, lambda: x)\nreturn x\n"),
        ("if x > 1:\n    x *= y + 1\nreturn x\n", "x = ops.where(x > 1, x * (y + 1), x)\nreturn x\n"),
        ("if x > 1:\n    z = x\nelse:\n    z = y\n", "z = ops.where(x > 1, x, y)\n"),
        ("if x > 1:\n    return x\nelse:\n    return y\n", "return ops.where(x > 1, x, y)\n"),
        ("# why\nif x > 1:\n    return x\nreturn y\n", "# why\nreturn ops.where(x > 1, x, y)\n"),
    ],
)
def test_how_each_is_written(code: str, instead: str) -> None:
    assert written(code) == instead


@pytest.mark.parametrize(
    "code",
    [
        "if x > 1:\n    x = y\n    y = x\n",
        "if x > 1:\n    x = y  # why\n",
        "if x > 1:\n    print(x)\n",
        "if x > 1:\n    z = x\nelse:\n    y = x\n",
        "if x > 1:\n    return x\ny = 1\nreturn y\n",
        "if x > 1:\n    return\nreturn y\n",
        "if x > 1 and y > 1:\n    x = y\n",
        "if x > 1:\n    x //= y\n",
    ],
)
def test_what_is_told_only(code: str) -> None:
    assert written(code) == ""
