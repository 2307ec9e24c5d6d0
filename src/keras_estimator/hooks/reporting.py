"""Metrics to the log and to TensorBoard, with steps per second.

An event file holds nothing but scalars and the marks by which TensorBoard drops what a killed run
wrote beyond the checkpoint from which it goes on. Each process appends to one file of its own in
each folder and keeps it closed between writes, so whatever was written survives a kill. The hyper-parameters
stand in a file of the model_dir itself, above the folders of training and evaluations: they belong to all of them.
"""

from __future__ import annotations

import io
import json
import logging
import numbers
import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_estimator.errors import EstimatorWarning
from keras_estimator.hooks.hook import Cadence, Hook, Run

_LOG = logging.getLogger("keras_estimator.steps")  # kept off our own console, where the progress is shown
_PARAMS_FILE = "events.out.tfevents.0000000000.params"  # read first, and the same in each process: it is replaced
_LARGEST = 2**53  # of the whole numbers that a float holds exactly
_files: dict[tuple[int, Path], Path] = {}  # process and folder to the event file


class StepCounter:
    """Steps per second since it was asked last."""

    def __init__(self, step: int) -> None:
        self._step, self._secs = step, time.monotonic()

    def steps_per_sec(self, step: int) -> float:
        """Return the steps per second up to `step`, and start counting anew."""
        now = time.monotonic()
        rate = (step - self._step) / max(now - self._secs, 1e-9)
        self._step, self._secs = step, now
        return rate


class MetricsLogger(Hook):
    """Logs a line such as `step 500: loss 0.1234, accuracy 0.91, 1,234 steps/s`.

    Args:
        every_steps: How often; the last step is logged in any case. Metrics that are not single
            numbers are left out.
    """

    sees_model = False

    def __init__(self, every_steps: int = 100) -> None:
        self.cadence = Cadence(every_steps)

    def begin(self, run: Run) -> None:
        self._counter = StepCounter(run.step)
        self._logged_step = run.step

    def after_steps(self, run: Run) -> None:
        rate = self._counter.steps_per_sec(run.step)
        _LOG.info("step %d: %s", run.step, ", ".join([*shown(run.metrics), shown_rate(rate)]))
        self._logged_step = run.step

    def end(self, run: Run) -> None:
        if run.step != self._logged_step:
            self.after_steps(run)


class SummaryWriter(Hook):
    """Writes the metrics, `learning_rate` and `steps_per_sec` as scalars for TensorBoard.

    Args:
        log_dir: The folder; it is made if it is not there.
        every_steps: How often; the last step is written in any case.
    """

    sees_model = False

    def __init__(self, log_dir: str | os.PathLike[str], every_steps: int = 100) -> None:
        self.cadence = Cadence(every_steps)
        self._log_dir = Path(log_dir)

    def begin(self, run: Run) -> None:
        self._counter = StepCounter(run.step)
        self._written_step = run.step
        mark_start(self._log_dir, run.step)

    def after_steps(self, run: Run) -> None:
        scalars = {**run.metrics, "steps_per_sec": self._counter.steps_per_sec(run.step)}
        if run.learning_rate is not None:
            scalars["learning_rate"] = run.learning_rate
        write_scalars(self._log_dir, run.step, scalars)
        self._written_step = run.step

    def end(self, run: Run) -> None:
        if run.step != self._written_step:
            self.after_steps(run)


def mark_start(log_dir: str | os.PathLike[str], step: int) -> None:
    """Say that a run begins at a step: what is there of later steps is not shown any more."""
    _append(Path(log_dir), step + 1, is_start=True)


def write_scalars(log_dir: str | os.PathLike[str], step: int, scalars: Mapping[str, Any]) -> None:
    """Write one point of each curve for TensorBoard.

    Args:
        log_dir: The folder; it is made if it is not there.
        step: Where on the axis.
        scalars: Value by tag; what is not a single number is left out.
    """
    _append(Path(log_dir), step, scalars=_single(scalars))


