"""Checkpoints are saved where they are due, once each, and listeners hear of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError, EstimatorWarning
from keras_estimator.hooks.hook import Cadence, Run
from keras_estimator.hooks.saving import CheckpointSaver


class Listener:
    """Notes what it is told, as a CheckpointSaverListener of tf.estimator would."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.told: list[Any] = []
        self._stop_at = stop_at

    def begin(self) -> None:
        self.told.append("begin")

    def before_save(self, session: None, global_step: int) -> None:
        self.told.append(("before", session, global_step))

    def after_save(self, session: None, global_step: int) -> bool | None:
        self.told.append(("after", session, global_step))
        return True if global_step == self._stop_at else None

    def end(self, session: None, global_step: int) -> None:
        self.told.append(("end", session, global_step))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    checkpoints = Checkpoints(tmp_path)

    def save(*, waits: bool = True) -> Path:
        run.saved_step = run.step
        run.model = waits
        return checkpoints.write(run.step, {"step": np.int64(run.step)}, {})

    # Whether the last save was waited for stands in the place of the model.
    run = Run(model=None, model_dir=tmp_path, step=0, first_step=0, last_step=None, save=save)
    return run


def saved(run: Run) -> list[int]:
    return [checkpoint.step for checkpoint in Checkpoints(run.model_dir).list()]


def step_to(run: Run, step: int, **metrics: float) -> None:
    run.step, run.saved_step, run.metrics = step, None, metrics


def test_it_saves_before_the_first_step_when_due_and_after_the_last(run: Run):
    saver = CheckpointSaver(every_steps=10)
    assert saver.cadence == Cadence(every_steps=10)
    saver.begin(run)
    assert run.model is True  # a disk that takes none is heard of before the first step
    step_to(run, 10)
    saver.after_steps(run)
    assert run.model is False  # the training goes on
    step_to(run, 13)
    saver.end(run)
    assert saved(run) == [0, 10, 13]


def test_it_does_not_save_again_what_is_saved(run: Run):
    listener = Listener()
    saver = CheckpointSaver(every_secs=1, listeners=[listener])
    run.step = run.saved_step = 7  # the run goes on from the checkpoint of step 7
    saver.begin(run)
    step_to(run, 8)
    run.save()  # by another hook
    saver.after_steps(run)
    saver.end(run)
    assert listener.told == ["begin", ("end", None, 8)]


def test_it_saves_again_what_a_hook_has_changed(run: Run):
    saver = CheckpointSaver(every_steps=5)
    step_to(run, 5)
    saver.after_steps(run)
    folder = run.model_dir / "checkpoints" / "step-5"
    before = folder.stat().st_ino
    saver.end(run)
    assert folder.stat().st_ino == before
    run.saved_step = None
    saver.end(run)
    assert folder.stat().st_ino != before


def test_listeners_hear_of_every_checkpoint_in_order(run: Run):
    first, second = Listener(), Listener()
    saver = CheckpointSaver(every_steps=5, listeners=[first, second])
    saver.begin(run)
    step_to(run, 5)
    saver.after_steps(run)
    saver.end(run)
    saves = [(moment, None, step) for step in (0, 5) for moment in ("before", "after")]
    assert first.told == second.told == ["begin", *saves, ("end", None, 5)]
    assert run.model is True  # a listener may look at the checkpoint
    assert run.stop_reason is None


def test_a_listener_can_end_the_training(run: Run):
    saver = CheckpointSaver(every_steps=5, listeners=[Listener(stop_at=5)])
    saver.begin(run)
    assert run.stop_reason is None
    step_to(run, 5)
    saver.after_steps(run)
    assert run.stop_reason == "Listener.after_save asked for it"


def test_the_state_of_a_run_that_was_stopped_by_its_loss_is_not_saved(run: Run):
    saver = CheckpointSaver(every_steps=5)
    saver.begin(run)
    step_to(run, 5, loss=float("nan"))
    run.stop("the loss is nan")
    with pytest.warns(EstimatorWarning, match="step 5 is not saved, as its loss is nan"):
        saver.end(run)
    assert saved(run) == [0]


def test_it_has_one_clock():
    with pytest.raises(ConfigError, match="two clocks"):
        CheckpointSaver(every_steps=5, every_secs=5)
