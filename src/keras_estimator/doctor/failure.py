"""An error that a model, or the file that makes it, raised: where exactly, and what it says."""

from __future__ import annotations

import dataclasses
import itertools
import linecache
import traceback
from functools import cached_property
from typing import Any

from keras_estimator.doctor.findings import Place
from keras_estimator.errors import EstimatorError
from keras_estimator.model.user_lines import in_one_line, line_of

_LONGEST = 200  # characters, of what an error says
# When a model can fail, in words for a message.
MOMENTS = {
    "import": "the file cannot be run",
    "build": "the model cannot be built",
    "call": "the model cannot be called or trained",
    "train": "the model cannot be trained",
    "save": "Keras cannot save or load it",
}


@dataclasses.dataclass(frozen=True)
class Failure:
    """One error.

    Attributes:
        error: The exception, with its traceback.
        moment: When it came: "import", "build", "call", "train", or "save" (Keras's own, not ours).
        layer: The path of the layer it is about; empty if that is not known.
    """

    error: BaseException
    moment: str
    layer: str = ""

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.innermost.error).__name__

    @property
    def text(self) -> str:
        """All that it says."""
        return str(self.error)

    @property
    def line(self) -> str:
        """The one line of it that says what happened, and what it is."""
        said = in_one_line(self.innermost.error)
        if len(said) >= _LONGEST:
            said = f"{said[:_LONGEST].rpartition(' ')[0]} ..."
        return f"{self.kind}: {said}" if said else self.kind

    @cached_property
    def chain(self) -> list[BaseException]:
        """The error and those that it wraps, or came up after, from the outside in."""
        found: dict[int, BaseException] = {}
        at: BaseException | None = self.error
        while at is not None and id(at) not in found:
            found[id(at)] = at
            at = at.__cause__ or at.__context__
        return list(found.values())

    @cached_property
    def innermost(self) -> Failure:
        """The one that tells most: Keras wraps what the user's code raised, sometimes twice."""
        located = [error for error in self.chain if _place_in(error) is not None]
        return Failure([self.error, *located][-1], self.moment, self.layer)

    @cached_property
    def named(self) -> EstimatorError | None:
        """The one of ours that names a rule, it or one that it wraps; None if none does."""
        ours = (error for error in self.chain if isinstance(error, EstimatorError) and error.rule)
        return next(ours, None)

    @cached_property
    def place(self) -> Place | None:
        """The expression of the user's code that raised it, as exactly as Python knows; None if none did."""
        return _place_in(self.innermost.error)

    @property
    def in_words(self) -> str:
        """What cannot be done."""
        return MOMENTS[self.moment]

    @property
    def source_line(self) -> str:
        """What is written there."""
        return linecache.getline(self.place.file, self.place.line).strip() if self.place else ""


def _place_in(error: BaseException) -> Place | None:
    line = line_of(error)
    if line is None:
        return None
    for frame, position in zip(_frames(error), _positions(error), strict=True):
        if frame.f_code.co_filename == line.file and position[0] == line.number:
            return _place(line.file, position)
    return Place(line.file, line.number, indent_of(line.file, line.number))


def _frames(error: BaseException) -> list[Any]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _positions(error: BaseException) -> list[tuple[Any, ...]]:
    """Return line, end line, column and end column of what runs in each frame of a traceback."""
    found, at = [], error.__traceback__
    while at is not None:
        positions = at.tb_frame.f_code.co_positions()
        found.append(next(itertools.islice(positions, at.tb_lasti // 2, None)))
        at = at.tb_next
    return found


def _place(file: str, position: tuple[Any, ...]) -> Place:
    line, end_line, column, end_column = position
    if column is None:
        return Place(file, line, indent_of(file, line))
    return Place(file, line, column + 1, end_line, end_column + 1)


def indent_of(file: str, line: int) -> int:
    """Return the column, from one, of what is written on a line."""
    text = linecache.getline(file, line)
    return len(text) - len(text.lstrip()) + 1
