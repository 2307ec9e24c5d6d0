"""What is found in a traced graph: owners of what it captures, writes and Python callbacks, with their lines.

The private parts of TensorFlow that traced_graph touches are used by every test here.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import traced_graph
from keras_estimator.errors import ExportError


def graph_of(function: object, *spec: tf.TensorSpec) -> tf.Graph:
    traced = tf.function(function, autograph=False).get_concrete_function(*spec or [tf.TensorSpec([None])])
    return traced.graph


def test_variables_and_tables_are_found_wherever_python_keeps_them():
    known, unknown = tf.Variable(1.0), tf.Variable(2.0, name="unknown")
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [1.0]), 0.0)
    growing = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
    key = tf.constant(0, tf.int64)
    graph = graph_of(lambda x: x * known + unknown + table.lookup(tf.constant(0)) + growing.lookup(key))
    owned = traced_graph.owners([graph], {"layer/known": known, "layer/unused": tf.Variable(0.0)})
    assert owned["layer/known"] is known
    assert {type(thing).__name__ for thing in owned.values()} == {
        "ResourceVariable",
        "StaticHashTable",
        "MutableHashTable",
    }
    assert any(path.startswith("unreached/") and path.endswith("_unknown") for path in owned)
    assert "layer/unused" not in owned


def test_what_is_gone_is_refused():
    def use(x):
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [1.0]), 0.0)
        return x + table.lookup(tf.constant(0))

    with pytest.raises(ExportError, match="cannot be saved"):
        traced_graph.owners([graph_of(use)], {})


def test_a_write_is_found_in_a_function_a_branch_and_a_loop_with_its_line():
    called, branch, loop, read = (tf.Variable(0.0) for _ in range(4))
    inner = tf.function(lambda x: called.assign_add(1.0) + x)

    def step(x):
        x = inner(x) + read
        x += tf.cond(tf.reduce_sum(x) > 0, lambda: branch.assign_add(1.0) + 0.0, lambda: 0.0)
        return tf.while_loop(lambda i: i < 3, lambda i: [i + loop.assign_add(1.0)], [x[0]])

    names = {"called": called, "branch": branch, "loop": loop, "read": read}
    written = traced_graph.writes(graph_of(step), names)
    assert sorted(text.partition("` (test_traced_graph.py:")[0] for text in written) == ["`branch", "`called", "`loop"]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tf.numpy_function(np.sin, [x], tf.float32),
        lambda x: tf.py_function(np.sin, [x], tf.float32),
        lambda x: tf.map_fn(lambda one: tf.numpy_function(np.sin, [one], tf.float32), x),
    ],
    ids=["numpy_function", "py_function", "in a loop"],
)
def test_a_python_callback_is_refused_with_its_line(call: object):
    with pytest.raises(ExportError, match="calls back into Python") as caught:
        traced_graph.refuse_callbacks(graph_of(call))
    assert caught.value.found.startswith("test_traced_graph.py:")
    assert caught.value.rule == "KE501"


def test_a_graph_without_callbacks_passes():
    traced_graph.refuse_callbacks(graph_of(lambda x: tf.map_fn(tf.sin, x)))
