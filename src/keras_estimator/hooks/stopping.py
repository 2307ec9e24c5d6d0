"""Stop: at a step, or when the loss is NaN or infinite."""

from __future__ import annotations

from pathlib import Path

from keras_estimator.errors import ConfigError, NonFiniteLossError
from keras_estimator.hooks.hook import Hook, Run


class StopAtStep(Hook):
    """Ends the training at a step; the earliest of all such steps counts.

    Args:
        num_steps: After this many steps from the beginning of the call.
        last_step: At this step, counted from step 0.

    Raises:
        ConfigError: not just one of the two is given, or it is negative.
    """

    sees_model = False

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        given = [value for value in (num_steps, last_step) if value is not None]
        if len(given) != 1 or given[0] < 0:
            raise ConfigError(
                "StopAtStep needs one step to stop at",
                found=f"num_steps={num_steps}, last_step={last_step}",
                expected="one of the two, not negative",
                fix="StopAtStep(last_step=1000)",
            )
        self._num_steps = num_steps
        self._last_step = last_step

    def begin(self, run: Run) -> None:
        # The loop never makes a step beyond `run.last_step`, so no cadence is needed.
        last_step = self._last_step if self._num_steps is None else run.step + self._num_steps
        run.last_step = min(step for step in (last_step, run.last_step) if step is not None)
        if run.step >= run.last_step:
            run.stop(f"step {run.last_step} is reached")


class NanGuard(Hook):
    """Ends the training when the loss is NaN or infinite.

    The engine itself stops at the first such step; this hook is then called and decides what comes of
    it. A hook before it in the list that has stopped the run by then has decided already.

    Args:
        fail_on_nan_loss: Whether to raise. If not, the training just ends, and that step is not saved.

    Raises:
        NonFiniteLossError: when the loss is NaN or infinite, unless `fail_on_nan_loss` is False.
    """

    watches_loss = True
    reads_checkpoints = False
    sees_model = False

    def __init__(self, *, fail_on_nan_loss: bool = True) -> None:
        self._fails = fail_on_nan_loss
        self._checkpoint: Path | None = None
        self._last_known = ""

    def after_save(self, run: Run, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        if "loss" in run.metrics:
            self._last_known = f"; it was {run.metrics['loss']:.4g} at step {run.step}"

    def after_steps(self, run: Run) -> None:
        if run.loss_is_finite or run.stop_reason is not None:
            return
        loss = run.metrics["loss"]
        if not self._fails:
            run.stop(f"the loss is {loss} at step {run.step}")
            return
        rate = "" if run.learning_rate is None else f" (now {run.learning_rate:.4g})"
        raise NonFiniteLossError(
            f"the loss is {loss} at step {run.step}",
            found=f"loss={loss}{self._last_known}",
            expected="a finite loss",
            fix=f"go on from {self._checkpoint or run.model_dir} with a lower learning rate{rate}, or clip gradients",
        )
