"""Evaluate each checkpoint that another process writes, until that one is done training."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_estimator.checkpoints import Checkpoint, Checkpoints
from keras_estimator.errors import CorruptCheckpointError, EstimatorWarning, NoCheckpointError
from keras_estimator.estimator import Estimator
from keras_estimator.hooks.evaluation import EvaluationHook
from keras_estimator.hooks.hook import Run
from keras_estimator.hooks.hook_states import give_back
from keras_estimator.hooks.remote_evaluation import Notes
from keras_estimator.hooks.reporting import mark_start
from keras_estimator.specs import EvalSpec

_LOG = logging.getLogger("keras_estimator")
_LOOK_EVERY_SECS = 1.0
_SAY_EVERY_SECS = 60.0


def follow(estimator: Estimator, specs: Sequence[EvalSpec], max_steps: int | None) -> dict[str, EvaluationHook]:
    """Evaluate every checkpoint that is there when it is looked for, oldest first, each once.

    It looks again when `throttle_secs` have passed since it looked last, and ends when it has evaluated the
    checkpoint that ends the training. What it has measured survives a kill.

    Args:
        estimator: Its model_dir is that of the process that trains.
        specs: What to evaluate; each has a name of its own.
        max_steps: Until which step that process trains, if it is known.

    Returns:
        By the name of each spec the hook that knows the last evaluation.

    Raises:
        EstimatorError: whatever `evaluate` and `export_saved_model` raise.
    """
    followers = [_Follower(estimator, spec) for spec in specs]
    checkpoints = Checkpoints(estimator.model_dir)
    said_at = time.monotonic()
    while not all(follower.is_done for follower in followers):
        there = checkpoints.list()
        last = there[-1].step if there and _ends_training(checkpoints, there[-1], max_steps) else None
        was_busy = [follower.look(checkpoints, there, last) for follower in followers]
        if any(was_busy):
            said_at = time.monotonic()
            continue
        if time.monotonic() - said_at >= _SAY_EVERY_SECS:
            newest = f"the newest is of step {there[-1].step:,}" if there else "there is none"
            _LOG.info("waiting for checkpoints in %s: %s, and training is not over", checkpoints.folder, newest)
            said_at = time.monotonic()
        time.sleep(_LOOK_EVERY_SECS)
    _LOG.info("the training is over, and all of it that was to be evaluated is")
    return {follower.spec.name or "": follower.hook for follower in followers}


def _ends_training(checkpoints: Checkpoints, newest: Checkpoint, max_steps: int | None) -> bool:
    """Tell whether nothing comes after a checkpoint: not so if its call ended where this one is to go on."""
    try:
        run = checkpoints.read_record(newest)["run"]
    except (CorruptCheckpointError, NoCheckpointError):
        return False
    has_more = max_steps is not None and run.get("asked_step") == newest.step < max_steps
    data = run.get("data")
    is_last = (isinstance(data, dict) and data.get("finished")) or run.get("is_last")
    return bool(is_last) and not has_more


class _Follower:
    """One evaluation of checkpoints, at its own pace.

    Attributes:
        is_done: Whether the checkpoint that ends the training was evaluated, and exporters know that it does.
    """

    def __init__(self, estimator: Estimator, spec: EvalSpec) -> None:
        self.spec = spec
        self.hook = EvaluationHook(estimator, spec)
        self.is_done = False
        self._estimator = estimator
        self._folder = Path(estimator.eval_dir(spec.name))
        self._notes = Notes.read(self._folder)
        if self._notes.memory:
            give_back(self.hook, type(self.hook).__qualname__, self._notes.memory)
        self._due_at = time.monotonic() + spec.start_delay_secs
        self._is_first_look = True
        self._digests: dict[tuple[Path, int], str | None] = {}  # None: it cannot be trusted
        _LOG.info(
            "evaluate %s on each checkpoint in %s, at most every %g s, first in %g s; last when training is over",
            *(spec.shown_name, estimator.model_dir, spec.throttle_secs, spec.start_delay_secs),
        )

    def look(self, checkpoints: Checkpoints, there: Sequence[Checkpoint], last: int | None) -> bool:
        """Evaluate what is new, if it is time to; return whether there was something to do.

        Args:
            checkpoints: Those of the model_dir.
            there: The ones that were found.
            last: The step that ends the training, if it is there.
        """
        if self.is_done or (time.monotonic() < self._due_at and (last is None or self._is_first_look)):
            return False
        began = time.monotonic()
        new = [each for each in there if self._is_new(checkpoints, each)]
        if new and (self._is_first_look or new[0].step <= max(self._notes.digests, default=-1)):
            self._forget_from(new[0].step)
        if last is not None and there[-1] not in new:
            new.append(there[-1])  # its exporters are told that it is the last one
        for each in new:
            self._evaluate(checkpoints, each, is_last=each.step == last)
        if new:
            self._due_at = began + self.spec.throttle_secs
        self._is_first_look, self.is_done = False, last is not None
        return bool(new)

    def _is_new(self, checkpoints: Checkpoints, checkpoint: Checkpoint) -> bool:
        digest = self._digest(checkpoints, checkpoint)
        return digest is not None and self._notes.digests.get(checkpoint.step) != digest

    def _digest(self, checkpoints: Checkpoints, checkpoint: Checkpoint) -> str | None:
        """Return the SHA-256 of a state; None, and a warning, if it cannot be trusted; None if it is gone."""
        try:
            key = checkpoint.path, checkpoint.path.stat().st_ino
            if key not in self._digests:
                self._digests[key] = checkpoints.read_record(checkpoint)["state"]["sha256"]
        except (OSError, NoCheckpointError):
            return None
        except CorruptCheckpointError as error:
            self._distrust(key, error)
        return self._digests[key]

    def _distrust(self, key: tuple[Path, int], error: CorruptCheckpointError) -> None:
        self._digests[key] = None
        text = f"{self.spec.shown_name} is not evaluated on {key[0]}, which cannot be trusted: {error.found}"
        warnings.warn(f"{text}. Put it back from a backup, or remove it.", EstimatorWarning, stacklevel=2)

    def _forget_from(self, step: int) -> None:
        """Make room for evaluations from a step on: a kill came before the notes, or the run was begun anew."""
        known = [at for at in self._notes.digests if at >= step]
        if known:
            _LOG.warning(
                "the checkpoint of step %d is another one than was evaluated: the run was begun anew, and so are its "
                "evaluations and what exporters remember",
                step,
            )
            self.hook = EvaluationHook(self._estimator, self.spec)
            self.hook.restore({})
            for at in known:
                del self._notes.digests[at], self._notes.metrics[at]
        mark_start(self._folder, step - 1)

    def _evaluate(self, checkpoints: Checkpoints, checkpoint: Checkpoint, *, is_last: bool) -> None:
        digest = self._digest(checkpoints, checkpoint)
        with contextlib.ExitStack() as held:
            try:
                step = held.enter_context(self._estimator.at_checkpoint(checkpoint.path))
            except NoCheckpointError:
                _LOG.info("step %d was removed before %s was evaluated on it", checkpoint.step, self.spec.shown_name)
            except CorruptCheckpointError as error:
                self._distrust((checkpoint.path, checkpoint.path.stat().st_ino), error)
            else:
                self.hook.after_steps(self._as_run(step, str(digest), is_last=is_last))

    def _as_run(self, step: int, digest: str, *, is_last: bool) -> Run:
        """Return what the hook sees of the training; instead of a checkpoint, it writes the notes."""

        def save() -> Path:
            metrics: Mapping[str, Any] = self.hook.metrics or {}
            self._notes.digests[step] = digest
            self._notes.metrics[step] = {name: v for name, v in metrics.items() if isinstance(v, int | float)}
            self._notes.memory, self._notes.kept_steps = self.hook.state(), sorted(self.hook.kept_steps())
            self._notes.write(self._folder)
            return self._folder

        folder, last_step = Path(self._estimator.model_dir), step if is_last else None
        return Run(self._estimator.model, folder, step, step, last_step, save, saved_step=step)
