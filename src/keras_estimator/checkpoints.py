"""The checkpoints in a model_dir: write, list, read, and keep only some.

A checkpoint is a folder `model_dir/checkpoints/step-<n>` with two files, the state and what the
run was like (state_files.py). It is written under another name, flushed to the disk and renamed:
a folder of that name is whole or absent, whenever the writer is killed. One that was damaged
later is never used, and never passed over in silence.

Only one process writes to a model_dir at a time; any may read.

Not here: when to save (hooks/saving.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import stat
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from keras_estimator.errors import CheckpointError, CorruptCheckpointError, EstimatorWarning, NoCheckpointError
from keras_estimator.state_files import Array, amend_record, flush, locked, read_files, read_record, write_files

_T = TypeVar("_T")
_ASIDE = "damaged-"
# While a checkpoint replaces another one of its step, a kill can leave only the old one, set aside.
_FOLDER_NAME = re.compile(r"(?:\.replaced-)?step-(0|[1-9][0-9]{0,17})")


@dataclasses.dataclass(frozen=True, order=True)
class Checkpoint:
    """A checkpoint that is there; its contents were not looked at."""

    step: int
    path: Path


@dataclasses.dataclass(frozen=True, eq=False)
class Restored:
    """The contents of a checkpoint, verified.

    Attributes:
        step: Updates of the weights when it was written.
        state: Array by path, writable.
        run: What the writer recorded about the run.
        path: The folder it came from.
    """

    step: int
    state: dict[str, Array]
    run: dict[str, Any]
    path: Path


class Checkpoints:
    """The checkpoints of one model_dir.

    Args:
        model_dir: The folder of the estimator; made when the first checkpoint is written.
        keep_max: How many of the newest to keep. 0 or None: all.
        keep_every_n_hours: Besides those, keep one every so many hours for good, counted from
            the first checkpoint of this model_dir on. None: none.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike[str],
        keep_max: int | None = 5,
        keep_every_n_hours: float | None = 10000,
    ) -> None:
        self.folder = Path(model_dir) / "checkpoints"
        self.keep_max = keep_max
        self.keep_every_n_hours = keep_every_n_hours
        self._first_written_at: float | None = None
        self._is_on_disk = False  # the folder, after a crash of the machine

    def write(
        self,
        step: int,
        state: Mapping[str, Array],
        run: Mapping[str, Any],
        *,
        protected: Iterable[str | os.PathLike[str]] = (),
    ) -> Path:
        """Write one checkpoint, then remove those that need not be kept.

        Args:
            step: A checkpoint of the same step is replaced.
            state: Array by path: numbers of any type, booleans, and strings (object arrays that
                hold only `bytes` or only `str`).
            run: JSON values by name, as Python's `json` knows them (NaN is one).
            protected: Folders of checkpoints that must not be removed.

        Returns:
            The folder of the checkpoint. Its name appears only once it is whole.

        Raises:
            CheckpointError: the state cannot be stored, or the disk does not take it.
        """
        target = self.path_of(step)
        try:
            if not self._is_on_disk or not self.folder.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
                flush(self.folder.parent)
                self._is_on_disk = True
            with locked(self.folder, waits=True):
                self._tidy()
                fresh = self.folder / f".writing-{target.name}"
                fresh.mkdir()
                try:
                    write_files(fresh, step=step, state=state, run=run, first_written_at=self._began_at())
                    self._put(fresh, target)
                finally:
                    shutil.rmtree(fresh, ignore_errors=True)
                self._remove_old({target, *map(Path, protected)})
        except (OSError, SafetensorError) as error:
            raise _unwritable(step, self.folder, error) from error
        return target

    def path_of(self, step: int) -> Path:
        """Return the folder of the checkpoint of a step, whether or not it is there."""
        return self.folder / f"step-{step}"

    def amend(self, step: int, run: Mapping[str, Any]) -> Path:
        """Write to a checkpoint that is there something else about the run; its state stays.

        Args:
            step: The step of the checkpoint.
            run: As in `write`.

        Returns:
            The folder of the checkpoint.

        Raises:
            NoCheckpointError: there is none of that step.
            CorruptCheckpointError: its bytes are not those that were written.
            CheckpointError: the disk does not take it.
        """
        path = self._find(step)
        try:
            with locked(self.folder, waits=True):
                amend_record(path, run)
        except OSError as error:
            raise _unwritable(step, self.folder, error) from error
        return path

    def list(self) -> Sequence[Checkpoint]:
        """Return the checkpoints that are there, by rising step; none of them was looked into."""
        try:
            names = sorted(os.listdir(self.folder))  # `.replaced-step-1` comes before `step-1`
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = {}
        for name in names:
            match, path = _FOLDER_NAME.fullmatch(name), self.folder / name
            if match is None:
                continue
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                return self.list()  # a writer has moved on in the meantime
            if stat.S_ISDIR(mode) or (stat.S_ISLNK(mode) and path.is_dir()):
                found[int(match[1])] = path
        return [Checkpoint(step, path) for step, path in sorted(found.items())]

    def latest(self) -> Checkpoint | None:
        """Return the one of the highest step, not looked into; None if there is none."""
        checkpoints = self.list()
        return checkpoints[-1] if checkpoints else None

    def read(self, which: int | str | os.PathLike[str] | Checkpoint) -> Restored:
        """Read and verify one checkpoint.

        Args:
            which: Its step, or its folder, which may lie in any model_dir.

        Raises:
            NoCheckpointError: there is none of that step, or no such folder.
            CorruptCheckpointError: its bytes are not those that were written.
        """
        path = self._find(which)
        record, state = self._steadily(read_files, path)
        _check_name(path, record["step"])
        return Restored(record["step"], state, record["run"], path)

    def read_record(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return what was recorded beside the state, verified: the state is not looked at (see state_files).

        Raises:
            NoCheckpointError: it is not there any more.
            CorruptCheckpointError: its bytes are not those that were written.
        """
        return self._steadily(read_record, checkpoint.path)

    def newest_readable(self, *, sets_aside: bool = False) -> Restored | None:
        """Read the newest checkpoint that can be trusted; warn about newer ones that cannot.

        Args:
            sets_aside: Whether to rename newer ones that cannot be trusted: they keep what is left of them, and are
                never looked at again; what a killed writer left is cleared. Only for a run that goes on from here, and
                writes those steps anew.

        Returns:
            The checkpoint, or None if this model_dir has none at all.

        Raises:
            CorruptCheckpointError: there are checkpoints, but none of them can be trusted.
        """
        damaged: dict[Path, str] = {}
        if sets_aside:
            with contextlib.suppress(OSError), locked(self.folder, waits=True):
                self._tidy()  # also for a run that has nothing more to write
        for checkpoint in reversed(self.list()):
            try:
                restored = self.read(checkpoint)
            except NoCheckpointError:
                return self.newest_readable(sets_aside=sets_aside)  # a writer has moved on in the meantime
            except CorruptCheckpointError as error:
                damaged[checkpoint.path] = f"{checkpoint.path}: {error.found}"
                continue
            if damaged:
                aside = self._set_aside(damaged) if sets_aside else []
                text = _fallback_text(restored.step, list(damaged.values()), aside)
                warnings.warn(text, EstimatorWarning, stacklevel=2)
            return restored
        if damaged:
            raise CorruptCheckpointError(
                f"none of the checkpoints in {self.folder} can be trusted",
                found="\n".join(damaged.values()),
                expected="at least one with the bytes that were written",
                fix="put one back from a backup, or begin anew with another model_dir",
            )
        return None

    def damaged(self) -> Sequence[Path]:
        """Return the folders of checkpoints that were set aside, as they could not be trusted."""
        return sorted(path for path in self.folder.glob(f"{_ASIDE}step-*") if path.is_dir())

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove folders that `list` or `damaged` gave; one that is gone is passed over.

        Raises:
            OSError: the disk does not let go of one.
        """
        with locked(self.folder, waits=True):
            for path in filter(Path.exists, paths):
                self._discard(path)
            flush(self.folder)

    def _set_aside(self, paths: Iterable[Path]) -> Sequence[Path]:
        moved = []
        with contextlib.suppress(OSError), locked(self.folder, waits=True):  # they may stay: they are never used
            for path in paths:
                name = f"{_ASIDE}{path.name.removeprefix('.replaced-')}"
                others = len(list(self.folder.glob(f"{name}*")))
                moved.append(path.rename(self.folder / (f"{name}-{others + 1}" if others else name)))
            flush(self.folder)
        return moved

    def _steadily(self, read: Callable[[Path], _T], path: Path) -> _T:
        """Read from a checkpoint, again if a writer replaced it in the meantime; it may have been removed, too."""
        while (identity := identity_of(path)) is not None:
            try:
                return read(path)
            except CorruptCheckpointError:
                if identity == identity_of(path):
                    raise
        raise self._missing(f"at {path}")

    def _put(self, fresh: Path, target: Path) -> None:
        # A folder cannot be renamed over another one; between the two renames the old one counts.
        aside = self.folder / f".replaced-{target.name}"
        if target.exists():
            target.rename(aside)
        fresh.rename(target)
        flush(self.folder)
        if aside.exists():
            self._discard(aside)

    def _tidy(self) -> None:
        """Clear what a killed writer left behind; with its lock gone, nobody is at it any more."""
        for path in sorted(self.folder.glob(".*-step-*")):
            prefix, _, name = path.name.partition("-")
            if prefix == ".replaced" and not (self.folder / name).exists():
                path.rename(self.folder / name)
            elif prefix in (".writing", ".replaced", ".removing"):
                _remove(path)
        for path in self.folder.glob("step-*/.run.json.*"):  # of `amend`
            path.unlink()

    def _discard(self, path: Path) -> None:
        # Renamed first: neither a reader nor a kill in the middle then meets half a checkpoint.
        _remove(path.rename(self.folder / f".removing-{path.name}"))

    def _remove_old(self, kept: set[Path]) -> None:
        checkpoints = self.list()
        if not self.keep_max or len(checkpoints) <= self.keep_max:
            return
        old = checkpoints[: -self.keep_max]
        names = {path.resolve() for path in kept | self.kept_for_good(old)}
        for checkpoint in old:
            if checkpoint.path.resolve() not in names:
                self._discard(checkpoint.path)

    def kept_for_good(self, old: Sequence[Checkpoint]) -> set[Path]:
        """Choose one every so many hours; those chosen once are chosen again after a restart."""
        if self.keep_every_n_hours is None:
            return set()
        kept = set()
        last = self._began_at()
        for checkpoint in old:
            with contextlib.suppress(CorruptCheckpointError):
                written_at = read_record(checkpoint.path)["written_at"]
                if written_at - last >= self.keep_every_n_hours * 3600:
                    kept.add(checkpoint.path)
                    last = written_at
        return kept

    def _began_at(self) -> float:
        """Return when the first checkpoint of this model_dir was written; each one hands it on."""
        if self._first_written_at is None:
            self._first_written_at = time.time()
            for checkpoint in reversed(self.list()):
                with contextlib.suppress(CorruptCheckpointError):
                    self._first_written_at = read_record(checkpoint.path)["first_written_at"]
                    break
        return self._first_written_at

    def _find(self, which: int | str | os.PathLike[str] | Checkpoint) -> Path:
        if isinstance(which, Checkpoint):
            return which.path
        if not isinstance(which, int):
            return Path(which)
        for checkpoint in self.list():
            if checkpoint.step == which:
                return checkpoint.path
        raise self._missing(f"of step {which}")

    def _missing(self, which: str) -> NoCheckpointError:
        steps = ", ".join(str(checkpoint.step) for checkpoint in self.list())
        return NoCheckpointError(
            f"there is no checkpoint {which}",
            found=f"in {self.folder}: " + (f"steps {steps}" if steps else "none"),
            expected="a folder step-<n> that a run has written",
            fix="pass one of those steps, or none for the newest" if steps else "call train first",
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def identity_of(path: Path) -> tuple[int, int, int] | None:
    """Return what is another one once a writer has put something else there, or into it; None if nothing is there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _check_name(path: Path, step: int) -> None:
    match = _FOLDER_NAME.fullmatch(path.name)
    if match and int(match[1]) != step:
        raise CorruptCheckpointError(
            f"the checkpoint {path} has the name of another one",
            found=f"the state of step {step}",
            expected=f"the state of step {match[1]}",
            fix=f"mv {path} {path.with_name(f'step-{step}')}",
        )


def _unwritable(step: int, folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint of step {step} cannot be written",
        found=f"{type(error).__name__}: {error}",
        expected=f"room on the disk, and the right to write in {folder}",
        fix=f"df -h {folder}; then call train again: it goes on from the newest checkpoint",
    )


def _fallback_text(step: int, damaged: Sequence[str], aside: Sequence[Path]) -> str:
    lines = "".join(f"\n  {line}" for line in damaged)
    way_out = "Put it back from a backup, or remove its folder to silence this."
    if aside:
        way_out = f"What is left of it was set aside: {', '.join(map(str, aside))}. Remove that if nobody needs it."
    return f"the newest checkpoint cannot be trusted; going back to step {step}.{lines}\n{way_out}"
