"""Another process goes on with the batches that Python gives after the last that was trained on, bit for bit."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from changing_data import (
    ASKED,
    LENGTH,
    NUMPY,
    Anew,
    Batches,
    Caches,
    Counts,
    CountsInItsClass,
    DrawsByNumpy,
    DrawsByPython,
    DrawsByTensorFlow,
    DrawsFromOutside,
    Endless,
    HoldsAGeneratorOfTensorFlow,
    HoldsALayer,
    HoldsAnIterator,
    HoldsGenerators,
    KeepsItsState,
    Loader,
    OfOwnIterators,
    Refuses,
    Renamed,
    ShufflesItself,
    begin_the_program,
)

import keras_estimator as ke
from keras_estimator.engines.engine import Position
from keras_estimator.engines.tensorflow.feeds import IteratorFeed
from keras_estimator.errors import CheckpointError, EstimatorWarning
from keras_estimator.inputs import as_source


def feed_of(data: Any) -> IteratorFeed:
    return IteratorFeed(as_source(data, mode=ke.ModeKeys.TRAIN, seed=1, has_steps=True))


def begin(make: Callable[[], Any]) -> IteratorFeed:
    begin_the_program()
    return feed_of(make())


def build_the_model() -> None:
    """Draw, as the initializers of Keras do; this comes after the data are opened and before they are read."""
    random.random(), NUMPY.normal()


def trained_on(feed: IteratorFeed, batches: int) -> list[Any]:
    """Train on some batches; others are read ahead."""
    found = [
        tf.nest.map_structure(lambda part: part.numpy().tolist(), batch) for batch in itertools.islice(feed, batches)
    ]
    feed.advance(len(found))
    return found


def left_at(make: Callable[[], Any], passes: int, batches: int) -> tuple[dict[str, Any], list[Any]]:
    """Return the place after so many passes and batches, and the batches that follow in this pass and the next."""
    feed = begin(make)
    for number in range(passes + 1):
        feed.seek(Position(number, 0))
        if not number:
            build_the_model()
        trained_on(feed, LENGTH if number < passes else batches)
    place = json.loads(json.dumps(feed.place(), allow_nan=False))
    if not batches:
        feed.seek(Position(passes, 0))
    following = trained_on(feed, LENGTH - batches)
    feed.seek(Position(passes + 1, 0))
    return place, following + trained_on(feed, LENGTH)


class GoneOn(NamedTuple):
    """What another process trains on, whether its data were sought, and how many batches it asked for before."""

    following: list[Any]
    is_sought: bool
    asked_before: int


def gone_on(make: Callable[[], Any], passes: int, batches: int, place: Any) -> GoneOn:
    feed = begin(make)
    ASKED.clear()
    is_sought = feed.seek(Position(passes, batches), place)
    build_the_model()
    following = trained_on(feed, LENGTH - batches)
    asked_before = len(ASKED) - len(following)
    feed.seek(Position(passes + 1, 0))
    return GoneOn(following + trained_on(feed, LENGTH), is_sought, asked_before)


AT_ANY_BATCH = [
    Batches, DrawsByNumpy, DrawsByPython, DrawsByTensorFlow, HoldsGenerators, DrawsFromOutside, HoldsALayer,
    HoldsAGeneratorOfTensorFlow, Counts, ShufflesItself, KeepsItsState, OfOwnIterators, Loader,
]  # fmt: skip


@pytest.mark.parametrize(("passes", "batches"), [(0, 1), (0, 4), (1, 0), (2, 3)])
@pytest.mark.parametrize("make", AT_ANY_BATCH)
def test_it_goes_on_at_any_batch_and_asks_for_one_of_those_before(make: Any, passes: int, batches: int) -> None:
    place, following = left_at(make, passes, batches)
    found = gone_on(make, passes, batches, place)
    assert found.following == following
    assert found.is_sought or (passes, batches) == (0, 1)
    assert found.asked_before <= 1


@pytest.mark.parametrize(("passes", "batches"), [(0, 1), (0, 5), (1, 0), (2, 3)])
def test_what_is_iterated_over_goes_on_at_the_beginning_of_a_pass(passes: int, batches: int) -> None:
    place, following = left_at(Anew, passes, batches)
    found = gone_on(Anew, passes, batches, place)
    assert found.following == following
    assert found.is_sought == (passes == 2)  # the first pass goes on with what was looked at
    assert found.asked_before == (batches or LENGTH) - (0 if passes == 2 else 2)


@pytest.mark.parametrize(("passes", "batches"), [(0, 5), (1, 0), (2, 3)])
@pytest.mark.parametrize("make", [Caches, HoldsAnIterator, CountsInItsClass])
def test_what_cannot_be_told_is_read_forward_from_the_beginning(
    make: Any, passes: int, batches: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "keras_estimator")
    place, following = left_at(make, passes, batches)
    (told,) = {record.message for record in caplog.records}
    assert "cannot be put back" in told
    assert {Caches: ".cache", HoldsAnIterator: ".numbers", CountsInItsClass: "CountsInItsClass.calls"}[make] in told
    assert gone_on(make, passes, batches, place).following == following


def numbers() -> Iterator[Any]:
    for index in range(LENGTH):
        yield np.full((2, 1), index, "float32"), np.full((2, 1), NUMPY.normal())


def test_a_generator_is_read_forward() -> None:
    feed = begin(numbers)
    feed.seek(Position())
    build_the_model()
    trained_on(feed, 3)
    place, following = feed.place(), trained_on(feed, LENGTH)
    feed = begin(numbers)
    assert not feed.seek(Position(0, 3), place)
    build_the_model()
    assert trained_on(feed, LENGTH) == following


def test_data_that_have_become_others_are_told_before_a_batch_is_trained_on() -> None:
    def clock() -> Iterator[Any]:
        return ((np.full((2, 1), next(ticks), "float32"),) for _ in range(LENGTH))

    ticks = itertools.count()
    feed = begin(clock)
    feed.seek(Position())
    trained_on(feed, 3)
    place = feed.place()
    feed = begin(clock)
    feed.seek(Position(0, 3), place)
    with pytest.warns(EstimatorWarning, match="does not give the batch again that was trained on last"):
        trained_on(feed, 1)


@pytest.mark.parametrize(("before", "now"), [(HoldsGenerators, Renamed), (Loader, Refuses)])
def test_what_does_not_take_its_state_back_is_read_forward_and_that_is_told(before: Any, now: Any) -> None:
    place, following = left_at(before, 0, 3)
    with pytest.warns(EstimatorWarning, match="is read forward"):
        assert gone_on(now, 0, 3, place).following == following


def test_a_state_that_no_checkpoint_can_hold_is_not_kept_and_that_is_said_once(caplog: Any) -> None:
    class Held(KeepsItsState):
        def state_dict(self) -> dict[str, Any]:
            return {"text": self.text, "lambda": lambda: 3}

    caplog.set_level("INFO", "keras_estimator")
    place, following = left_at(Held, 1, 3)
    assert place["state"] is None
    assert caplog.text.count("its own state (a builtins.function) cannot be put back") == 1
    assert gone_on(Held, 1, 3, place).following == following


FORGED: list[dict[str, Any]] = [
    {"at": None},
    {"at": [0, 4]},
    {"at": [1, -1]},
    {"at": [0, True]},
    {"hash": 3},
    {"state": []},
    {"state": {}},
    {"state": {"random": {}, "held": {"dict": []}}},
    {"random": {"python": None}},
    {"random": {"numpy": {"words": "AAAA", "position": 1, "has_gauss": 0, "gauss": 0.0}}},
    {"held": {"object": "os.system"}},
]


@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_a_place_that_was_never_recorded_is_an_error(forged: dict[str, Any]) -> None:
    place, _ = left_at(DrawsByNumpy, 0, 3)
    state = {**place["state"]}
    for part in state:
        state[part] = (
            {**state[part], **forged[part]} if part == "random" and part in forged else forged.get(part, state[part])
        )
    feed = begin(DrawsByNumpy)
    with pytest.raises(CheckpointError, match="none that was written"):
        feed.seek(Position(0, 3), {**place, "state": state, **{k: v for k, v in forged.items() if k in place}})


def test_nothing_is_noted_where_no_place_is_asked_for() -> None:
    feed = IteratorFeed(as_source(Batches(), mode=ke.ModeKeys.EVAL, seed=1, has_steps=False))
    feed.seek(Position())
    trained_on(feed, 3)
    assert feed.place() is None


def test_endless_batches_go_on_too() -> None:
    feed = begin(Endless)
    feed.seek(Position())
    trained_on(feed, 9)
    place, following = feed.place(), trained_on(feed, 5)
    feed = begin(Endless)
    feed.seek(Position(0, 9), place)
    assert trained_on(feed, 5) == following


def test_a_place_is_kept_until_the_first_batch_is_asked_for() -> None:
    place, _ = left_at(Counts, 1, 2)
    feed = begin(Counts)
    feed.seek(Position(1, 2), place)
    again = json.loads(json.dumps(feed.place()))
    assert (again["at"], again["hash"]) == (place["at"], place["hash"])
    assert gone_on(Counts, 1, 2, again).following == left_at(Counts, 1, 2)[1]


def test_batches_of_all_shapes_are_read_as_keras_does() -> None:
    scipy = pytest.importorskip("scipy.sparse")
    batches = [
        ([np.ones((2, 3)), np.ones((2, 1))], np.zeros(2)),
        [np.ones((2, 3), "float32"), np.zeros(2, "int64")],
        {"a": np.ones((2, 3))},
        (scipy.csr_matrix(np.eye(2)), np.arange(2)),
        (np.ones((2, 3)), None, np.ones(2)),
    ]
    for batch in batches:
        feed = begin(lambda batch=batch: iter([batch, batch]))
        feed.seek(Position())
        first, second = list(feed)
        assert tf.nest.map_structure(tf.type_spec_from_value, first) is not None
        feed.advance(1)
        assert feed.place()["hash"]
        assert first[0] is not second[0]
