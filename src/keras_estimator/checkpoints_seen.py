"""Looks at the checkpoints in a folder from outside, at ours and at those of TensorFlow: no state is read."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from keras_estimator.checkpoints import Checkpoint, Checkpoints, identity_of
from keras_estimator.errors import CorruptCheckpointError
from keras_estimator.state_files import STATE_FILE, read_record
from keras_estimator.tf_checkpoints import check_tf_files, list_tf_checkpoints, number_of

_STEP = re.compile(r"step-([0-9]{1,18})")


@dataclasses.dataclass(frozen=True)
class CheckpointSeen:
    """A checkpoint, looked at from outside.

    Attributes:
        step: The one in its name; of TensorFlow's, the number there, None if there is none.
        num_bytes: Of all its files.
        written_at: Seconds since 1970; None if it does not say.
        metrics: What it recorded.
        problem: Why it cannot be trusted; empty if its record is as it was written and its state has the
            size that was written. The bytes of the state were not read.
        path: Its folder; of TensorFlow's, the prefix.
        is_tensorflows: Whether TensorFlow has written it.
        is_aside: Whether a run set it aside, as it could not be trusted.
    """

    step: int | None
    num_bytes: int
    written_at: float | None
    metrics: dict[str, float]
    problem: str
    path: Path = Path()
    is_tensorflows: bool = False
    is_aside: bool = False


def all_checkpoints_in(folder: Path) -> list[CheckpointSeen]:
    """Look at all checkpoints of a model_dir: those set aside, TensorFlow's, and ours; each by rising step."""
    checkpoints = Checkpoints(folder)
    aside = [_aside_seen(path) for path in checkpoints.damaged()]
    of_tensorflow = [_tf_seen(prefix) for prefix in list_tf_checkpoints(folder)]
    ours = [look_at_checkpoint(each) for each in checkpoints.list()]
    # One that is gone was removed by its run in the meantime.
    return [one for one in (*aside, *of_tensorflow, *ours) if one.is_tensorflows or one.path.exists()]


def look_at_checkpoint(checkpoint: Checkpoint) -> CheckpointSeen:
    """Look at one checkpoint of ours, again if its run replaced it between the look at one file and at the other."""
    while True:
        before = identity_of(checkpoint.path)
        seen = _look_once(checkpoint)
        if not seen.problem or before == identity_of(checkpoint.path):
            return seen


def bytes_below(folder: Path) -> int:
    """Return how many bytes all files in and below a folder have; links are not followed."""
    return sum(_file_size(Path(inside) / name) or 0 for inside, _, names in os.walk(folder) for name in names)


def _look_once(checkpoint: Checkpoint) -> CheckpointSeen:
    path, num_bytes = checkpoint.path, bytes_below(checkpoint.path)
    try:
        record = read_record(path)
    except CorruptCheckpointError as error:
        return CheckpointSeen(checkpoint.step, num_bytes, None, {}, error.found, path)
    problem = ""
    if record["step"] != checkpoint.step:
        problem = f"it holds the state of step {record['step']}"
    elif _file_size(path / STATE_FILE) != record["state"]["bytes"]:
        problem = f"{STATE_FILE} does not have the size that was written"
    metrics = _numbers(record["run"].get("metrics"))
    return CheckpointSeen(checkpoint.step, num_bytes, record["written_at"], metrics, problem, path)


def _aside_seen(path: Path) -> CheckpointSeen:
    step = _STEP.search(path.name)
    seen = look_at_checkpoint(Checkpoint(int(step[1]) if step else 0, path))
    problem = seen.problem or "its state is not what was written"
    return dataclasses.replace(seen, problem=f"set aside: {problem}", is_aside=True)


def _tf_seen(prefix: Path) -> CheckpointSeen:
    index, problem, num_bytes = prefix.with_name(f"{prefix.name}.index"), "", 0
    try:
        num_bytes = check_tf_files(prefix)
    except CorruptCheckpointError as error:
        problem = error.found
    try:
        written_at: float | None = index.stat().st_mtime
    except OSError:
        written_at = None
    num_bytes += _file_size(index) or 0
    return CheckpointSeen(number_of(prefix), num_bytes, written_at, {}, problem, prefix, is_tensorflows=True)


def _numbers(metrics: Any) -> dict[str, float]:
    found = metrics if isinstance(metrics, dict) else {}
    return {str(name): value for name, value in found.items() if type(value) is float}


def _file_size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except OSError:
        return None
