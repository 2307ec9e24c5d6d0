"""Who gives batches is asked for each once, pass after pass, and for what it needs to go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from keras_estimator.engines.tensorflow.batch_givers import IteratedGiver, OwnState, PyDatasetGiver, as_batch
from keras_estimator.errors import InputError


class Rows(keras.utils.PyDataset):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        self.done.append(index)
        return np.full((2, 1), index, "float32"), np.zeros((2, 1), "float32")

    def on_epoch_begin(self) -> None:
        self.done.append("begin")

    def on_epoch_end(self) -> None:
        self.done.append("end")


def test_a_py_dataset_is_asked_for_each_batch_and_told_about_passes() -> None:
    data = Rows()
    giver = PyDatasetGiver(data)
    assert len(giver.looked_at()) == 2
    for number in range(2):
        assert len(list(giver.begin(number))) == 3
    # Keras looks at two batches first, too.
    assert data.done == [0, 1, "begin", 0, 1, 2, "end", "begin", 0, 1, 2]


def test_batches_come_as_keras_takes_them() -> None:
    array = np.zeros((2, 1))
    assert as_batch((array, 1)) == (array, 1)
    assert as_batch([array, 1]) == (array, 1)
    assert as_batch(array) == (array,)
    assert as_batch({"a": array}) == ({"a": array},)


def test_an_iterator_is_made_anew_for_another_pass() -> None:
    made = itertools.count()

    def again() -> Iterator[Any]:
        number = next(made)
        return iter([number, number])

    giver = IteratedGiver(again(), again)
    assert [list(giver.begin(number)) for number in range(3)] == [[(n,), (n,)] for n in range(3)]
    assert [giver.noted(index) for index in range(2)] == [None, None]


class HasState:
    def __init__(self, state: Any) -> None:
        self.state = state

    def get_state(self) -> Any:
        return self.state

    def set_state(self, state: Any) -> None:
        if state is None:
            raise OSError("no")
        self.state = state


def test_a_state_is_noted_as_it_was_and_given_back() -> None:
    thing = HasState({"at": [1, 2]})
    own = OwnState.of(thing)
    assert own is not None
    noted = own.noted()
    thing.state["at"].append(3)
    own.put_back(noted)
    assert thing.state == {"at": [1, 2]}
    for forged in ({"own": None}, {}, None):
        with pytest.raises(InputError):
            own.put_back(forged)


def test_a_state_that_is_none_of_values_is_not_kept() -> None:
    for state in (lambda: 3, {"a": {1, 2}}, iter([1])):
        own = OwnState.of(HasState(state))
        assert own is not None
        assert own.noted() is None
        assert "its own state" in own.untold


def test_who_only_gives_a_state_has_none() -> None:
    assert OwnState.of(Rows()) is None
    assert OwnState.of(iter([1])) is None
    half = HasState(1)
    half.set_state = None  # type: ignore[method-assign, assignment]  # as a class that cannot take it back
    assert OwnState.of(half) is None
