"""Which reductions are over the rows of a batch, in a source and in a graph."""

from __future__ import annotations

import ast
from typing import Any

import keras
import pytest
import tensorflow as tf

from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.reductions import Rows, is_total, place_of_reduction, reduces_rows
from keras_estimator.doctor.source import Source

IMPORTS = "import keras, numpy as np\nimport tensorflow as tf\nfrom keras import ops\n"


@pytest.mark.parametrize(
    ("code", "rows", "total"),
    [
        ("ops.mean(x)", True, True),
        ("tf.reduce_mean(x, axis=None)", True, True),
        ("tf.math.reduce_std(x, 0)", True, False),
        ("ops.max(x, axis=(0, 1), keepdims=True)", True, False),
        ("tf.norm(x)", True, True),
        ("tf.norm(x, 2, 0)", True, False),
        ("tf.norm(x, 0)", True, True),
        ("ops.mean(x, axis=-1)", False, False),
        ("ops.mean(x, axis=self.axis)", False, False),
        ("ops.mean(x, axis=False)", False, False),
        ("ops.mean(x, **more)", False, False),
        ("ops.mean(*more)", False, False),
        ("sum(x)", False, False),
        ("other.mean(x)", False, False),
    ],
)
def test_which_calls_reduce_rows(code: str, rows: bool, total: bool) -> None:
    source = Source("a.py", IMPORTS + code)
    (call,) = source.calls
    assert (reduces_rows(source, call), is_total(source, call)) == (rows, total)


def test_which_names_hold_rows() -> None:
    code = """
class Layer(keras.layers.Layer):
    def call(self, x):
        mean = ops.mean(x)
        scale = 2 * mean
        both = x * mean
        unused = ops.abs(x)
        size = ops.shape(x)[0]
        return both / size
"""
    source = Source("a.py", IMPORTS + code)
    rows = Rows(source, source.traced[0])
    assert rows.reduced == {"mean", "scale", "size"}
    assert rows.answered == {"both", "size", "x", "mean"}
    expressions = {text: ast.parse(text, mode="eval").body for text in ("x + 1", "scale", "ops.mean(x)", "x.shape")}
    assert [rows.are_in(node, set()) for node in expressions.values()] == [True, False, False, False]


class Centered(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        within = tf.reduce_mean(x, axis=-1, keepdims=True)
        return x - within - tf.reduce_mean(x)


def test_the_line_of_a_reduction_in_a_graph() -> None:
    live = LiveModel(keras.Sequential([keras.Input((4,)), Centered()]))
    place = place_of_reduction(live, live.inference, "centered")
    first = Centered.call.__code__.co_firstlineno
    assert place is not None
    assert (place.file, place.line) == (__file__, first + 2)
    other = place_of_reduction(live, None, "centered")
    assert other is not None
    assert other.line == first
    assert place_of_reduction(live, live.inference, "nowhere") is None
