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

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        for handler, stream in self._moved_handlers:
            handler.setStream(stream)
        self._moved_handlers.clear()

    def _start_bar(self, run: Run) -> None:
        # Imported for a terminal only: rich takes a moment.
        from rich.console import Console  # noqa: PLC0415 - see above
        from rich.progress import (  # noqa: PLC0415 - see above
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = ("{task.description}", "[progress.percentage]{task.percentage:>3.0f}%", "{task.fields[texts]}")
        description, percentage, texts = (TextColumn(column) for column in columns)
        self._bar = Progress(
            description, BarColumn(), percentage, texts, TimeElapsedColumn(), TimeRemainingColumn(),
            console=Console(file=self._stream, force_terminal=True), auto_refresh=False, redirect_stdout=False,
        )  # fmt: skip
        self._bar.start()
        self._task = self._bar.add_task(
            "training", total=run.last_step, completed=run.step, texts="", start=True
        )
        # Log lines go above the bar instead of through it.
        for handler in (*logging.getLogger("keras_estimator").handlers, *logging.getLogger().handlers):
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                self._moved_handlers.append((handler, handler.setStream(_Above(self._bar))))

    def _print(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class _Above:
    """A stream whose lines appear above a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def write(self, text: str) -> int:
        if text.strip():
            self._bar.console.print(text.rstrip("\n"), markup=False, highlight=False)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


class _QuietStream:
    """A stream that falls silent when the one behind it breaks."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except (OSError, ValueError, AttributeError):
            self._stream = None
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError, AttributeError):
            self._stream = None

    def isatty(self) -> bool:
        return bool(getattr(self._stream, "isatty", lambda: False)())

    def fileno(self) -> int:
        return int(self._stream.fileno())


def _can_draw(stream: Any) -> bool:
    try:
        is_terminal = stream.isatty()
    except (AttributeError, ValueError):
        return False
    return bool(is_terminal) and os.environ.get("TERM", "") not in ("", "dumb") and not os.environ.get("CI")


def _place(run: Run) -> str:
    return f"step {run.step}" if run.last_step is None else f"step {run.step} of {run.last_step}"


def _duration(secs: float) -> str:
    return str(datetime.timedelta(seconds=round(secs)))
