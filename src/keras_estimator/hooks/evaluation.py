"""Evaluate the model while it trains, on the weights that it has then: nothing is rebuilt or loaded."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_estimator.exporters import Exporter
from keras_estimator.hooks.hook import Cadence, Evaluation, Hook, Run
from keras_estimator.hooks.reporting import mark_start
from keras_estimator.specs import EvalSpec

_LOG = logging.getLogger("keras_estimator")


class EvaluationHook(Hook):
    """Evaluates at the clock of an `EvalSpec` and after the last step, then asks its exporters.

    What was measured last, and what the exporters remember, is part of the checkpoints. If an evaluation
    fails, a checkpoint is written before the error passes on, so that no step is lost.

    Args:
        estimator: The Estimator that trains.
        spec: The data and the clock.
        at_start: Whether to evaluate before the first step, too.

    Attributes:
        evaluation: The newest evaluation; None before the first.
        exported: The folders that the exporters gave after the last one; None where they did not export.
    """

    reads_checkpoints = False
    sees_model = False

    def __init__(self, estimator: Any, spec: EvalSpec, *, at_start: bool = False) -> None:
        self._estimator = estimator
        self._spec = spec
        self._at_start = at_start
        self._evaluated_at: float | None = None
        self._closed_step: int | None = None  # the exporters know that this was the last one
        self.cadence = Cadence(spec.every_steps, spec.every_secs)
        self.key = f"{type(self).__qualname__}:{spec.name or ''}"
        self.evaluation: Evaluation | None = None
        self.exported: list[str | None] = []

    @property
    def _exporters(self) -> tuple[Exporter, ...]:
        return tuple(self._spec.exporters or ())  # type: ignore[arg-type]  # it is a tuple after the spec was checked

    def begin(self, run: Run) -> None:
        _LOG.info(self._plan(run))
        mark_start(self._estimator.eval_dir(self._spec.name), run.step)
        if self.is_done(run.step):
            return
        if self._at_start and run.step == run.first_step:
            self._evaluate(run)
        elif run.step and run.goes_on and run.saved_step == run.step and self._was_due(run):
            self._evaluate_unless_throttled(run)  # the run was killed between the checkpoint and this

    def after_steps(self, run: Run) -> None:
        if run.loss_is_finite:
            self._evaluate(run)

    def after_epoch(self, run: Run) -> None:
        if self._spec.every_epochs is not None and run.epoch % self._spec.every_epochs == 0:
            self._evaluate(run)

    def after_save(self, run: Run, checkpoint: Path) -> None:
        if self._spec.follows_checkpoints and run.step != run.first_step and not self.is_done(run.step):
            self._evaluate_unless_throttled(run)

    def after_last_step(self, run: Run) -> None:
        if run.received_signal is not None or not run.loss_is_finite or self.is_done(run.step):
            return
        with self._undone_if_it_fails(run):
            self._measure(run)  # an early stopping may give the model other weights when it has heard of it

    def end(self, run: Run) -> None:
        if run.received_signal is not None or not run.loss_is_finite:
            _LOG.info("evaluation of %s skipped at step %d: %s", self._spec.shown_name, run.step, run.stop_reason)
            return
        if run.restored_step is not None:
            self.evaluation = None  # it was of the weights before
        self._evaluate(run)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """What the newest evaluation measured, as `Estimator.evaluate` returns it; None before the first."""
        return None if self.evaluation is None else dict(self.evaluation.metrics)

    def is_done(self, step: int) -> bool:
        return self.evaluation is not None and self.evaluation.step == step

    def state(self) -> dict[str, Any]:
        exporters = {exporter.name: state for exporter in self._exporters if (state := exporter.state())}
        if self.evaluation is None:
            return {"exporters": exporters} if exporters else {}
        plain = {name: value for name, value in self.evaluation.metrics.items() if isinstance(value, int | float)}
        last = {"step": self.evaluation.step, "metrics": plain, "at": self._evaluated_at, "exported": self.exported}
        return {"last": last, "exporters": exporters}

    def restore(self, state: dict[str, Any]) -> None:
        last = state.get("last")
        if last is not None:
            self.evaluation = Evaluation(int(last["step"]), self._spec.name or "", dict(last["metrics"]))
            self._evaluated_at = float(last["at"])
            self.exported = [*last["exported"], *[None] * len(self._exporters)][: len(self._exporters)]
        for exporter in self._exporters:
            exporter.restore(state.get("exporters", {}).get(exporter.name, {}))

    def kept_steps(self) -> set[int]:
        return {step for exporter in self._exporters for step in exporter.kept_steps()}

    def _evaluate_unless_throttled(self, run: Run) -> None:
        since = None if self._evaluated_at is None else time.time() - self._evaluated_at
        # A clock that was set back says nothing about when that was.
        is_throttled = since is not None and 0 <= since < self._spec.throttle_secs and self._spec.follows_checkpoints
        if is_throttled and not run.is_over:
            _LOG.info(
                "evaluation of %s skipped at step %d: the last one was %.0f s ago, throttle_secs is %g",
                *(self._spec.shown_name, run.step, since, self._spec.throttle_secs),
            )
            return
        self._evaluate(run)

    def _was_due(self, run: Run) -> bool:
        if self._spec.every_steps is not None:
            return run.step % self._spec.every_steps == 0
        if self._spec.every_epochs is not None:
            return run.batch == 0 and run.epoch % self._spec.every_epochs == 0
        return self._spec.follows_checkpoints

    def _evaluate(self, run: Run) -> None:
        if run.saved_step != run.step and any(exporter.needs_checkpoint for exporter in self._exporters):
            # Before anything is measured: a checkpoint knows all that came of an evaluation, or nothing.
            run.save(waits=False)
        is_measured = self.is_done(run.step)
        if is_measured and (not run.is_over or self._closed_step == run.step):
            return
        with self._undone_if_it_fails(run):
            if not is_measured:
                self._measure(run)
            self._export(run)
        if run.saved_step == run.step:
            run.save()  # the checkpoint learns what was measured

    @contextlib.contextmanager
    def _undone_if_it_fails(self, run: Run) -> Iterator[None]:
        before = self.evaluation, self.exported, self._evaluated_at
        try:
            yield
        except BaseException:
            self.evaluation, self.exported, self._evaluated_at = before
            if run.loss_is_finite and run.saved_step != run.step:
                run.save()  # what was trained since the last checkpoint is not lost
            raise

    def _measure(self, run: Run) -> None:
        spec = self._spec
        metrics = self._estimator.evaluate(spec.input_fn, spec.steps, spec.hooks, name=spec.name)
        self.exported = [None] * len(self._exporters)
        self.evaluation = Evaluation(run.step, spec.name or "", metrics)
        self._evaluated_at = time.time()
        run.tell(self.evaluation)

    def _export(self, run: Run) -> None:
        assert self.evaluation is not None
        if not self._estimator.writes:
            return
        metrics = self.evaluation.metrics
        for place, exporter in enumerate(self._exporters):
            if self.exported[place] is not None:
                continue  # it was asked at this step before it was known to be the last one
            kept = exporter.kept_steps()
            folder, newest = str(run.model_dir / "export" / exporter.name), self._estimator.latest_checkpoint()
            found: Any = exporter.export(self._estimator, folder, newest, metrics, run.is_over)
            self.exported[place] = os.fsdecode(found) if isinstance(found, bytes | os.PathLike) else found
            if exporter.kept_steps() != kept:
                run.save_wanted = True  # a checkpoint of the best model is to be kept
        if run.is_over:
            self._closed_step = run.step

    def _plan(self, run: Run) -> str:
        spec = self._spec
        what = f"evaluate {spec.shown_name}" + (f" on {spec.steps} batches at most" if spec.steps else "")
        if spec.every_steps is not None:
            first = run.step + spec.every_steps - run.step % spec.every_steps
            when = f"every {spec.every_steps:,} steps, first at {first:,}"
        elif spec.every_secs is not None:
            when = f"every {spec.every_secs:g} s"
        elif spec.every_epochs is not None:
            when = f"every {spec.every_epochs} passes over the data"
        else:
            when = f"after each checkpoint, but not within {spec.throttle_secs:g} s of the last time"
        last = "after the last step" if run.last_step is None else f"last at {run.last_step:,}"
        return f"{what} {when}, {last}"
