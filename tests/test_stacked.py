"""Steps on stacks of batches are the steps of the other plans: as many, on the same batches, to the same end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.engine import Position
from keras_estimator.engines.tensorflow.feeds import open_feed
from keras_estimator.engines.tensorflow.stacked import StackedLoop
from keras_estimator.inputs import as_source

L = keras.layers
QUIET = ke.RunConfig(progress="off", save_summary_steps=None, log_step_count_steps=None)


def feed_of(data: Any) -> Any:
    feed = open_feed(as_source(data, mode=ke.ModeKeys.TRAIN, seed=0, has_steps=True))
    feed.seek(Position())
    return feed


class Noting:
    """A step that notes the first value of each batch, in the order in which it sees them."""

    def __init__(self) -> None:
        self.seen = tf.Variable(tf.zeros([400]))
        self.count = tf.Variable(0)

    def __call__(self, batch: Any) -> dict[str, Any]:
        self.seen.assign(tf.tensor_scatter_nd_update(self.seen, [[self.count]], batch[:1]))
        self.count.assign_add(1)
        return {"loss": tf.reduce_sum(batch), "rows": tf.size(batch)}

    @property
    def values(self) -> list[float]:
        return self.seen.numpy()[: int(self.count)].tolist()


def rows(values: list[float], size: int) -> Any:
    return ke.Arrays(np.array(values, "float32"), batch_size=size, shuffle=False)


def pipeline(values: list[float], size: int) -> Any:
    return tf.data.Dataset.from_tensor_slices(np.array(values, "float32")).batch(size)


def stream(values: list[float], size: int) -> Any:
    """Batches whose number of rows nobody knows beforehand."""
    batches = [np.array(values[first : first + size], "float32") for first in range(0, len(values), size)]
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=tf.TensorSpec((None,), tf.float32))


DATA = pytest.mark.parametrize("data", [rows, pipeline, stream])


@DATA
@pytest.mark.parametrize("limits", [[1000], [1] * 5 + [1000], [63, 1, 64, 2, 1000]])
def test_every_batch_is_seen_once_in_order(data: Any, limits: list[int]) -> None:
    values = [float(number) for number in range(3 * 150 + 1)]
    step, feed = Noting(), feed_of(data(values, 3))
    loop = StackedLoop(step, guards_loss=True)
    assert loop.obstacle(feed) == ""
    assert loop.prepare(feed)
    assert not loop.prepare(feed)
    strides = [loop(feed, limit) for limit in limits]
    made = [stride.steps for stride in strides]
    assert made[:-1] == limits[:-1]
    assert sum(made) == 151
    assert [stride.ended for stride in strides] == [False] * (len(limits) - 1) + [True]
    assert strides[-1].metrics == {"loss": values[-1], "rows": 1.0}
    assert step.values == values[::3]


@DATA
@pytest.mark.parametrize("bad", [0, 5, 63, 64, 70, 99])
def test_it_ends_with_the_first_loss_that_is_not_finite_and_loses_no_batch(data: Any, bad: int) -> None:
    values = [float(number) for number in range(100)]
    values[bad] = float("inf")
    step, feed = Noting(), feed_of(data(values, 1))
    loop = StackedLoop(step, guards_loss=True)
    loop.prepare(feed)
    first = loop(feed, 80)
    if bad < 80:
        assert (first.steps, first.is_finite, first.ended) == (bad + 1, False, False)
    stride = first
    while not stride.ended:
        stride = loop(feed, 100)
    assert step.values == values


@DATA
def test_a_bad_last_batch_of_another_size_is_not_given_twice(data: Any) -> None:
    values = [0.0, 0.0, 1.0, 1.0, float("inf")]
    step, feed = Noting(), feed_of(data(values, 2))
    loop = StackedLoop(step, guards_loss=True)
    loop.prepare(feed)
    assert loop(feed, 3).steps == 3
    assert data is rows or loop(feed, 3).steps == 0
    assert step.values == [0.0, 1.0, float("inf")]


def test_a_small_first_batch_does_not_keep_larger_ones_from_being_stacked() -> None:
    batches = [np.full(size, size, "float32") for size in [1] + [4] * 20]
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=tf.TensorSpec((None,), tf.float32))
    step, feed = Noting(), feed_of(data)
    loop = StackedLoop(step, guards_loss=True)
    loop.prepare(feed)
    assert loop(feed, None).steps == 21
    assert list(loop._rows.values()) == [4]  # noqa: SLF001 - it shows in the time alone


def test_a_metric_of_changing_shape_is_an_obstacle() -> None:
    loop = StackedLoop(lambda batch: {"loss": tf.reduce_sum(batch), "all": batch}, guards_loss=True)
    assert loop.obstacle(feed_of(stream([1.0], 1))) == "the shape of `all` is not known"


def test_batches_of_changing_sizes_are_steps_by_themselves() -> None:
    sizes = [4] * 10 + [3, 5] + [4] * 3 + [1]
    batches = [np.full(size, number, "float32") for number, size in enumerate(sizes)]
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=tf.TensorSpec((None,), tf.float32))
    step, feed = Noting(), feed_of(data)
    loop = StackedLoop(step, guards_loss=True)
    loop.prepare(feed)
    stride = loop(feed, None)
    assert (stride.steps, stride.ended) == (len(sizes), True)
    assert step.values == [float(number) for number in range(len(sizes))]


@pytest.mark.parametrize(
    ("data", "obstacle"),
    [
        (tf.data.Dataset.range(3), "the rows are not all of one shape"),
        (tf.data.Dataset.from_tensor_slices([["a"], ["b"]]), "XLA takes no string"),
        (tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3]])).batch(2), "XLA takes no RaggedTensor"),
    ],
)
def test_what_cannot_be_stacked_is_said(data: Any, obstacle: str) -> None:
    loop = StackedLoop(lambda batch: {"loss": tf.constant(0.0)}, guards_loss=True)
    feed = feed_of(data)
    assert loop.obstacle(feed) == obstacle


def network() -> Any:
    keras.utils.set_random_seed(4)
    layers = [L.Input((6,)), L.Dense(8, activation="relu"), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse", metrics=["mae"])
    return model


X = np.random.RandomState(1).normal(size=(230, 6)).astype("float32")
Y = X[:, :1] * 2 - 1


@pytest.mark.parametrize("kind", ["arrays", "pipeline"])
def test_it_trains_and_measures_as_the_graph_does(tmp_path: Path, kind: str) -> None:
    found = {}
    for plan in ("graph", "stacked"):
        estimator = ke.model_to_estimator(network(), model_dir=tmp_path / plan, config=QUIET.replace(plan=plan))
        data: Any = ke.Arrays(X, Y, batch_size=16, seed=3, epochs=None)
        if kind == "pipeline":
            data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(230, seed=3).repeat().batch(16)
        model = estimator.train(data, steps=100).model
        found[plan] = [*model.get_weights(), *estimator.evaluate((X, Y)).values()]
    for one, other in zip(found["graph"], found["stacked"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)  # XLA rounds otherwise


def test_a_run_that_was_cut_into_calls_has_the_same_bits(tmp_path: Path) -> None:
    data = ke.Arrays(X, Y, batch_size=16, seed=3, epochs=None)
    config = QUIET.replace(plan="stacked", save_checkpoints_steps=7)
    whole = ke.model_to_estimator(network(), model_dir=tmp_path / "whole", config=config).train(data, max_steps=100)
    for steps in (3, 20, 64, 100):
        part = ke.model_to_estimator(network(), model_dir=tmp_path / "parts", config=config)
        part.train(data, max_steps=steps)
    for one, other in zip(whole.model.get_weights(), part.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
