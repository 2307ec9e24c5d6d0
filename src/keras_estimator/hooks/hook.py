"""What a hook is, and the moments at which it is called.

    begin ─▶ ┌ before_epoch ─▶ ┌ stride ─▶ after_steps ┐ ─▶ after_epoch ┐ ─▶ after_last_step ─▶ end ─▶ close
             │                 └────── repeated ───────┘                │
             └──────────── repeated for every pass over the data ───────┘

A stride is many steps in one call of the engine. `after_steps` is called when the hook's cadence is
due, `after_save` whenever a checkpoint was written, `after_evaluation` whenever a hook has measured the
model on other data, `close` also when the training failed. Whoever measures the model as the last step
has left it does so in `after_last_step`: in `end` a hook may give it other weights. At every
moment the hooks are called one after the other in the order of their list; after a stride that ended
a pass, each gets its `after_steps` and `after_epoch` before the next hook gets any. So whoever saves
comes last: what the hooks before it change is then part of the checkpoint.

A hook says when it wants to be called (its `Cadence`); the loop runs as many steps as fit before the
next due moment without returning to Python in between. So a hook that asks for every step makes the
loop as slow as one step per call, and one that asks for every hundredth costs nothing.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_estimator.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How often: every so many steps, or every so many seconds, never both.

    Args:
        every_steps: Due whenever the global step is a multiple of this many steps.
        every_secs: Due when this many seconds have passed since it was due last.
            With neither, it is never due (only `begin`, `after_save` and `end` are called).

    Raises:
        ConfigError: both are given, or one of them is not positive.
    """

    every_steps: int | None = None
    every_secs: float | None = None

    def __post_init__(self) -> None:
        if self.every_steps is not None and self.every_secs is not None:
            raise ConfigError(
                "two clocks are set for one cadence",
                found=f"every_steps={self.every_steps}, every_secs={self.every_secs}",
                expected="at most one of the two",
                fix=f"pass every_secs=None to be called every {self.every_steps} steps",
            )
        for name, value in (("every_steps", self.every_steps), ("every_secs", self.every_secs)):
            if value is not None and value <= 0:
                raise ConfigError(
                    f"a cadence of {value} is never reached",
                    found=f"{name}={value}",
                    expected=f"{name} > 0",
                    fix=f"pass {name}=None to switch it off",
                )

    def steps_until_due(self, step: int) -> int | None:
        """Return how many steps fit before this is due; None if steps do not decide."""
        if self.every_steps is None:
            return None
        return self.every_steps - step % self.every_steps


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What came of measuring a model once.

    Attributes:
        step: The step of the model.
        name: Which data: the name of the EvalSpec, `""` if it has none.
        metrics: Value by name, as `Estimator.evaluate` returns them.
    """

    step: int
    name: str
    metrics: Mapping[str, Any]


@dataclasses.dataclass
class Run:
    """What a hook may see and ask for while a model trains.

    Attributes:
        model: The live Keras model.
        model_dir: Where the run writes.
        step: Updates of the weights so far, over all processes of this model_dir.
        first_step: `step` when this call of `train` began.
        last_step: The step at which it will end, if known.
        asked_step: The step until which this call was asked to train, whatever hooks have made of `last_step`.
        save: Call it to write a checkpoint of the model as it is now, and to get its folder. If there is one, only
            what hooks remember is written to it. With `waits=False` the training goes on while it is written.
        saved_step: The step of the newest checkpoint, if the model is still as it was then. A hook
            that changes the model outside of a step sets it to None.
        metrics: The newest metrics as Python floats by name. They are means since the last report
            (or, if a hook follows epochs, since the epoch began, as in `fit`).
        epoch: Passes over the data that were completed.
        batch: Batches used of the pass under way.
        batches_per_epoch: Batches in one pass, if known.
        stop_reason: Set by `stop`; the loop ends after the hooks of this moment were called.
        received_signal: The signal that asked the process to end, if one did.
        restored_step: The step whose weights the model was given back after the last step, if it was.
        goes_on: Whether this call completes one that was cut short.
        save_wanted: A hook sets it to ask for a checkpoint of the model as it is, once all hooks were called at
            this moment: what they remember then fits together.
        tell: Call it with an `Evaluation` of the model as it is; every hook is told.
        restore_weights: Call it with the step of a checkpoint; the model gets the weights it had then.
    """

    model: Any
    model_dir: Path
    step: int
    first_step: int
    last_step: int | None
    save: Callable[..., Path]
    asked_step: int | None = None
    saved_step: int | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    epoch: int = 0
    batch: int = 0
    batches_per_epoch: int | None = None
    stop_reason: str | None = None
    received_signal: int | None = None
    restored_step: int | None = None
    goes_on: bool = False
    save_wanted: bool = False
    tell: Callable[[Evaluation], None] = lambda _: None
    restore_weights: Callable[[int], None] = lambda _: None

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the next step; None if the model has not just one."""
        try:
            return float(self.model.optimizer.learning_rate)
        except (AttributeError, TypeError, ValueError):
            return None

    @property
    def loss_is_finite(self) -> bool:
        """Whether the newest loss is a number; also true while there is none."""
        return math.isfinite(self.metrics.get("loss", 0.0))

    @property
    def is_over(self) -> bool:
        """Whether this call has done what it was asked for; not so if a signal cut it short."""
        if self.last_step is not None and self.step >= self.last_step:
            return True
        return self.stop_reason is not None and self.received_signal is None

    def stop(self, reason: str) -> None:
        """End the training after this moment; `reason` is shown to the user."""
        self.stop_reason = self.stop_reason or reason
        self.saved_step = None  # the newest checkpoint says that this call has more to do


