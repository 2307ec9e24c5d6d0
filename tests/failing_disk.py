"""A disk that fails and a process that is killed at a chosen call: compiles failing_disk.c, and says what happens when.

The library has to be loaded when a process starts (`environment`); in it `strike` says what shall happen. A call is
chosen by its text, such as "fsync */.writing-step-6/run.json"; the names are open, open-to-write, read, write,
truncate, fsync, rename (to), mkdir and remove.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BEFORE, HALFWAY, AFTER = range(3)  # halfway: half of what is written gets written
ALL = 2**31

needs_a_compiler = pytest.mark.skipif(
    not (sys.platform == "linux" and shutil.which("cc")),
    reason="calls to the disk fail by a library in C that Linux loads first: apt-get install gcc",
)


def environment(folder: Path) -> dict[str, str]:
    """Return what the environment of a process has to hold besides; the library is made in the folder."""
    library = folder / "failing_disk.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


@contextlib.contextmanager
def strike(
    pattern: str, at: int = 1, times: int = 1, *, moment: int = BEFORE, error: int = 0, signal: int = 0
) -> Iterator[Callable[[], int]]:
    """Let something happen to the n-th call that matches, and to those after it; yield how many have matched so far.

    Args:
        pattern: As in a shell, "*" stands for slashes, too.
        at: Which one is the first, counted from 1.
        times: How many.
        moment: Whether it happens before or after the call, or when half of what is written is on the disk.
        error: The call fails by this number.
        signal: Sent to this process.
    """
    library = ctypes.CDLL(None)  # a process that has it not loaded knows no `strike`
    library.strike(pattern.encode(), ctypes.c_long(at), ctypes.c_long(times), moment, error, signal)
    try:
        yield lambda: int(library.matched())
    finally:
        library.strike(b"", ctypes.c_long(1), ctypes.c_long(1), 0, 0, 0)


def shift_clock(secs: int) -> None:
    """Let the clock of this process go before, or after, that of everybody else."""
    ctypes.CDLL(None).shift_clock(ctypes.c_long(secs))
