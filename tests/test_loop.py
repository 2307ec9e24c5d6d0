"""Hooks are called at their moments, and the loop ends where it should."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator import loop
from keras_estimator.engines.engine import Position, engine_for
from keras_estimator.inputs import as_source

X = np.random.RandomState(0).normal(size=(20, 3)).astype("float32")


class Moments(ke.Hook):
    """Notes every moment at which it is called."""

    def __init__(self, every_steps: int | None = None, *, stop_at: int | None = None) -> None:
        self.cadence = ke.Cadence(every_steps)
        self.noted: list[tuple[str, int]] = []
        self._stop_at = stop_at

    def begin(self, run):
        self.noted.append(("begin", run.step))

    def before_epoch(self, run):
        self.noted.append(("before_epoch", run.step))

    def after_steps(self, run):
        self.noted.append(("after_steps", run.step))
        if run.step == self._stop_at:
            run.stop("it is enough")

    def after_epoch(self, run):
        self.noted.append(("after_epoch", run.step))

    def after_last_step(self, run):
        self.noted.append(("after_last_step", run.step))

    def end(self, run):
        self.noted.append(("end", run.step))

    def close(self):
        self.noted.append(("close", -1))


START = Position()


def train(data, hooks, *, last_step=None, report_steps=100, position=START):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    engine = engine_for(model, ke.RunConfig())
    source = as_source(data, mode=ke.ModeKeys.TRAIN, seed=0, has_steps=last_step is not None)
    feed = engine.open(source)
    engine.prepare(feed, ke.ModeKeys.TRAIN)
    feed.seek(position)
    reading = loop.Reading(source, feed, position, position.passes)
    run = ke.Run(
        model, Path("."), 0, 0, last_step, save=lambda: Path("."), epoch=position.passes, batch=position.batches
    )
    loop.train(engine, reading, run, hooks, report_steps=report_steps)
    return run, reading


def arrays():
    return ke.Arrays(X, X[:, :1], batch_size=5)  # four batches in a pass


def test_hooks_are_called_in_the_order_that_is_drawn() -> None:
    hook = Moments(3)
    run, reading = train(arrays(), [hook], last_step=9)
    assert hook.noted == [
        ("begin", 0),
        ("before_epoch", 0),
        ("after_steps", 3),
        ("after_epoch", 4),
        ("before_epoch", 4),
        ("after_steps", 6),
        ("after_epoch", 8),
        ("before_epoch", 8),
        ("after_steps", 9),
        ("after_last_step", 9),
        ("end", 9),
        ("close", -1),
    ]
    assert (run.step, run.epoch, run.batch) == (9, 2, 1)
    assert reading.position == Position(2, 1)


def test_at_the_end_of_a_pass_each_hook_is_done_before_the_next_one_begins() -> None:
    order: list[str] = []

    class Says(ke.Hook):
        cadence = ke.Cadence(every_steps=2)

        def __init__(self, name: str) -> None:
            self.name = name

        def after_steps(self, run: ke.Run) -> None:
            order.append(f"{self.name} after_steps {run.step}")

        def after_epoch(self, run: ke.Run) -> None:
            order.append(f"{self.name} after_epoch {run.step}")

    train(arrays(), [Says("first"), Says("last")], last_step=4)
    assert order[2:] == ["first after_steps 4", "first after_epoch 4", "last after_steps 4", "last after_epoch 4"]


def test_whoever_stops_ends_the_training_after_this_moment() -> None:
    first, second = Moments(2, stop_at=4), Moments(2)
    run, _ = train(arrays(), [first, second], last_step=100)
    assert run.step == 4
    assert run.stop_reason == "it is enough"
    assert ("after_steps", 4) in second.noted


def test_without_a_number_of_steps_it_is_one_pass() -> None:
    run, reading = train(arrays(), [])
    assert (run.step, run.stop_reason) == (4, "the data ended")
    assert reading.position == Position(1, 0)
    run, _ = train(ke.Arrays(X, X[:, :1], batch_size=5, epochs=3), [], last_step=100)
    assert run.step == 12


def test_it_goes_on_in_the_middle_of_a_pass() -> None:
    hook = Moments()
    _, reading = train(arrays(), [hook], last_step=3, position=Position(5, 2))
    assert hook.noted[1:4] == [("before_epoch", 0), ("after_epoch", 2), ("before_epoch", 2)]
    assert reading.position == Position(6, 1)


def test_metrics_are_means_since_the_last_report() -> None:
    losses: dict[int, float] = {}

    class Note(ke.Hook):
        cadence = ke.Cadence(every_steps=1)

        def after_steps(self, run):
            losses[run.step] = run.metrics["loss"]

    keras.utils.set_random_seed(1)
    train(arrays(), [Note()], last_step=8, report_steps=1)
    single = dict(losses)
    keras.utils.set_random_seed(1)
    train(arrays(), [Note()], last_step=8, report_steps=4)
    assert losses[4] == pytest.approx(np.mean([single[n] for n in (1, 2, 3, 4)]), rel=1e-5)
    assert losses[6] == pytest.approx(np.mean([single[n] for n in (5, 6)]), rel=1e-5)


def test_hooks_are_closed_also_when_the_training_fails() -> None:
    class Fails(ke.Hook):
        cadence = ke.Cadence(every_steps=2)

        def after_steps(self, run):
            raise ZeroDivisionError

    hook = Moments()
    with pytest.raises(ZeroDivisionError):
        train(arrays(), [hook, Fails()], last_step=8)
    assert hook.noted[-1] == ("close", -1)
    assert "end" not in dict(hook.noted)


def test_the_pace_is_about_half_a_second_and_grows_in_bounds() -> None:
    pace = loop.Pace()
    assert pace.limit() == 8
    pace.learn(8, 0.001)
    assert pace.limit() == 32
    for _ in range(10):
        pace.learn(1000, 1.0)
    assert pace.limit() == 500
    pace.learn(1, 60.0)
    assert pace.limit() == 1
