"""One process trains in a model_dir at a time: a second one is refused, and told who the first is.

The system lets go of the lock of a process that is gone, however it ended; so a file that a killed run has
left behind is in nobody's way. On file systems without locks, the host and the number of the process that
are written in the file decide.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_estimator.errors import CheckpointError, ModelDirInUseError

if sys.platform != "win32":
    import fcntl

_LOG = logging.getLogger("keras_estimator")
FILE = "training.lock"
_MAX_BYTES = 4096
# A process may lock a file as often as it likes, so those that this one holds are counted here.
_held: set[str] = set()
_guard = threading.Lock()


@contextlib.contextmanager
def training_in(model_dir: Path) -> Iterator[None]:
    """Be the only one who trains in a folder, which is made if it is not there.

    Raises:
        ModelDirInUseError: another process, or another thread of this one, trains there.
        CheckpointError: the folder cannot be written to.
    """
    path = Path(os.path.realpath(model_dir)) / FILE
    with _once(path):
        descriptor = _open(path)
        try:
            before = _read(descriptor)
            _take(descriptor, path, before)
            if before:
                _LOG.info("the run of process %s on %s was killed; going on", before["pid"], before["host"])
            with _named(descriptor):
                yield
        finally:
            os.close(descriptor)  # which lets go of the lock


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        raise CheckpointError(
            f"nothing can be written in {path.parent}",
            found=f"{type(error).__name__}: {error}",
            expected="a folder that this process may write to, as RunConfig(model_dir=...)",
            fix=f"ls -ld {path.parent}; or give another model_dir",
        ) from error


@contextlib.contextmanager
def _once(path: Path) -> Iterator[None]:
    with _guard:
        if str(path) in _held:
            raise _in_use(path, {"host": socket.gethostname(), "pid": os.getpid(), "since": None})
        _held.add(str(path))
    try:
        yield
    finally:
        with _guard:
            _held.discard(str(path))


def _take(descriptor: int, path: Path, before: dict[str, Any] | None) -> None:
    """Lock the file. Not by `flock`: a process that reads data, forked while the lock is held, would hold it, too."""
    if sys.platform != "win32":
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise _in_use(path, before) from None
        except OSError:
            pass  # this file system knows no locks
        else:
            return
    if before and before["host"] == socket.gethostname() and _is_alive(before["pid"]):
        raise _in_use(path, before)


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True


def _read(descriptor: int) -> dict[str, Any] | None:
    """Return who wrote the file last; None if nobody has, or it says something else."""
    try:
        found = json.loads(os.pread(descriptor, _MAX_BYTES, 0))
        return {"host": str(found["host"])[:200], "pid": int(found["pid"]), "since": float(found["since"])}
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None


@contextlib.contextmanager
def _named(descriptor: int) -> Iterator[None]:
    """Say in the file who holds it; what a process leaves there was killed."""
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
    with contextlib.suppress(OSError):  # a full disk is no reason not to train
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)


def _in_use(path: Path, holder: dict[str, Any] | None) -> ModelDirInUseError:
    if holder is None:
        who = "a process that has not yet said who it is"
    else:
        since = time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(holder["since"])) if holder["since"] else ""
        who = f"process {holder['pid']} on {holder['host']}{since}"
    return ModelDirInUseError(
        f"somebody else trains in {path.parent}",
        found=who,
        expected="one process that trains in a model_dir; any number that read from it",
        fix="wait for it, stop it, or give this run another model_dir",
    )
