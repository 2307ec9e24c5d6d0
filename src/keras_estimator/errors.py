"""Every exception and warning this package raises, as one tree.

    EstimatorError
    ├── ConfigError (ValueError)            an argument or a RunConfig cannot be used
    ├── ModelError (ValueError)             the given object is no model we can run
    ├── NotCompiledError (RuntimeError)     train or evaluate of a model without a loss
    ├── InputError (ValueError)             the data do not fit the model
    │   └── EmptyInputError                 the data have no batch
    ├── NumpyCallError (TypeError)          NumPy met a symbolic tensor and has no counterpart
    ├── NonFiniteLossError (ArithmeticError)  the loss is NaN or infinite
    ├── CheckpointError (RuntimeError)
    │   ├── NoCheckpointError (FileNotFoundError)   there is none
    │   ├── CorruptCheckpointError          there is one, but its bytes are not what was written
    │   └── CheckpointMismatchError         it belongs to another model
    ├── ModelDirInUseError (RuntimeError)   another process trains in the model_dir
    ├── ExportError (RuntimeError)          a model cannot be exported, or serves other numbers
    ├── BlueprintError (ValueError)         a model holds what no copy of it can have
    ├── FixError (RuntimeError)             a fix of the doctor cannot be applied, or makes it another model
    ├── WorkersDifferError (ValueError)     the processes of a cluster have different models, data or versions
    └── WorkerLostError (RuntimeError)      one of them has ended, does not answer, or never came

Every message has the same four parts: the problem in one line that is true without context,
what was found, what was expected, and a fix: a call or a command to paste. A fifth names the rule of the doctor
whose page tells more, if there is one.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar


class EstimatorError(Exception):
    """The root of all errors of this package.

    Attributes:
        problem: What is wrong, in one line.
        found: What was found.
        expected: What was expected instead.
        fix: The call or command that mends it.
        rule: The code of the rule of the doctor that is about this, such as "KE201"; empty if none is.
        exit_status: What a process of a cluster ends with if nobody catches the error.
    """

    exit_status: ClassVar[int] = 1  # as for any error in Python

    def __init__(self, problem: str, *, found: str, expected: str, fix: str, rule: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.found = found
        self.expected = expected
        self.fix = fix
        self.rule = rule

    def __str__(self) -> str:
        page = _page_of(self.rule) if self.rule else ""
        parts = (("found:", self.found), ("expected:", self.expected), ("fix:", self.fix), ("rule:", page))
        indent = "\n" + " " * 12
        lines = [f"  {label:<9} {text.replace(chr(10), indent)}" for label, text in parts if text]
        return "\n".join([self.problem, *lines])

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders; keyword-only arguments do not survive the default.
        parts = (self.problem, self.found, self.expected, self.fix, self.rule)
        return _rebuild, (type(self), parts), {"__notes__": getattr(self, "__notes__", [])}


def _rebuild(cls: type[EstimatorError], parts: tuple[str, str, str, str, str]) -> EstimatorError:
    problem, found, expected, fix, rule = parts
    return cls(problem, found=found, expected=expected, fix=fix, rule=rule)


def _page_of(rule: str) -> str:
    return f"{rule}: keras-estimator explain {rule}"


class ConfigError(EstimatorError, ValueError):
    """An argument or a `RunConfig` cannot be used as it is."""


class ModelError(EstimatorError, ValueError):
    """The given object is not a model that can be run."""


class NotCompiledError(EstimatorError, RuntimeError):
    """The model has no loss and optimizer yet, so it cannot be trained or evaluated."""


class InputError(EstimatorError, ValueError):
    """The data do not fit the model."""


class EmptyInputError(InputError):
    """The data have no batch."""


class NumpyCallError(EstimatorError, TypeError):
    """A NumPy function met a symbolic tensor and cannot run on it.

    Keras makes another one of it, whose problem is the whole text of the first and which has no other parts.
    """

    def __init__(self, problem: str, *, found: str = "", expected: str = "", fix: str = "", rule: str = "") -> None:
        super().__init__(problem, found=found, expected=expected, fix=fix, rule=rule)


class NonFiniteLossError(EstimatorError, ArithmeticError):
    """The loss is NaN or infinite."""


class CheckpointError(EstimatorError, RuntimeError):
    """A checkpoint cannot be used."""


class NoCheckpointError(CheckpointError, FileNotFoundError):
    """There is no such checkpoint."""

    __str__ = EstimatorError.__str__


class CorruptCheckpointError(CheckpointError):
    """The bytes of a checkpoint are not the bytes that were written."""


class CheckpointMismatchError(CheckpointError):
    """The checkpoint holds the state of another model."""


class ModelDirInUseError(EstimatorError, RuntimeError):
    """Another process, or another thread, trains in the model_dir."""


class ExportError(EstimatorError, RuntimeError):
    """The model cannot be exported, or the export serves other numbers than the model."""


class BlueprintError(EstimatorError, ValueError):
    """The model holds something that no copy of it can have."""


class FixError(EstimatorError, RuntimeError):
    """A fix of the doctor cannot be applied, or makes another model; the files are as they were."""


class WorkersDifferError(EstimatorError, ValueError):
    """The processes of a cluster have different models, data, versions or checkpoints."""


class WorkerLostError(EstimatorError, RuntimeError):
    """Another process of the cluster did not start, has ended, or does not answer.

    If nobody catches it, the process ends with status 75 after the traceback: EX_TEMPFAIL of sysexits.h, "try again".
    So a platform can tell who lost another process from who failed, and start all of them anew: they go on from the
    newest checkpoint. A program that replaces `sys.excepthook` later, and does not call the one before, ends with 1.
    """

    exit_status = 75


class EstimatorWarning(UserWarning):
    """Something was ignored, added or approximated; the text names the line and the way out.

    Attributes:
        rule: The code of the rule of the doctor that is about this, such as "KE301"; empty if none is.
    """

    def __init__(self, text: str, *, rule: str = "") -> None:
        super().__init__(text)
        self.rule = rule

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} ({_page_of(self.rule)})" if self.rule else text


def end_with_own_status() -> None:
    """Let this process end with the `exit_status` of an error of ours that nobody catches."""
    sys.excepthook = functools.partial(show_and_end, sys.excepthook)


def show_and_end(
    show: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Show an error that nobody has caught, and end the process with its status; a person at a prompt stays there.

    Raises:
        SystemExit: the error has a status of its own; Python takes it from an excepthook as from a program.
    """
    show(kind, error, trace)
    status = error.exit_status if isinstance(error, EstimatorError) else 1
    if status != 1 and not hasattr(sys, "ps1") and not sys.flags.inspect:
        raise SystemExit(status)
