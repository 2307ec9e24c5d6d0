"""Which classes stand for a tensor, and when their values are there."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model.tensor_kinds import is_symbolic, is_tensor, rank, tensor_kinds


def test_every_tensor_is_known_with_or_without_values():
    kinds = {}

    @tf.function(autograph=False)
    def graph(x: tf.Tensor, variable: tf.Variable) -> tf.Tensor:
        kinds.update(graph=is_symbolic(x), variable=is_symbolic(variable), is_eager=tensor_kinds().is_eager())
        with tensor_kinds().eagerly():
            kinds.update(inside=is_symbolic(tf.constant(1.0)), inside_is_eager=tensor_kinds().is_eager())
        return x

    graph(tf.constant(1.0), tf.Variable(1.0))
    assert kinds == {"graph": True, "variable": True, "is_eager": False, "inside": False, "inside_is_eager": True}
    assert is_symbolic(keras.Input((2,)))


@pytest.mark.parametrize("make", [tf.constant, tf.Variable, keras.Variable])
def test_outside_of_a_graph_values_are_there(make: Any):
    thing = make(1.0)
    assert is_tensor(thing)
    assert not is_symbolic(thing)


@pytest.mark.parametrize("thing", [np.ones(2), 1.0, [tf.constant(1.0)], "text", None, np.float32(1)])
def test_nothing_else_is_a_tensor(thing: object):
    assert not is_tensor(thing)


def test_the_rank_may_be_unknown():
    assert rank(keras.Input((2, 3))) == 3
    ranks = []
    tf.function(lambda x: ranks.append(rank(x)), input_signature=[tf.TensorSpec(None)], autograph=False)(1.0)
    assert ranks == [None]
