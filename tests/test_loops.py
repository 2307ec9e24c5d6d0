"""The compiled loop makes the steps it is asked for, with one trace."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.engine import Position
from keras_estimator.engines.tensorflow.feeds import open_feed
from keras_estimator.engines.tensorflow.loops import CompiledLoop, EagerLoop, as_floats
from keras_estimator.engines.tensorflow.stacked import StackedLoop
from keras_estimator.inputs import as_source

KINDS = ["graph", "step", "stacked", "eager"]


def feed_of(data):
    feed = open_feed(as_source(data, mode=ke.ModeKeys.TRAIN, seed=0, has_steps=True))
    feed.seek(Position())
    return feed


def rows(count: int):
    return ke.Arrays(np.arange(count, dtype="float32"), batch_size=2, shuffle=False)


def pipeline(count: int):
    return tf.data.Dataset.range(count).map(lambda n: tf.cast(n, tf.float32)).batch(2)


class Summing:
    """A step that adds up what it sees, and counts how often Python ran it."""

    def __init__(self) -> None:
        self.total = tf.Variable(0.0)
        self.traces = 0

    def __call__(self, batch):
        self.traces += 1
        self.total.assign_add(tf.reduce_sum(batch))
        return {"loss": self.total, "rows": tf.size(batch), "nothing": None}


def loop_of(step, kind: str, *, guards_loss: bool = True):
    if kind == "eager":
        return EagerLoop(step, guards_loss=guards_loss)
    if kind == "stacked":
        return StackedLoop(step, guards_loss=guards_loss)
    return CompiledLoop(step, jit=kind == "step", guards_loss=guards_loss)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [rows, pipeline])
def test_steps_are_made_until_the_limit_or_the_end(kind: str, data) -> None:
    step, feed = Summing(), feed_of(data(7))
    loop = loop_of(step, kind)
    loop.prepare(feed)
    assert float(step.total) == 0.0
    first = loop(feed, 3)
    assert (first.steps, first.ended, first.is_finite) == (3, False, True)
    assert first.metrics == {"loss": 15.0, "rows": 2.0}
    second = loop(feed, 100)
    assert (second.steps, second.ended) == (1, True)
    assert second.metrics == {"loss": 21.0, "rows": 1.0}


@pytest.mark.parametrize("data", [rows, pipeline])
def test_any_number_of_steps_and_any_number_of_rows_is_one_trace(data) -> None:
    step = Summing()
    loop = loop_of(step, "graph")
    for count in (7, 20, 9):
        for limit in (1, 2, None):
            feed = feed_of(data(count))
            loop.prepare(feed)
            loop(feed, limit)
    assert step.traces == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_not_finite_ends_the_stride_at_once(kind: str) -> None:
    values = np.array([1, 1, np.inf, 1, 1, 1], "float32")
    step, feed = Summing(), feed_of(ke.Arrays(values, batch_size=1, shuffle=False))
    loop = loop_of(step, kind)
    loop.prepare(feed)
    stride = loop(feed, 6)
    assert (stride.steps, stride.is_finite, stride.ended) == (3, False, False)
    unguarded, feed = loop_of(Summing(), kind, guards_loss=False), feed_of(ke.Arrays(values, batch_size=1))
    unguarded.prepare(feed)
    assert unguarded(feed, 6).steps == 6


@pytest.mark.parametrize("last", [5, 3])
@pytest.mark.parametrize("kind", ["graph", "eager"])
def test_no_batch_is_lost_when_a_loss_was_not_finite(kind: str, last: int) -> None:
    values = [1.0, 2.0, float("nan"), 4.0, 5.0][:last]
    seen: list[float] = []

    def step(batch):
        tf.py_function(lambda value: seen.append(float(value)), [batch], [])
        return {"loss": batch}

    feed = feed_of(tf.data.Dataset.from_tensor_slices(values))
    loop = loop_of(step, kind)
    loop.prepare(feed)
    assert (loop(feed, 5).steps, loop(feed, 5).steps) == (3, last - 3)
    np.testing.assert_array_equal(seen, values)
    assert loop(feed, 1).ended


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_beyond_the_last_step(kind: str) -> None:
    given: list[int] = []

    def stream():
        for number in range(9):
            given.append(number)
            yield [float(number)]

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # else tf.data itself reads ahead
    data = tf.data.Dataset.from_generator(stream, output_signature=tf.TensorSpec((1,), tf.float32)).with_options(
        options
    )
    feed, loop = feed_of(data), loop_of(Summing(), kind)
    loop.prepare(feed)
    for last in (1, 4, 6):
        loop(feed, last - len(given))
        assert given == list(range(last))


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_end_at_once_make_no_step(kind: str) -> None:
    step, feed = Summing(), feed_of(pipeline(0))
    loop = loop_of(step, kind)
    loop.prepare(feed)
    stride = loop(feed, 3)
    assert (stride.steps, stride.ended, stride.metrics) == (0, True, {})
    assert float(step.total) == 0.0


@pytest.mark.parametrize("kind", ["graph", "eager"])
def test_a_step_that_returns_no_names_is_refused(kind: str) -> None:
    feed = feed_of(rows(4))
    loop = loop_of(lambda batch: tf.reduce_sum(batch), kind)
    with pytest.raises(ke.ModelError, match="no metrics by name"):
        loop.prepare(feed) if kind == "graph" else loop(feed, 1)


def test_metrics_with_several_values_stay_arrays() -> None:
    found = as_floats({"one": tf.constant([2.0]), "many": tf.constant([1.0, 2.0]), "count": np.int64(3)})
    assert (found["one"], found["count"]) == (2.0, 3.0)
    np.testing.assert_array_equal(found["many"], [1.0, 2.0])