class Hook:
    """Something that is called while a model trains. Override what you need.

    Attributes:
        cadence: When `after_steps` is called.
        follows_epochs: Whether the metrics are means since the epoch began, as in `fit`.
        watches_loss: Whether `after_steps` is also called as soon as the loss is NaN or infinite.
        reads_checkpoints: Whether `after_save` wants the checkpoint to be on the disk: the training waits for that.
            Only asked of hooks that have an `after_save` of their own.
        sees_model: Whether it may look at the variables of `run.model`. With parameter servers these are brought
            up to date before such a hook is called, which takes time.
        key: By what name its state is saved; `""` is the name of its class.

    Example:
        >>> class Patience(Hook):
        ...     cadence = Cadence(every_steps=100)
        ...     def after_steps(self, run):
        ...         if run.metrics["loss"] < 0.1:
        ...             run.stop("the loss is small enough")
    """

    cadence: Cadence = Cadence()
    follows_epochs: bool = False
    watches_loss: bool = False
    reads_checkpoints: bool = True
    sees_model: bool = True
    key: str = ""

    def begin(self, run: Run) -> None:
        """Called once, before the first step."""

    def before_epoch(self, run: Run) -> None:
        """Called before the first step of this call in every pass over the data."""

    def after_steps(self, run: Run) -> None:
        """Called after a stride when the cadence is due."""

    def after_epoch(self, run: Run) -> None:
        """Called when a pass over the data has ended."""

    def after_save(self, run: Run, checkpoint: Path) -> None:
        """Called after a checkpoint was written."""

    def after_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        """Called after a hook has measured the model on other data than those it is trained on."""

    def after_last_step(self, run: Run) -> None:
        """Called once in training, after the last step and before any hook's `end`."""

    def end(self, run: Run) -> None:
        """Called once, at the end; not called when training fails."""

    def close(self) -> None:
        """Called last, also when training failed: let go of what is held."""

    def state(self) -> dict[str, Any]:
        """Return by name what has to survive a restart, JSON values and NumPy arrays: each checkpoint holds it."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned when the checkpoint was written; called before `begin`."""

    def is_done(self, step: int) -> bool:
        """Return whether nothing is left to do when the training is over at a step; called after `restore`."""
        return True

    def kept_steps(self) -> set[int]:
        """Return the steps whose checkpoints have to stay, however many newer ones there are."""
        return set()


class Clock:
    """Tells when a cadence is due; one clock for each hook of a run."""

    def __init__(self, cadence: Cadence) -> None:
        self.cadence = cadence
        self._last_secs = time.monotonic()
        self._last_step: int | None = None

    def secs_until_due(self) -> float | None:
        """Return the seconds left until this is due; None if time does not decide."""
        if self.cadence.every_secs is None:
            return None
        return self._last_secs + self.cadence.every_secs - time.monotonic()

    def is_due(self, step: int) -> bool:
        """Say whether the cadence is due at `step`, and if so start counting anew."""
        if self.cadence.every_steps is not None:
            due = step % self.cadence.every_steps == 0 and step != self._last_step
        else:
            left = self.secs_until_due()
            due = left is not None and left <= 0
        if due:
            self._last_secs, self._last_step = time.monotonic(), step
        return due
