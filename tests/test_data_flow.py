"""What of a graph is computed from some tensors, also within functions, branches and loops."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from keras_estimator.doctor.data_flow import Flow, from_data, from_variable, writes_from
from keras_estimator.doctor.live import LiveModel


def flow_of(function: Any, *specs: Any) -> tuple[Flow, list[Any]]:
    graph = tf.function(function, autograph=False).get_concrete_function(*specs).graph
    return Flow(graph, graph.inputs[:1]), graph.outputs


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, y: (x + 1, y + 1, x * y), [True, False, True]),
        (lambda x, y: (tf.shape(x), tf.ones_like(x), tf.zeros(3) + y), [False, False, False]),
        (lambda x, y: tf.function(lambda a, b: (b, a))(x, y), [False, True]),
        (lambda x, y: tf.cond(y > 0, lambda: (x, y), lambda: (y, y)), [True, False]),
        (lambda x, y: tf.while_loop(lambda a: a < 3, lambda a: (a + y,), (x,)), [True]),
    ],
    ids=["operations", "shapes", "calls", "branches", "loops"],
)
def test_what_is_computed_from_the_first_argument(function: Any, expected: list[bool]) -> None:
    flow, outputs = flow_of(function, tf.TensorSpec([]), tf.TensorSpec([]))
    assert [flow.has(tensor) for tensor in outputs] == expected


class Notes(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.mean = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.newest = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.built = True

    def call(self, x: Any) -> Any:
        self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x))
        self.count.assign_add(1.0)
        self.newest.assign(keras.ops.max(x))
        return x


def test_what_is_written_from_data_and_from_itself() -> None:
    live = LiveModel(keras.Sequential([keras.Input((4,)), Notes()]))
    graph = live.training
    assert graph is not None
    of_data = {captured.name for captured, _ in writes_from(graph, from_data(graph))}
    assert of_data == {"notes/mean", "notes/newest"}
    written = {captured.name: captured for captured, _ in graph.writes()}
    from_itself = {
        name
        for name, captured in written.items()
        if captured in [one for one, _ in writes_from(graph, from_variable(graph, captured))]
    }
    assert from_itself == {"notes/mean", "notes/count"}
