"""Read the curves of a run from its TensorBoard event files, as TensorBoard shows them.

No TensorFlow is needed, so it starts in half a second. A file that is cut off (its writer was killed, or is at it)
or damaged gives what stands before that place, and a remark. Only single numbers are taken: a tensor of a file may
say that it has any shape.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.util.tensor_util import make_ndarray


class Point(NamedTuple):
    """A value of a curve, and when it was written."""

    value: float
    written_at: float


class Rewind(NamedTuple):
    """A run went back: it had reached one step, and went on from an older one."""

    reached: int
    went_on_from: int


@dataclasses.dataclass
class Folder:
    """What the event files of one folder hold.

    Attributes:
        name: `train`, `eval` or `eval_<name>`.
        curves: Point by step, rising, by tag.
        rewinds: Where something written earlier was dropped.
        problems: What is wrong with the files, one sentence each.
    """

    name: str
    curves: dict[str, dict[int, Point]] = dataclasses.field(default_factory=dict)
    rewinds: list[Rewind] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def last_step(self) -> int | None:
        """Return the last step of all curves; None if there is no point."""
        return max((max(curve) for curve in self.curves.values() if curve), default=None)


def read_folders(model_dir: Path) -> list[Folder]:
    """Return the training and each evaluation that has event files, in this order."""
    try:
        names = sorted(path.name for path in model_dir.iterdir() if path.is_dir())
    except OSError:
        return []
    wanted = [name for name in names if name in ("train", "eval") or name.startswith("eval_")]
    wanted.sort(key=lambda name: name != "train")
    return [folder for name in wanted if (folder := read_folder(model_dir / name)) is not None]


def read_folder(path: Path) -> Folder | None:
    """Return the curves of one folder; None if it has no event files."""
    try:
        files = sorted(file for file in path.iterdir() if "tfevents" in file.name and file.is_file())
    except OSError as error:
        return Folder(path.name, problems=[f"{path.name} cannot be read: {error.strerror}."])
    if not files:
        return None
    folder = Folder(path.name)
    for file in files:
        for event in _events(file, folder.problems):
            _take(folder, event)
    folder.curves = {tag: dict(sorted(curve.items())) for tag, curve in sorted(folder.curves.items()) if curve}
    return folder


def _events(file: Path, problems: list[str]) -> Iterator[Any]:
    """Yield the events of a file up to its end, or to where it is damaged."""
    name, number = f"{file.parent.name}/{file.name}", 0
    try:
        with file.open("rb") as opened:
            for record in _records(opened):
                event = Event.FromString(record)
                number += 1
                yield event
    except EOFError:
        cause = "because its writer was stopped or is writing now"
        problems.append(
            f"{name} ends in the middle of an event, {cause}: the {number:,} events before that place are shown."
        )
    except (DecodeError, ValueError):
        problems.append(f"{name} is damaged: the {number:,} events before that place are shown.")
    except OSError as error:
        problems.append(f"{name} cannot be read on: {error.strerror}; {number:,} events before are shown.")


def _records(file: BinaryIO) -> Iterator[bytes]:
    """Yield the records of a file; each has its length before it, and both have their checksums behind them.

    Raises:
        EOFError: it ends within one.
        ValueError: a checksum is another.
    """
    while head := file.read(12):
        length = int.from_bytes(head[:8], "little")
        if len(head) == 12 and not _is_sum_of(head[:8], head[8:]):
            raise ValueError("the length of a record")
        # Asked for more than there is, Python would make room for it.
        if len(head) < 12 or os.fstat(file.fileno()).st_size - file.tell() < length + 4:
            raise EOFError
        record, checksum = file.read(length), file.read(4)
        if not _is_sum_of(record, checksum):
            raise ValueError("a record")
        yield record


def _is_sum_of(data: bytes, checksum: bytes) -> bool:
    return masked_crc32c(data) == int.from_bytes(checksum, "little")  # type: ignore[no-any-return]  # it has no types


def _take(folder: Folder, event: Any) -> None:
    if event.HasField("session_log") and event.session_log.status == SessionLog.START:
        _drop_from(folder, event.step)
    for value in event.summary.value if event.HasField("summary") else ():
        number = _single(value)
        if number is not None:
            curve = folder.curves.setdefault(value.tag, {})
            curve.pop(event.step, None)  # so that the newest comes last, also in a file that goes back
            curve[event.step] = Point(number, event.wall_time)


def _drop_from(folder: Folder, step: int) -> None:
    """Drop what a killed run wrote beyond the checkpoint from which it went on, as TensorBoard does."""
    reached = folder.last_step()
    if reached is None or reached < step:
        return
    folder.rewinds.append(Rewind(reached, step - 1))
    for tag, curve in folder.curves.items():
        folder.curves[tag] = {at: point for at, point in curve.items() if at < step}


def _single(value: Any) -> float | None:
    """Return the number of a summary; None if it is none."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and not value.tensor.tensor_shape.dim:  # as tf.summary.scalar writes it
        try:
            array = make_ndarray(value.tensor)
            return float(array) if array.ndim == 0 else None
        except (TypeError, ValueError, LookupError):
            return None
    return None