def write_params(model_dir: str | os.PathLike[str], params: Mapping[str, Any]) -> None:
    """Write hyper-parameters for the HParams view of TensorBoard, in place of those that were written before.

    A disk that does not take them is a warning: the run can do without.

    Args:
        model_dir: The folder above those of training and evaluations; it is made if it is not there.
        params: Numbers, booleans and texts are shown as such, parts of a dict as `name.part`, all else as JSON.
    """
    # Imported here for the reason that `_append` gives, and so that an old program's imports start no NumPy.
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - see above
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # noqa: PLC0415 - see above
    from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415 - see above

    from keras_estimator.run_description import plain  # noqa: PLC0415 - see above
    from keras_estimator.state_files import replace_file  # noqa: PLC0415 - see above

    path, shown_as = Path(model_dir) / _PARAMS_FILE, dict(_flat(plain(params)))
    if not shown_as:
        path.unlink(missing_ok=True)
        return
    contents, now = io.BytesIO(), time.time()
    records = RecordWriter(contents)
    records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    records.write(Event(wall_time=now, step=0, summary=hparams_pb(shown_as)).SerializeToString())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, contents.getvalue())
    except OSError as error:
        text = f"{path} cannot be written ({type(error).__name__}: {error}): TensorBoard will not show the params"
        warnings.warn(f"{text}. Make room, or the right to write in {model_dir}.", EstimatorWarning, stacklevel=2)


def read_scalars(log_dir: str | os.PathLike[str]) -> dict[int, dict[str, float]]:
    """Return what TensorBoard shows of a folder, by rising step and tag; the damaged end of a file is passed over."""
    from keras_estimator.event_files import read_folder  # noqa: PLC0415 - as in `_append`

    folder = read_folder(Path(log_dir))
    found: dict[int, dict[str, float]] = {}
    for tag, curve in folder.curves.items() if folder is not None else ():
        for step, point in curve.items():
            found.setdefault(step, {})[tag] = point.value
    return dict(sorted(found.items()))


def shown(metrics: Mapping[str, Any]) -> list[str]:
    """Return texts such as `loss 0.1234`, for the metrics that are single numbers."""
    return [f"{name} {value:.4g}" for name, value in _single(metrics).items()]


def shown_rate(steps_per_sec: float) -> str:
    """Return a text such as `1,234 steps/s`."""
    return f"{steps_per_sec:,.0f} steps/s" if steps_per_sec >= 10 else f"{steps_per_sec:.2g} steps/s"


def _single(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, numbers.Real)}


def _flat(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """Yield values as TensorBoard's HParams view takes them, by dotted name."""
    for name, value in params.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) <= _LARGEST):
            yield above + name, value
        else:
            yield above + name, json.dumps(value)


def _append(log_dir: Path, step: int, *, scalars: Mapping[str, float] | None = None, is_start: bool = False) -> None:
    """Write one event; that of a start makes TensorBoard drop what it has from `step` on.

    A disk that does not take it is a warning: the run can do without.
    """
    # Imported at the first event, because it takes a fifth of a second.
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # noqa: PLC0415 - see above
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - see above

    event = Event(wall_time=time.time(), step=step)
    if is_start:
        event.session_log.CopyFrom(SessionLog(status=SessionLog.START))
    else:
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in (scalars or {}).items()]
        event.summary.CopyFrom(Summary(value=points))
    log_dir = log_dir.absolute()
    try:
        _write(log_dir, Event(wall_time=time.time(), file_version="brain.Event:2"), event)
    except OSError as error:
        _files.pop((os.getpid(), log_dir), None)  # nobody reads on after half an event: the next one begins a file
        text = (
            f"step {step} is not written to {log_dir} ({type(error).__name__}: {error}): TensorBoard will not show it"
        )
        warnings.warn(f"{text}. Make room, or the right to write there.", EstimatorWarning, stacklevel=2)


def _write(log_dir: Path, head: Any, event: Any) -> None:
    """Add an event to the file of this process, after the head if that is new."""
    from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415 - as in `_append`

    path = _files.get((os.getpid(), log_dir))
    is_new = path is None or not path.exists()
    if path is None or is_new:
        path = _files[os.getpid(), log_dir] = log_dir / _file_name(log_dir)
        log_dir.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        records = RecordWriter(file)
        for each in (head, event) if is_new else (event,):
            records.write(each.SerializeToString())


def _file_name(log_dir: Path) -> str:
    # TensorBoard reads the files of a folder in the order of their names, and the clock may have been set back.
    there = [path.name.split(".")[3] for path in log_dir.glob("events.out.tfevents.*")]
    secs, nanosecs = divmod(time.time_ns(), 10**9)
    secs = max(secs, *(int(each) + 1 for each in there if each.isdecimal() and int(each) > secs), 0)
    return f"events.out.tfevents.{secs:010d}.{nanosecs:09d}.{socket.gethostname()}.{os.getpid()}"
