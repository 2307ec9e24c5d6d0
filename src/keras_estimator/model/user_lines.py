"""Find the line of the user's program that is running now, or that an error came from."""

from __future__ import annotations

import dataclasses
import dis
import linecache
import re
import sys
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from keras_estimator.errors import EstimatorWarning

# What runs between a line of the user and the place where we look: never the line to name.
_PACKAGES = frozenset({"absl", "keras", "keras_estimator", "numpy", "optree", "scipy", "tensorflow", "wrapt"})
_FOREIGN = sys.stdlib_module_names | _PACKAGES
_PROGRAMS = re.compile(r"__main__|keras_estimator\.demo\b.*")  # The demo is a program of a user that we wrote.
_GENERATED = "__autograph_generated_file"


@dataclasses.dataclass(frozen=True)
class UserLine:
    """One line of the user's program.

    Attributes:
        file: The path of the file.
        number: The number of the line, from one.
    """

    file: str
    number: int

    @property
    def text(self) -> str:
        """What is written there; empty if there is no source."""
        return linecache.getline(self.file, self.number).strip()

    def warn(self, warning: EstimatorWarning) -> None:
        """Warn of something on this line, and not on that of ours which has noticed it."""
        warnings.warn_explicit(warning, None, self.file, self.number)

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.number}"


def running_frame() -> FrameType | None:
    """Return the innermost frame of this thread that runs code of the user."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to look at the caller
    while frame is not None and not _is_of_user(frame):
        frame = frame.f_back
    return frame


def running_line() -> UserLine:
    """Return the line of the user's program that is running in this thread."""
    frame = running_frame()
    if frame is None:
        return UserLine("<console>", 0)
    here = UserLine(frame.f_code.co_filename, frame.f_lineno)
    return _line_before_autograph() or here if _GENERATED in here.file else here


def instruction_of(frame: FrameType) -> str:
    """Return what a frame is doing: `CALL`, `BINARY_OP` (`a + b` or `a += b`), `IMPORT_FROM` and so on."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]]


def line_of(error: BaseException) -> UserLine | None:
    """Return the innermost line of the user's program that `error` passed through, if there is one."""
    found = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if _is_of_user(frame) and _GENERATED not in frame.f_code.co_filename:
            found = UserLine(frame.f_code.co_filename, number)
    # AutoGraph runs a rewritten copy of a function and lists the lines of the original in its message.
    for file, number in re.findall(r'File "([^"]+)", line (\d+), in', str(error)):
        if not _is_in_package(file):
            found = UserLine(file, int(number))
    return found


def _is_of_user(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return _PROGRAMS.fullmatch(name) is not None or name.partition(".")[0] not in _FOREIGN


def _is_in_package(file: str) -> bool:
    homes = (getattr(sys.modules.get(name), "__file__", None) for name in _PACKAGES)
    return any(Path(home).parent in Path(file).parents for home in homes if home)


def _line_before_autograph() -> UserLine | None:
    """Ask TensorFlow, which knows the line that a rewritten line was made from: it notes it with every op."""
    tensorflow: Any = sys.modules["tensorflow"]
    graph = tensorflow.Graph()  # kept until the end: it owns the memory of what its operations tell
    with graph.as_default():
        operation = tensorflow.no_op()
    lines = [UserLine(entry.filename, entry.lineno) for entry in operation.traceback]
    ours = (line for line in reversed(lines) if not _is_in_package(line.file) and _GENERATED not in line.file)
    return next(ours, None)


def in_one_line(error: BaseException) -> str:
    """Return the line of an error's text that says what happened; `""` if it has no text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "[[{{node" not in line]
    # TensorFlow says it below the stack, of a running graph and of a traced function; everybody else says it first.
    is_below = (hasattr(error, "error_code") and hasattr(error, "op")) or lines[:1] == ["in user code:"]
    return lines[-1 if is_below else 0][:200] if lines else ""


def located(error: BaseException) -> str:
    """Return where in the user's program an error was raised, if it was there, its type, and what it says."""
    line = line_of(error)
    said = f"{type(error).__name__}: {in_one_line(error)}"
    return said if line is None else f"{line}: {said}"
