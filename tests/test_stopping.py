"""A run stops at its step, and at a loss that is no number."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keras_estimator.errors import ConfigError, NonFiniteLossError
from keras_estimator.hooks.hook import Run
from keras_estimator.hooks.stopping import NanGuard, StopAtStep


def run_at(step: int, last_step: int | None = None, **metrics: float) -> Run:
    run = Run(model=None, model_dir=Path("runs"), step=step, first_step=step, last_step=last_step, save=Path)
    run.metrics = metrics
    return run


@pytest.mark.parametrize(
    ("hook", "step", "last_step", "expected"),
    [
        (StopAtStep(num_steps=5), 10, None, 15),
        (StopAtStep(last_step=12), 10, None, 12),
        (StopAtStep(num_steps=5), 10, 12, 12),
        (StopAtStep(last_step=11), 10, 12, 11),
    ],
)
def test_the_earliest_last_step_counts(hook: StopAtStep, step: int, last_step: int | None, expected: int):
    run = run_at(step, last_step)
    hook.begin(run)
    assert run.last_step == expected
    assert run.stop_reason is None
    assert hook.cadence.every_steps is None  # it costs nothing


@pytest.mark.parametrize("hook", [StopAtStep(num_steps=0), StopAtStep(last_step=10), StopAtStep(last_step=3)])
def test_a_step_that_is_reached_already_stops_before_the_first(hook: StopAtStep):
    run = run_at(10)
    hook.begin(run)
    assert run.stop_reason is not None


@pytest.mark.parametrize("wrong", [{}, {"num_steps": 1, "last_step": 2}, {"num_steps": -1}, {"last_step": -1}])
def test_one_step_to_stop_at_is_needed(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match="one step to stop at"):
        StopAtStep(**wrong)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_raises_with_the_way_out(loss: float):
    guard, run = NanGuard(), run_at(100, loss=0.25)
    assert guard.watches_loss
    run.model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1))
    guard.after_save(run, Path("runs/checkpoints/step-100"))
    run.step, run.metrics = 120, {"loss": loss}
    with pytest.raises(NonFiniteLossError, match=f"the loss is {loss} at step 120") as caught:
        guard.after_steps(run)
    assert caught.value.found == f"loss={loss}; it was 0.25 at step 100"
    assert "go on from runs/checkpoints/step-100 with a lower learning rate (now 0.1)" in caught.value.fix


def test_it_names_the_model_dir_while_there_is_no_checkpoint():
    with pytest.raises(NonFiniteLossError) as caught:
        NanGuard().after_steps(run_at(1, loss=float("nan")))
    assert caught.value.found == "loss=nan"
    assert caught.value.fix.startswith("go on from runs with a lower learning rate, ")


def test_it_can_stop_instead():
    run = run_at(3, loss=float("nan"))
    NanGuard(fail_on_nan_loss=False).after_steps(run)
    assert run.stop_reason == "the loss is nan at step 3"


def test_a_hook_that_has_stopped_the_run_by_then_has_decided():
    run = run_at(3, loss=float("nan"))
    run.stop("a Keras callback asked for it")
    NanGuard().after_steps(run)
    assert run.stop_reason == "a Keras callback asked for it"


def test_a_finite_loss_and_none_are_left_alone():
    for run in (run_at(1), run_at(1, loss=1e30), run_at(1, accuracy=float("nan"))):
        NanGuard().after_steps(run)
        assert run.stop_reason is None
