"""Graphs that compute the same have one hash, whatever they are named; others do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from keras_estimator.model.computation.graph_hash import Computation, GraphHash, Read


def hashed(function: Callable[..., Any], parts: Callable[[str], str] = lambda _: "") -> GraphHash:
    graph = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec([None, 3])).graph
    names = [operation.name for operation in graph.get_operations()]
    read = Read(
        outputs=[tensor.name for tensor in graph.outputs],
        effects=[operation.name for operation in graph.control_outputs],
        turns={},
        given={tensor.op.name: f"input {place}" for place, tensor in enumerate(graph.inputs)},
        parts={name: parts(name) for name in names},
    )
    return GraphHash(graph.as_graph_def(), read)


def computed(function: Callable[..., Any]) -> Computation:
    return hashed(function).computation()


def loop(by: float) -> Callable[[Any], Any]:
    return lambda x: tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * by), [0, x])[1]


def test_names_order_and_what_nobody_reads_do_not_matter() -> None:
    def other(x: Any) -> Any:
        tf.exp(x)
        with tf.name_scope("elsewhere"):
            right = tf.cos(x, name="right")
            return tf.sin(x, name="left") + right

    assert computed(lambda x: tf.sin(x) + tf.cos(x)).hash == computed(other).hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tf.sin, tf.cos),
        (lambda x: x * 2.0, lambda x: x * 2.0000002),
        (lambda x: x[:, :1] - x[:, 1:2], lambda x: x[:, 1:2] - x[:, :1]),
        (lambda x: tf.reduce_sum(x, axis=0), lambda x: tf.reduce_sum(x, axis=1)),
        (lambda x: (x, tf.sin(x)), lambda x: (tf.sin(x), x)),
        (loop(2.0), loop(3.0)),
        (lambda x: tf.cast(x, "float16"), lambda x: tf.cast(x, "bfloat16")),
        (lambda x: tf.function(lambda y: tf.sin(y))(x), lambda x: tf.function(lambda y: tf.cos(y))(x)),
        (lambda x: tf.split(x, 3, 1)[0], lambda x: tf.split(x, 3, 1)[1]),
    ],
)
def test_other_mathematics_has_another_hash(one: Any, other: Any) -> None:
    assert computed(one).hash == computed(one).hash
    assert computed(one).hash != computed(other).hash


def test_an_effect_counts_although_nobody_reads_it() -> None:
    variable = tf.Variable(0.0)

    def adds(amount: float) -> Callable[[Any], Any]:
        def function(x: Any) -> Any:
            variable.assign_add(amount)
            return x

        return function

    assert computed(adds(1.0)).hash == computed(adds(1.0)).hash
    assert len({computed(adds(1.0)).hash, computed(adds(2.0)).hash, computed(tf.identity).hash}) == 3


def test_a_difference_stays_in_its_part() -> None:
    def network(activation: Any) -> dict[str, str]:
        def function(x: Any) -> Any:
            with tf.name_scope("first"):
                x = x * 2.0
            with tf.name_scope("second"):
                x = activation(x)
            with tf.name_scope("third"):
                return x + 1.0

        return dict(hashed(function, lambda name: name.partition("/")[0]).computation().parts)

    one, other = network(tf.sin), network(tf.cos)
    assert {part for part in one if one[part] != other[part]} == {"second"}


def test_ten_thousand_operations_in_a_row_need_no_recursion() -> None:
    def function(x: Any) -> Any:
        for _ in range(10_000):
            x = tf.raw_ops.Neg(x=x)
        return x

    assert len(computed(function).hash) == 32


def test_gradients_of_ones_own_and_calls_of_python_are_noticed() -> None:
    @tf.custom_gradient
    def own(x: Any) -> Any:
        return x * 2.0, lambda upstream: upstream

    assert hashed(own).has_own_gradients
    assert hashed(lambda x: tf.function(lambda y: own(y))(x)).has_own_gradients
    assert not hashed(lambda x: tf.function(tf.sin)(x)).has_own_gradients
    assert hashed(lambda x: tf.numpy_function(lambda y: y, [x], tf.float32)).calls_python
    assert not hashed(tf.sin).calls_python
