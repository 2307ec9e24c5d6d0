"""Text for a terminal, and for programs: aligned tables, and nothing from a file that a terminal would obey."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from keras_estimator.report.elements import number

NOTHING = "-"
_LONGEST_TEXT = 100
_DEEPEST = 50


def printable(text: str) -> str:
    r"""Return a text in which every character that a terminal would obey is written out, as `\x1b`; lines stay."""
    return "\n".join(
        "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)
        for line in text.split("\n")
    )


def shortened(text: str, most: int = _LONGEST_TEXT) -> str:
    """Return a text on one line that is not too long; of a name the end tells more than the beginning."""
    text = text if len(text) <= most else f"...{text[3 - most :]}"
    return printable(text.replace("\n", "\\n"))


def value_text(value: Any) -> str:
    """Return any value from a file as a short text."""
    if value is None:
        return NOTHING
    if type(value) is int or type(value) is float:
        return number(value) if math.isfinite(value) else str(value)
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:  # it was read from a file
        text = "..."
    return printable(text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}...").replace("\n", "\\n")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, to_the_left: Iterable[int] = ()) -> list[str]:
    """Return the lines of a table.

    Args:
        heads: What is above each column.
        rows: Texts without a line break, one for each column.
        to_the_left: The numbers of the columns of texts; those of numbers end at the right.
    """
    all_rows, left = [list(heads), *map(list, rows)], set(to_the_left)
    widths = [max(map(len, column)) for column in zip(*all_rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in all_rows
    ]


def as_json(value: Any) -> str:
    """Return a JSON text; what JSON has no number for is `"NaN"`, `"Infinity"` or `"-Infinity"`."""
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return "..."  # it was read from a file
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(name): _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, depth + 1) for inner in value]
    return value
