"""Cadences are checked when they are made, and clocks tell when they are due."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_estimator.errors import ConfigError
from keras_estimator.hooks.hook import Cadence, Clock, Hook, Run


def run_at(step: int, **more: Any) -> Run:
    return Run(model=None, model_dir=Path(), step=step, first_step=0, last_step=None, save=Path, **more)


def test_a_cadence_has_one_clock():
    with pytest.raises(ConfigError, match="two clocks") as caught:
        Cadence(every_steps=5, every_secs=1)
    assert caught.value.fix == "pass every_secs=None to be called every 5 steps"


@pytest.mark.parametrize("wrong", [{"every_steps": 0}, {"every_steps": -1}, {"every_secs": 0}, {"every_secs": -0.5}])
def test_a_cadence_is_positive(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match="never reached"):
        Cadence(**wrong)


@pytest.mark.parametrize(("step", "left"), [(0, 10), (1, 9), (9, 1), (10, 10), (25, 5)])
def test_a_cadence_of_steps_counts_from_step_0(step: int, left: int):
    assert Cadence(every_steps=10).steps_until_due(step) == left


def test_other_cadences_are_not_decided_by_steps():
    assert Cadence(every_secs=1).steps_until_due(3) is None
    assert Cadence().steps_until_due(3) is None


def test_a_clock_of_steps_is_due_once_at_each_multiple():
    clock = Clock(Cadence(every_steps=5))
    due = [step for step in (0, 1, 4, 5, 5, 6, 10) if clock.is_due(step)]
    assert due == [0, 5, 10]
    assert clock.secs_until_due() is None


def test_a_clock_of_seconds_is_due_when_they_have_passed():
    clock = Clock(Cadence(every_secs=0.05))
    assert not clock.is_due(1)
    left = clock.secs_until_due()
    assert left is not None
    assert 0 < left <= 0.05
    time.sleep(0.06)
    assert clock.is_due(2)
    assert not clock.is_due(3)


def test_a_clock_without_cadence_is_never_due():
    clock = Clock(Cadence())
    assert not any(clock.is_due(step) for step in range(3))


def test_the_first_reason_to_stop_counts():
    run = run_at(3)
    run.stop("first")
    run.stop("second")
    assert run.stop_reason == "first"


def test_the_learning_rate_is_read_where_there_is_one():
    run = run_at(1)
    assert run.learning_rate is None
    run.model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=np.float32(0.5)))
    assert run.learning_rate == 0.5
    run.model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate={"a": 1}))
    assert run.learning_rate is None


@pytest.mark.parametrize(
    ("metrics", "finite"),
    [({}, True), ({"loss": 1.0}, True), ({"loss": float("nan")}, False), ({"loss": float("inf")}, False)],
)
def test_a_run_knows_whether_its_loss_is_a_number(metrics: dict[str, float], finite: bool):
    assert run_at(1, metrics=metrics).loss_is_finite is finite


def test_a_hook_does_nothing_unless_told(tmp_path: Path):
    hook, run = Hook(), run_at(0)
    for moment in (hook.begin, hook.before_epoch, hook.after_steps, hook.after_epoch, hook.end):
        moment(run)
    hook.after_save(run, tmp_path)
    hook.close()
    assert hook.cadence == Cadence()
    assert (hook.follows_epochs, hook.watches_loss, run.stop_reason) == (False, False, None)
