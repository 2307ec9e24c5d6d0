"""A trace says what the operations of a function do, and when it is their turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model.computation.function_graph import FunctionGraph, trace
from keras_estimator.model.computation.graph_hash import GraphHash, Read

SPEC = (tf.TensorSpec([None, 3]),)


def hash_of(function: Callable[..., Any]) -> str:
    traced = trace(function, SPEC)
    captured = {inner.op.name: f"captured {place}" for place, (_, inner) in enumerate(traced.graph.captures)}
    read = Read(
        outputs=[tensor.name for tensor in tf.nest.flatten(traced.results)],
        effects=traced.effects,
        turns=traced.turns,
        given=captured | {tensor.op.name: "input" for tensor in traced.inputs},
        parts={},
    )
    return GraphHash(traced.graph.as_graph_def(), read).computation().hash


def types_of(traced: FunctionGraph, names: Any) -> list[str]:
    return [traced.graph.get_operation_by_name(name).type for name in names]


def test_results_keep_their_structure_and_may_come_from_outside() -> None:
    outside = tf.constant(np.ones((300,), "float32"))
    ragged = tf.RaggedTensor.from_row_lengths([1, 2, 3], [1, 2])
    results = trace(lambda x: {"sum": x + 1.0, "rest": [outside, None, ragged, 7]}, SPEC).results
    assert results["sum"].shape.as_list() == [None, 3]
    kept, nothing, rows, number = results["rest"]
    assert (kept.shape.as_list(), nothing, number.dtype) == ([300], None, tf.int32)
    assert isinstance(rows, tf.RaggedTensor)
    assert tf.is_symbolic_tensor(rows.values)


def test_reads_and_dice_have_no_effect_and_writes_python_and_prints_have() -> None:
    variable = tf.Variable(1.0)

    def function(x: Any) -> Any:
        variable.assign_add(1.0)
        tf.print(x)
        drawn = tf.random.uniform([3])
        return tf.numpy_function(np.sin, [x * variable + drawn], tf.float32)

    traced = trace(function, SPEC)
    assert sorted(types_of(traced, traced.effects)) == ["AssignAddVariableOp", "PrintV2", "PyFunc"]


def test_the_turn_of_a_read_and_of_a_write_counts() -> None:
    variable = tf.Variable(1.0)

    def read_first(x: Any) -> Any:
        read = variable.read_value()
        variable.assign(2.0)
        return x + read

    def write_first(x: Any) -> Any:
        variable.assign(2.0)
        return x + variable.read_value()

    def add_and_double(x: Any) -> Any:
        variable.assign_add(2.0)
        variable.assign(variable.read_value() * 2.0)
        return x

    def double_and_add(x: Any) -> Any:
        variable.assign(variable.read_value() * 2.0)
        variable.assign_add(2.0)
        return x

    hashes = [hash_of(function) for function in (read_first, write_first, add_and_double, double_and_add)]
    assert hash_of(read_first) == hashes[0]
    assert len(set(hashes)) == 4


def test_writes_to_one_variable_do_not_put_off_reads_of_another() -> None:
    one, two = tf.Variable(1.0), tf.Variable(1.0)

    def early(x: Any) -> Any:
        read = one.read_value()
        two.assign(3.0)
        return x + read

    def late(x: Any) -> Any:
        one.handle, two.assign(3.0)
        return x + one.read_value()

    reads = [
        traced.turns[name]
        for traced in (trace(early, SPEC), trace(late, SPEC))
        for name in traced.turns
        if types_of(traced, [name]) == ["ReadVariableOp"]
    ]
    assert reads == ["0", "0"]


@pytest.mark.parametrize("is_traced_before", [False, True])
def test_a_call_that_only_reads_does_not_count_as_a_write(is_traced_before: bool) -> None:
    variable = tf.Variable(1.0)
    reads = tf.function(lambda x: x + variable.read_value(), autograph=False)
    writes = tf.function(lambda x: variable.assign_add(tf.reduce_sum(x)), autograph=False)
    if is_traced_before:
        reads(tf.ones([2, 3]))

    def turns(called: Any) -> str:
        def function(x: Any) -> Any:
            called(x)
            return x + variable.read_value()

        traced = trace(function, SPEC)
        return next(traced.turns[name] for name in traced.turns if types_of(traced, [name]) == ["ReadVariableOp"])

    assert (turns(reads), turns(writes)) == ("0", "1")


def test_what_happens_in_a_branch_counts_in_its_order() -> None:
    variable = tf.Variable(1.0)

    def branch(*amounts: float) -> Callable[[Any], Any]:
        def taken() -> Any:
            for amount in amounts:
                variable.assign(variable.read_value() * 2.0 + amount)
            return tf.constant(0.0)

        return lambda x: tf.cond(tf.reduce_sum(x) > 0.0, taken, lambda: tf.constant(0.0))

    assert hash_of(branch(1.0, 2.0)) == hash_of(branch(1.0, 2.0))
    assert len({hash_of(branch(1.0, 2.0)), hash_of(branch(2.0, 1.0)), hash_of(branch())}) == 3
