"""Show how far the training is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import time
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from keras_estimator.hooks.hook import Cadence, Hook, Run
from keras_estimator.hooks.reporting import StepCounter, shown, shown_rate
from keras_estimator.run_config import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_SECS_PER_FRAME = 0.5
_SECS_PER_LINE = 30.0
_BAR_WIDTH = 20


class ProgressBar(Hook):
    """Shows step, metrics, steps per second and the time left on stderr.

    It is drawn by time, not by steps, and never stops a training: if stderr breaks, it falls silent.

    Args:
        mode: "bar", "lines", "off", or "auto": a bar if stderr is a terminal that can draw one (and
            this is no continuous integration), else lines.
    """

    sees_model = False

    def __init__(self, mode: Progress = "auto") -> None:
        self._mode = mode if mode != "auto" else "bar" if _can_draw(sys.stderr) else "lines"
        self.cadence = Cadence(every_secs={"bar": _SECS_PER_FRAME, "lines": _SECS_PER_LINE, "off": None}[self._mode])
        self._bar: Bar | None = None
        self._moved: list[tuple[logging.StreamHandler[Any], Any]] = []

    def begin(self, run: Run) -> None:
        self._began = time.monotonic()
        self._counter = StepCounter(run.step)
        self._stream = _QuietStream(sys.stderr)
        if self._mode == "bar":
            self._start_bar(run)
        elif self._mode == "lines":
            self._print(run, "training")

    def after_steps(self, run: Run) -> None:
        rate = self._counter.steps_per_sec(run.step)
        if self._bar is not None:
            self._draw(run, shown_rate(rate), total=run.last_step)
        elif self._mode == "lines":
            left = [f"{_duration((run.last_step - run.step) / rate)} left"] if run.last_step and rate else []
            self._print(run, shown_rate(rate), *left)

    def end(self, run: Run) -> None:
        secs = time.monotonic() - self._began
        rate = shown_rate((run.step - run.first_step) / max(secs, 1e-9))
        if self._bar is not None:
            self._draw(run, rate, total=max(run.step, 1))
        elif self._mode == "lines":
            self._print(run, rate, f"done in {_duration(secs)}")
        self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        while self._moved:
            handler, stream = self._moved.pop()
            handler.setStream(stream)

    def _start_bar(self, run: Run) -> None:
        # Imported when a bar is drawn, because it takes a tenth of a second.
        from rich.console import Console  # noqa: PLC0415 - see above
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - see above

        before = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(_BAR_WIDTH),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}", markup=False),
            console=Console(file=cast("IO[str]", self._stream), force_terminal=True),
            auto_refresh=False,
            redirect_stdout=_is_terminal(sys.stdout),  # what goes to a file stays out of this
        )
        self._bar.start()
        self._task = self._bar.add_task(_place(run), completed=run.step, total=run.last_step, rate="", metrics="")
        self._bar.refresh()
        # What the log prints must go above the bar, as what the program prints does.
        for handler in [*logging.getLogger().handlers, *logging.getLogger("keras_estimator").handlers]:
            for name, stream in before.items():
                if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                    self._moved.append((handler, stream))
                    handler.setStream(getattr(sys, name))

    def _draw(self, run: Run, rate: str, *, total: int | None) -> None:
        if self._bar is None:
            return
        place = _place(run)
        room = self._bar.console.width - len(f"{place}  {rate}  0:00:00 ") - _BAR_WIDTH
        self._bar.update(
            self._task,
            description=place,
            completed=run.step,
            total=total,
            rate=rate,
            metrics=_fitting(shown(run.metrics), room),
            refresh=True,
        )

    def _print(self, run: Run, *parts: str) -> None:
        self._stream.write(", ".join([_place(run), *shown(run.metrics), *parts]) + "\n")
        self._stream.flush()


class _QuietStream:
    """A text stream that falls silent when the one behind it breaks."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return _is_terminal(self._stream)

    def write(self, text: str) -> int:
        try:
            if self._stream is not None:
                self._stream.write(text)
        except (OSError, ValueError):
            self._stream = None
        return len(text)

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


def _can_draw(stream: TextIO | None) -> bool:
    if os.environ.get("CI", "").lower() not in ("", "0", "false") or os.environ.get("TERM") == "dumb":
        return False
    return _is_terminal(stream)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _place(run: Run) -> str:
    return f"step {run.step:,}" if run.last_step is None else f"step {run.step:,}/{run.last_step:,}"


def _fitting(texts: list[str], room: int) -> str:
    """Return as many of the texts as there is room for, and a sign if there are more."""
    for count in range(len(texts), 0, -1):
        line = "  ".join(texts[:count]) + ("" if count == len(texts) else " …")
        if len(line) <= room:
            return line
    return ""


def _duration(secs: float) -> str:
    return str(datetime.timedelta(seconds=round(secs)))
