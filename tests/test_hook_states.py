"""What hooks remember goes into checkpoints and comes back, arrays too; what no file can hold is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.errors import CheckpointError, ConfigError
from keras_estimator.hooks.hook_states import HookStates


class Remembers(ke.Hook):
    def __init__(self, memory: dict[str, Any] | None = None, kept: set[int] | None = None) -> None:
        self.memory = memory or {}
        self.kept = kept or set()

    def state(self) -> dict[str, Any]:
        return self.memory

    def restore(self, state: dict[str, Any]) -> None:
        self.memory = state

    def kept_steps(self) -> set[int]:
        return self.kept


def through_a_checkpoint(states: HookStates, variables: dict[str, Any]) -> HookStates:
    record, arrays = states.to_checkpoint()
    found = HookStates()
    state = variables | arrays
    found.from_checkpoint(json.loads(json.dumps(record)), state)
    assert state == variables
    return found


def test_values_and_arrays_come_back_to_hooks_of_the_same_class_in_their_order():
    states = HookStates()
    array = np.arange(6.0).reshape(2, 3)
    memory = {"best": 0.5, "weights": [array, array + 1], "seen": {"a": None, "b": np.float32(2.0)}, "name": "x"}
    states.take([Remembers(memory, {7}), Remembers({"other": float("inf")}), ke.Hook()])
    found = through_a_checkpoint(states, {"dense/kernel": 1})
    assert found.kept_steps == {7}
    one, two = Remembers(), Remembers()
    found.give([one, two])
    np.testing.assert_array_equal(one.memory["weights"], [array, array + 1])
    assert one.memory | {"weights": 0} == memory | {"weights": 0}
    assert two.memory == {"other": float("inf")}


def test_nothing_is_forgotten_by_a_call_that_goes_without_the_hook():
    states = HookStates()
    states.take([Remembers({"best": 1}, {3})])
    states.take([ke.Hook()])
    found = through_a_checkpoint(states, {})
    later = Remembers()
    found.give([later])
    assert (later.memory, found.kept_steps) == ({"best": 1}, {3})


def test_a_hook_that_forgets_is_forgotten():
    states = HookStates()
    states.take([Remembers({"best": 1}, {3})])
    states.take([Remembers()])
    assert states.to_checkpoint() == ({"states": {}, "kept_steps": {}}, {})


def test_a_key_of_its_own_tells_hooks_of_one_class_apart():
    one, two = Remembers({"n": 1}), Remembers({"n": 2})
    one.key, two.key = "first", "second"
    states = HookStates()
    states.take([one, two])
    again = Remembers()
    again.key = "second"
    states.give([again])
    assert again.memory == {"n": 2}


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, lambda: 0])
def test_what_no_checkpoint_can_hold_is_refused_with_its_place(value: Any):
    states = HookStates()
    states.take([Remembers({"here": [value]})])
    with pytest.raises(ConfigError, match="Remembers/here/0"):
        states.to_checkpoint()


def test_a_checkpoint_of_before_has_none():
    states = HookStates()
    states.from_checkpoint({}, {"dense/kernel": np.zeros(2)})
    assert states.kept_steps == set()


@pytest.mark.parametrize(
    "record",
    [
        {"states": [1]},
        {"states": {"Remembers": {"@array": "nowhere"}}},
        {"states": {"Remembers": {"@array": [1]}}},
        {"kept_steps": [1]},
        {"kept_steps": {"Remembers": ["last"]}},
        {"kept_steps": {"Remembers": 1}},
    ],
)
def test_what_no_checkpoint_has_said_is_refused_and_what_was_known_stays(record: dict[str, Any]):
    states = HookStates()
    states.take([Remembers({"n": 1}, kept={3})])
    with pytest.raises(CheckpointError, match="cannot take back what the checkpoint says"):
        states.from_checkpoint(record, {})
    assert states.kept_steps == {3}
    assert states.to_checkpoint()[0]["states"] == {"Remembers": {"n": 1}}


class Counts(Remembers):
    def restore(self, state: dict[str, Any]) -> None:
        self.count = int(state["count"])


@pytest.mark.parametrize("state", [{}, {"count": "many"}, {"count": None}, [1], 3])
def test_a_hook_that_cannot_take_back_what_it_remembered_is_named(state: Any):
    states = HookStates()
    states.from_checkpoint({"states": {"Counts": state}}, {})
    with pytest.raises(CheckpointError, match="the hook Counts cannot take back"):
        states.give([Counts()])
