"""Batches of a PyDataset with workers come in order, from any place on; what workers draw is told before."""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.engines.engine import Position
from keras_estimator.engines.tensorflow.feeds import open_feed
from keras_estimator.engines.tensorflow.worker_batches import WorkersBatches, has_workers
from keras_estimator.inputs import as_source

ASKED: list[int] = []
LENGTH = 7


class Rows(keras.utils.PyDataset):
    """Its order is another one in each pass."""

    def __init__(self, *, workers: int = 3, **options: Any) -> None:
        super().__init__(workers=workers, **options)
        self.order, self.rng = np.arange(100), random.Random(2)

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Any:
        ASKED.append(index)
        return (np.full((2, 1), self.order[index], "float32"),)

    def on_epoch_end(self) -> None:  # Keras lets the workers begin before it calls on_epoch_begin
        self.rng.shuffle(self.order)


class Draws(Rows):
    def __getitem__(self, index: int) -> Any:
        return (np.full((2, 1), self.rng.random(), "float32"),)


class Counts(Rows):
    def __init__(self) -> None:
        super().__init__()
        self.calls, self.lock = 0, threading.Lock()

    def __getitem__(self, index: int) -> Any:
        with self.lock:
            self.calls += 1
        return super().__getitem__(index)


def feed_of(data: Any) -> Any:
    return open_feed(as_source(data, mode=ke.ModeKeys.TRAIN, seed=1, has_steps=True))


def read(feed: Any) -> list[float]:
    return [float(batch[0][0, 0]) for batch in feed]


@pytest.mark.parametrize("options", [{}, {"workers": 1, "use_multiprocessing": True}])
def test_it_goes_on_at_any_batch(options: dict[str, Any]) -> None:
    feed = feed_of(Rows(**options))
    assert len(feed) == LENGTH
    passes, places = [], []
    for number in range(3):
        feed.seek(Position(number, 0))
        passes.append(read(feed))
        places.append(json.loads(json.dumps(feed.place())))
    assert len({tuple(each) for each in passes}) == 3
    for passed, batches in ((0, 3), (1, 0), (2, 5)):
        # At the end of a pass the place is still that of the pass that has ended.
        place = places[passed] if batches else places[passed - 1]
        again = feed_of(Rows(**options))
        ASKED.clear()
        assert again.seek(Position(passed, batches), place)
        assert read(again) == passes[passed][batches:]
        assert options or min(ASKED) == batches
        if passed < 2:
            again.seek(Position(passed + 1, 0))
            assert read(again) == passes[passed + 1]


def test_without_a_place_the_passes_begin_and_end_as_often() -> None:
    feed, again = feed_of(Rows()), feed_of(Rows())
    for number in range(3):
        feed.seek(Position(number, 0))
        whole = read(feed)
    assert not again.seek(Position(2, 4))
    assert read(again) == whole[4:]


@pytest.mark.parametrize("kind", [Draws, Counts])
def test_what_workers_draw_or_count_is_told(kind: Any) -> None:
    (cause,) = feed_of(kind()).unrepeatable()
    assert cause == f"what a {kind.__name__} draws or counts in 3 workers at once"
    assert feed_of(Rows()).unrepeatable() == []


def test_only_several_at_once_are_workers() -> None:
    assert has_workers(Rows())
    assert has_workers(Rows(workers=1, use_multiprocessing=True))
    assert not has_workers(Rows(workers=1))
    assert not has_workers(Rows(workers=0, use_multiprocessing=True))
    assert not has_workers([1])
    assert isinstance(feed_of(Rows())._batches, WorkersBatches)  # noqa: SLF001 - that is what this is about
