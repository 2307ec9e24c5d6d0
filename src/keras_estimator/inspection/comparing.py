"""Compares two checkpoints: their arrays, and what their runs have recorded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from keras_estimator.inspection.array_facts import ArrayDifference, difference_of, dtype_of
from keras_estimator.inspection.opened import Opened
from keras_estimator.state_files import Array

_ONLY_A, _ONLY_B, _KIND, _VALUES = "only in A", "only in B", "another shape or type", "other values"


@dataclasses.dataclass(frozen=True)
class ComparedArray:
    """An array that is not the same in both.

    Attributes:
        name: Its name.
        how: `only in A`, `only in B`, `another shape or type` or `other values`.
        kind_a: Its type and shape, such as `float32 (2, 3)`; empty if it is not there.
        kind_b: The same.
        values: How far apart the values are; None unless that is how they differ.
    """

    name: str
    how: str
    kind_a: str
    kind_b: str
    values: ArrayDifference | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How two checkpoints differ.

    Attributes:
        arrays: Those that differ: those of one only, of another shape or type, and by how much the values differ.
        recorded: What was recorded otherwise, by its place such as `data.passes`: in A, in B; None: not at all.
        num_equal: How many arrays are the same in both.
    """

    arrays: list[ComparedArray]
    recorded: dict[str, tuple[Any, Any]]
    num_equal: int

    @property
    def is_equal(self) -> bool:
        """Whether they are the same."""
        return not self.arrays and not self.recorded


def compare(a: Opened, b: Opened) -> Comparison:
    """Compare two checkpoints.

    Raises:
        CorruptCheckpointError: one is TensorFlow's, and damaged.
    """
    names = sorted({*a.names, *b.names})
    in_a, in_b = set(a.names), set(b.names)
    compared = [_compared(name, a if name in in_a else None, b if name in in_b else None) for name in names]
    arrays = sorted((one for one in compared if one is not None), key=_place)
    return Comparison(arrays, dict(_recorded(a, b)), len(names) - len(arrays))


def _compared(name: str, a: Opened | None, b: Opened | None) -> ComparedArray | None:
    one, other = (opened.read(name) if opened else None for opened in (a, b))
    kinds = (_kind(one), _kind(other))
    if one is None or other is None:
        return ComparedArray(name, _ONLY_B if one is None else _ONLY_A, *kinds)
    if kinds[0] != kinds[1]:
        return ComparedArray(name, _KIND, *kinds)
    values = difference_of(one, other)
    return ComparedArray(name, _VALUES, *kinds, values) if values else None


def _kind(array: Array | None) -> str:
    return "" if array is None else f"{dtype_of(array)} {array.shape}"


def _place(one: ComparedArray) -> tuple[int, float, str]:
    how_much = one.values.relative_norm if one.values else None
    return [_ONLY_A, _ONLY_B, _KIND, _VALUES].index(one.how), -math.inf if how_much is None else -how_much, one.name


def _recorded(a: Opened, b: Opened) -> Iterator[tuple[str, tuple[Any, Any]]]:
    one, other = ({"step": opened.step, **dict(leaves(opened.recorded))} for opened in (a, b))
    for place in [*one, *(place for place in other if place not in one)]:
        pair = (one.get(place), other.get(place))
        # As texts: NaN is not equal to itself, and True is equal to 1.
        if repr(pair[0]) != repr(pair[1]):
            yield place, pair


def leaves(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values in JSON objects within objects, by their place such as `data.passes`; a list is one of them."""
    waiting = [(str(name), value) for name, value in reversed(list(record.items()))]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{place}.{name}", inner) for name, inner in reversed(list(value.items()))]
        else:
            yield place, value
