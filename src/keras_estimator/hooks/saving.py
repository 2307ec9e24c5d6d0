"""Save a checkpoint every so many steps or seconds, and tell the saving listeners of tf.estimator."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Protocol

from keras_estimator.errors import EstimatorWarning
from keras_estimator.hooks.hook import Cadence, Hook, Run


class SavingListener(Protocol):
    """What tf.estimator's CheckpointSaverListener is; there is no session, so None stands for it."""

    def begin(self) -> None:
        """Called before the first checkpoint."""

    def before_save(self, session: None, global_step: int) -> None:
        """Called before each checkpoint."""

    def after_save(self, session: None, global_step: int) -> bool | None:
        """Called after each checkpoint; returning True ends the training."""

    def end(self, session: None, global_step: int) -> None:
        """Called after the last checkpoint."""


class CheckpointSaver(Hook):
    """Saves before the first step, at its cadence and after the last step.

    Nothing is saved where the newest checkpoint already is what would be written, nor of a run that
    was stopped because its loss is NaN or infinite: going on from there could not work.

    Args:
        every_steps: Save whenever the step is a multiple of this.
        every_secs: Save when this many seconds have passed since the last time.
            With neither, only before the first step and after the last one.
        listeners: Objects with the methods of `SavingListener`.

    Raises:
        ConfigError: both are given, or one is not positive.
    """

    sees_model = False

    def __init__(
        self,
        every_steps: int | None = None,
        every_secs: float | None = None,
        *,
        listeners: Iterable[Any] = (),
    ) -> None:
        self.cadence = Cadence(every_steps, every_secs)
        self.listeners: list[SavingListener] = list(listeners)

    def begin(self, run: Run) -> None:
        for listener in self.listeners:
            listener.begin()
        self._save(run, waits=True)  # a disk that takes no checkpoint is heard of before the first step

    def after_steps(self, run: Run) -> None:
        self._save(run)

    def end(self, run: Run) -> None:
        self._save(run)
        for listener in self.listeners:
            listener.end(None, run.step)

    def _save(self, run: Run, *, waits: bool = False) -> None:
        if run.saved_step == run.step:
            return
        if run.stop_reason is not None and not run.loss_is_finite:
            text = f"step {run.step} is not saved, as its loss is {run.metrics['loss']}; the newest checkpoint stays"
            warnings.warn(text, EstimatorWarning, stacklevel=2)
            return
        for listener in self.listeners:
            listener.before_save(None, run.step)
        run.save(waits=waits or bool(self.listeners))
        for listener in self.listeners:
            if listener.after_save(None, run.step):
                run.stop(f"{type(listener).__name__}.after_save asked for it")
