"""What an object holds is found, wherever it is, and put back; what cannot be told is named."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections import deque
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from keras_estimator.engines.held_state import HeldState
from keras_estimator.engines.plain_values import read, written
from keras_estimator.errors import InputError

OUTSIDE = np.random.default_rng(1)
COUNT = 0


class Thing:
    """Holds what it is given."""

    of_class = 0

    def __init__(self, **held: Any) -> None:
        vars(self).update(held)


def through_a_file(noted: Any) -> Any:
    return read(json.loads(json.dumps(written(noted))))


def changed(thing: Any, change: Any) -> HeldState:
    held = HeldState(thing)
    assert held.noted() is not None
    change(thing)
    return held


@pytest.mark.parametrize(
    ("held", "change"),
    [
        ({"text": "a"}, lambda thing: vars(thing).update(text="b")),
        ({"path": Path("a")}, lambda thing: vars(thing).update(path=Path("b"))),
        ({}, lambda thing: vars(thing).update(text="b")),
        ({"text": "a"}, lambda thing: vars(thing).pop("text")),
        ({"cache": {}}, lambda thing: thing.cache.update(a=[1])),
        ({"cache": dict.fromkeys(range(100), 0)}, lambda thing: thing.cache.update({3: 1})),
        ({"seen": set()}, lambda thing: thing.seen.add(1)),
        ({"last": deque([1, 2])}, lambda thing: thing.last.rotate()),
        ({"texts": ["a", "b"]}, lambda thing: thing.texts.append("c")),
        ({"pair": (1, 2)}, lambda thing: vars(thing).update(pair=(1, 3))),
        ({"frame": pd.DataFrame({"a": range(9)})}, lambda thing: vars(thing).update(frame=thing.frame.sample(frac=1))),
        ({"inner": Thing(text="a")}, lambda thing: vars(thing.inner).update(text="b")),
        ({}, lambda thing: setattr(type(thing), "of_class", type(thing).of_class + 1)),
        ({"x": np.zeros((2**21, 2))}, lambda thing: thing.x.fill(1.0)),
    ],
)
def test_what_cannot_be_put_back_is_named_once_it_changes(held: dict[str, Any], change: Any) -> None:
    state = changed(Thing(**held), change)
    assert state.noted() is None
    assert next(iter(held), "text") in state.untold or "of_class" in state.untold
    assert state.noted() is None


@pytest.mark.parametrize("iterator", [itertools.count(), iter([1]), (n for n in range(3))])
def test_where_an_iterator_is_nobody_can_tell(iterator: Any) -> None:
    state = HeldState(Thing(numbers=iterator))
    assert state.noted() is None
    assert state.untold == ".numbers"


@pytest.mark.parametrize(
    "held",
    [
        {"lock": __import__("threading").Lock()},
        {"frame": pd.DataFrame({"a": range(9)})},
        {"path": Path("a"), "function": np.sin, "module": np, "kind": dict, "text": b"a"},
        {"model": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])},
        {"x": np.zeros(9), "fixed": np.broadcast_to(np.zeros(1), (9,))},
    ],
)
def test_what_stays_as_it_is_is_nothing_to_note(held: dict[str, Any]) -> None:
    assert HeldState(Thing(**held)).noted() == {}


def test_random_states_are_found_everywhere() -> None:
    def closed() -> float:
        return float(inner.random() + OUTSIDE.normal())

    inner = random.Random(3)

    class Draws(Thing):
        of_class = np.random.RandomState(1)

        def value(self) -> float:
            return closed()

        @property
        def outside(self) -> float:
            return float(OUTSIDE.normal())

    parts = [Thing(rng=np.random.default_rng(2)), {"a": (np.random.default_rng(3),)}]
    thing = Draws(parts=parts, call=functools.partial(closed), bound=random.Random(7).random)
    found = HeldState(thing).noted()
    assert found is not None
    names = {
        name.rpartition(".<locals>.")[2] if name.startswith("test_") else name.partition(" in ")[0] for name in found
    }
    assert names == {".parts[0].rng", ".parts[1]['a'][0]", ".bound.__self__", "Draws.of_class", "inner", "OUTSIDE"}
    thing.self = thing  # an object that holds itself
    assert (HeldState(thing).noted() or {}).keys() == found.keys()


def test_numbers_of_closures_and_globals_are_put_back() -> None:
    calls = 0

    class Counts(Thing):
        def count(self) -> None:
            nonlocal calls
            global COUNT
            calls, COUNT = calls + 1, COUNT + 1

    thing = Counts()
    held = HeldState(thing)
    thing.count(), thing.count()
    noted = through_a_file(held.noted())
    thing.count()
    held.put_back(noted)
    assert (calls, COUNT) == (2, 2)


def test_objects_that_hold_too_much_are_not_told() -> None:
    many = [[Thing(a=[Thing(b=n)]) for n in range(60)] for _ in range(60)]
    state = HeldState(Thing(many=many))
    assert state.noted() is None
    assert "too much" in state.untold


def test_only_the_places_that_the_object_has_are_set() -> None:
    held = HeldState(Thing(number=1, text="a", numbers=np.zeros(2)))
    for noted in (
        {".other": {"number": 1}},
        {".text": {"number": 1}},
        {".text": {"text": "b"}},
        {".number": {"number": "b"}},
        {".number": {}},
        {".numbers": {"array": np.zeros(3), "is_other": False}},
        {".__class__": {"number": 1}},
        [],
        None,
        {".number": {"number": 5}, ".other": {"number": 1}},
    ):
        with pytest.raises(InputError, match="cannot be what they were"):
            held.put_back(noted)
    assert held.noted() == {}  # not even in part


def test_a_model_that_is_trained_is_left_alone() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5)])
    for is_noted in (True, False):
        held = HeldState(Thing(model=model))
        model(np.ones((1, 2)), training=True)
        assert bool(held.noted()) == is_noted
        model.compile("sgd", "mse")
