"""Show how far the training is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from keras_estimator.hooks.hook import Cadence, Hook, Run
from keras_estimator.hooks.reporting import StepCounter, shown, shown_rate
from keras_estimator.run_config import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_SECS_PER_FRAME = 0.5
_SECS_PER_LINE = 30.0


class ProgressBar(Hook):
    """Shows step, metrics, steps per second and the time left on stderr.

    It is drawn by time, not by steps, and never stops a training: if stderr breaks, it falls silent.

    Args:
        mode: "bar", "lines", "off", or "auto": a bar if stderr is a terminal that can draw one (and
            this is no continuous integration), else lines.
    """

    def __init__(self, mode: Progress = "auto") -> None:
        self._mode = mode if mode != "auto" else "bar" if _can_draw(sys.stderr) else "lines"
        self.cadence = Cadence(every_secs={"bar": _SECS_PER_FRAME, "lines": _SECS_PER_LINE, "off": None}[self._mode])
        self._bar: Bar | None = None
        self._moved_handlers: list[tuple[logging.StreamHandler[Any], Any]] = []

    def begin(self, run: Run) -> None:
        self._began = self._drawn = time.monotonic()
        self._counter = StepCounter(run.step)
        self._stream = _QuietStream(sys.stderr)
        if self._mode == "bar":
            self._start_bar(run)
        elif self._mode == "lines":
            end = "" if run.last_step is None else f" to step {run.last_step}"
            self._print(f"training from step {run.step}{end}")

    def after_steps(self, run: Run) -> None:
        rate = self._counter.steps_per_sec(run.step)
        if self._bar is not None:
            texts = "  ".join([*shown(run.metrics), shown_rate(rate)])
            self._bar.update(self._task, completed=run.step, total=run.last_step, texts=texts, refresh=True)
        elif self._mode == "lines":
            left = [] if run.last_step is None or not rate else [f"{_duration((run.last_step - run.step) / rate)} left"]
            self._print(", ".join([_place(run), *shown(run.metrics), shown_rate(rate), *left]))

    def end(self, run: Run) -> None:
        secs = time.monotonic() - self._began
        rate = shown_rate((run.step - run.first_step) / max(secs, 1e-9))
        if self._bar is not None:
            texts = "  ".join([*shown(run.metrics), rate])
            self._bar.update(self._task, completed=run.step, total=max(run.step, 1), texts=texts, refresh=True)
        elif self._mode == "lines":
            self._print(", ".join([_place(run), *shown(run.metrics), rate, f"done in {_duration(secs)}"]))
        self.close()
