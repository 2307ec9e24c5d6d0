"""What a checkpoint of anybody says of Keras callbacks sets values of theirs, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import pytest

import keras_estimator as ke
from keras_estimator.hooks.callback_memory import Memory, is_record
from keras_estimator.hooks.keras_callbacks import KerasCallbacks


class Holds(keras.callbacks.Callback):
    """Holds one of each kind that a checkpoint may want to change."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.function, self.module = 0, max, os


def memory_of(callback: keras.callbacks.Callback) -> Memory:
    return Memory(callback, keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "carried",
    [
        *({}, {"eval": "1"}, {"a": 1, "b": 2}, {"dict": [[[1], 2]]}, {"dict": 3}, {"tuple": 3}, {"scalar": 3}),
        *(nested(100), {"variables": 3}, {"variables": [1]}),
    ],
)
def test_what_no_callback_has_remembered_is_not_put_back(carried: Any):
    callback = Holds()
    memory_of(callback).put_back({"count": carried})
    assert callback.count == 0


def test_no_function_and_no_module_is_put_in_the_place_of_another():
    callback = Holds()
    memory_of(callback).put_back({"function": 1, "module": 1, "on_epoch_end": 1, "__class__": 1, "count": 2})
    assert (callback.function, callback.module, callback.count) == (max, os, 2)
    assert "on_epoch_end" not in vars(callback)


def test_lists_in_lists_are_carried_as_deep_as_they_come_back():
    for depth, is_carried in ((40, True), (100, False)):
        callback = Holds()
        memory = memory_of(callback)
        callback.count = nested(depth)
        attributes = memory.record()["attributes"]
        assert ("count" in attributes) == is_carried
        other = Holds()
        memory_of(other).put_back(attributes)
        assert (other.count == nested(depth)) == is_carried


@pytest.mark.parametrize(
    "change",
    [
        {"class": 1},
        {"settings": []},
        {"settings": {"a": [1]}},
        {"attributes": [1]},
        {"file": 3},
        {"file": {"bytes": -1}},
    ],
)
def test_a_record_of_a_callback_is_known_from_what_somebody_has_made_up(change: dict[str, Any], tmp_path: Path):
    (tmp_path / "log.csv").write_text("epoch\n")
    record = memory_of(keras.callbacks.CSVLogger(tmp_path / "log.csv")).record()
    assert is_record(record)
    assert not is_record({**record, **change})
    hook = KerasCallbacks([])
    hook.restore({"callbacks": [record], "epoch": 1, "logs": {"loss": 1.0}})
    with pytest.raises(ke.CheckpointError, match="cannot take back"):
        hook.restore({"callbacks": [{**record, **change}]})
