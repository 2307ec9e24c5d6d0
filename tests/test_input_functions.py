"""An input_fn gets what it asks for by name; more tests of it are in test_inputs.py."""

from __future__ import annotations

import functools

import pytest

from keras_estimator.errors import ConfigError
from keras_estimator.input_functions import InputContext, asks_for_context, call_input_fn
from keras_estimator.inputs import as_source, batches_per_pass, identity, source_from

KNOWN = {"mode": "train", "params": {}, "config": None}


def rows(input_context: InputContext) -> list[tuple[list[int], list[int]]]:
    number = input_context.input_pipeline_id
    return [([number], [number])] * (8 // input_context.num_input_pipelines)


def test_who_asks_is_known():
    assert asks_for_context(rows)
    assert asks_for_context(lambda mode, input_context=None: None)
    assert not asks_for_context(lambda mode: None)
    assert not asks_for_context(functools.partial(rows, input_context=InputContext()))
    assert not asks_for_context([1])


def test_the_context_says_which_part_to_give():
    assert len(call_input_fn(rows, KNOWN | {"input_context": InputContext(4, 1, 4)})) == 2


def test_a_batch_is_divided_by_the_replicas_or_the_error_says_why_not():
    assert InputContext(2, 0, 4).get_per_replica_batch_size(64) == 16
    with pytest.raises(ConfigError, match="cannot be divided"):
        InputContext(2, 0, 4).get_per_replica_batch_size(63)


def test_parts_are_known_again_by_another_number_of_processes():
    sources = [
        source_from(rows, KNOWN | {"input_context": context}, seed=0, has_steps=True)
        for context in (InputContext(), InputContext(2, 1, 2), InputContext(4, 3, 4))
    ]
    assert [source.is_part for source in sources] == [False, True, True]
    assert len({identity(source, spec) for source, spec in zip(sources, "abc", strict=True)}) == 1
    assert [batches_per_pass(source) for source in sources] == [None] * 3
    assert identity(sources[0], "a") != identity(
        as_source(rows(InputContext()), mode="train", seed=0, has_steps=True), "a"
    )
