"""What the doctor says: a Finding, the Place it is at, and the Fix for it, if there is one."""

from __future__ import annotations

import ast
import dataclasses
import enum
from typing import Any

from keras_estimator.doctor.rewriting import Change


class Severity(enum.StrEnum):
    """How bad it is.

    An error stops the model, or gives wrong numbers; a warning does so in some use of it, such as Keras's own
    `save` or a second replica; information is good to know.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Applicability(enum.StrEnum):
    """Who may apply a fix, in the words of ruff.

    A safe fix leaves what the code computes as it is; an unsafe one may change it; one for display is an advice.
    """

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY = "display"


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """A range of a source file.

    Attributes:
        file: The path of the file.
        line: The number of its first line, from one.
        column: Its first column, from one, in characters.
        end_line: The number of its last line.
        end_column: The column behind its last character.
    """

    file: str
    line: int
    column: int = 1
    end_line: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @classmethod
    def of(cls, node: ast.AST, file: str, lines: list[str]) -> Place:
        """Return where a node of a syntax tree stands; of a function or class, its first line.

        Args:
            node: The node; it has a position.
            file: The path of the file.
            lines: Those of the file.
        """
        whole: Any = node
        first, last = whole.lineno, whole.end_lineno
        column = _characters(lines, first, whole.col_offset)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            header = lines[first - 1].rstrip()
            return cls(file, first, column, first, len(header) + 1)
        return cls(file, first, column, last, _characters(lines, last, whole.end_col_offset))


def _characters(lines: list[str], line: int, offset: int) -> int:
    """Return the column, from one, of an offset in bytes."""
    text = lines[line - 1] if line <= len(lines) else ""
    return (offset if text.isascii() else len(text.encode()[:offset].decode(errors="replace"))) + 1


@dataclasses.dataclass(frozen=True)
class Fix:
    """How to mend what was found.

    Attributes:
        title: What it does, in the imperative: `use keras.ops.sin`.
        applicability: Who may apply it.
        changes: Of the source file; empty for an advice.
    """

    title: str
    applicability: Applicability
    changes: tuple[Change, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @property
    def is_applicable(self) -> bool:
        """Whether the doctor can apply it itself."""
        return bool(self.changes) and self.applicability is not Applicability.DISPLAY


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that stops a model from travelling, or makes it another one on the way.

    Attributes:
        code: Of the rule that found it, such as `KE201`; `keras-estimator explain KE201` tells all about it.
        name: Of the rule, such as `numpy-on-symbolic`.
        severity: How bad it is.
        message: What was found, in one line.
        place: Where in the user's code; None if nobody knows.
        layer: The path of the layer it is about; empty if it is about the whole model, or no model was looked at.
        consequence: What happens if it is left as it is.
        evidence: What a probe measured; empty if it was seen in the source alone.
        fix: How to mend it; None if there is no way known.
    """

    code: str
    name: str
    severity: Severity
    message: str
    place: Place | None
    layer: str
    consequence: str
    evidence: str
    fix: Fix | None

    @property
    def where(self) -> str:
        """The place, or else the layer, in words."""
        return str(self.place) if self.place else f"layer `{self.layer}`" if self.layer else "the model"

    def __str__(self) -> str:
        mark = " [*]" if self.fix and self.fix.is_applicable and self.fix.applicability is Applicability.SAFE else ""
        advice = f"; {self.fix.title}" if self.fix else ""
        return f"{self.where} {self.code}{mark} {self.message}{advice}"
