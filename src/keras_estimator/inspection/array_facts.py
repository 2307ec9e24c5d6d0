"""What can be said of the numbers in an array, and of how two arrays differ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from keras_estimator.state_files import Array

_PART = 2**18  # numbers that are looked at together, so that no second copy of a large array is made
_INTEGERS = "iub"


@dataclasses.dataclass(frozen=True)
class ArrayFacts:
    """What can be said of an array.

    Attributes:
        shape: Its shape.
        dtype: NumPy's name of its type; `bytes` or `text` if it holds these.
        num_bytes: Of its items.
        norm: The root of the sum of the squares of all finite numbers; None if it holds no numbers.
        lowest: The lowest finite number; None if there is none, and for complex ones.
        highest: The highest one.
        num_nans: How many are NaN.
        num_infinite: How many are infinite.
    """

    shape: tuple[int, ...]
    dtype: str
    num_bytes: int
    norm: float | None = None
    lowest: float | None = None
    highest: float | None = None
    num_nans: int = 0
    num_infinite: int = 0


@dataclasses.dataclass(frozen=True)
class ArrayDifference:
    """How two arrays of one shape and type differ.

    Attributes:
        num_items: How many items do.
        largest: The largest difference of two numbers; infinite where only one of them is finite; None if these
            are no numbers.
        largest_relative: The largest one in proportion to the larger of the two numbers, 0 to 2.
        norm: The norm of the difference.
        relative_norm: In proportion to the larger of both norms, 0 to 2; by it one says how much an array differs.
    """

    num_items: int
    largest: float | None = None
    largest_relative: float | None = None
    norm: float | None = None
    relative_norm: float | None = None


def dtype_of(array: Array) -> str:
    """Return the name of an array's type."""
    if array.dtype.hasobject:
        return "text" if any(isinstance(item, str) for item in array.flat) else "bytes"
    return str(array.dtype.name)


def facts_of(array: Array) -> ArrayFacts:
    """Look at every number of an array."""
    if array.dtype.hasobject:
        num_bytes = sum(
            len(item.encode("utf-8", "surrogatepass") if type(item) is str else item) for item in array.flat
        )
        return ArrayFacts(array.shape, dtype_of(array), num_bytes)
    norm, bounds, num_nans, num_infinite = 0.0, list[float](), 0, 0
    for [part] in _parts(array):
        numbers = _floats(part)
        nans, infinite = np.isnan(numbers), np.isinf(numbers)
        num_nans, num_infinite = num_nans + int(nans.sum()), num_infinite + int(infinite.sum())
        finite = numbers[~(nans | infinite)]
        norm = math.hypot(norm, _norm(finite))
        if part.dtype.kind in _INTEGERS:
            bounds += [int(part.min()), int(part.max())]
        elif finite.size and finite.dtype.kind == "f":
            bounds += [float(finite.min()), float(finite.max())]
    lowest, highest = (min(bounds), max(bounds)) if bounds else (None, None)
    return ArrayFacts(array.shape, dtype_of(array), array.nbytes, norm, lowest, highest, num_nans, num_infinite)


def difference_of(a: Array, b: Array) -> ArrayDifference | None:
    """Compare two arrays of one shape and type; None if they have the same bits.

    The numbers of an ArrayDifference are all 0 where only bits differ, as those of 0 and -0, or of two NaN.
    """
    if a.dtype.hasobject:
        num_items = sum(one != other for one, other in zip(a.flat, b.flat, strict=True))
        return ArrayDifference(num_items) if num_items else None
    if np.array_equal(_bits(a), _bits(b)):
        return None
    num_items, largest, relative, norm, norm_a, norm_b = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for one, other in _parts(a, b):
        gap = _gap(one, other)
        size_a, size_b = (np.nan_to_num(abs(_floats(part)), nan=0.0, posinf=0.0) for part in (one, other))
        # Where one is not finite the gap is infinite, and so is every proportion.
        proportion = np.divide(gap, np.maximum(size_a, size_b), out=np.zeros_like(gap), where=gap != 0)
        num_items += int(np.count_nonzero(gap))
        largest, relative = max(largest, float(gap.max())), max(relative, float(proportion.max()))
        norm, norm_a, norm_b = (
            math.hypot(so_far, _norm(part)) for so_far, part in ((norm, gap), (norm_a, size_a), (norm_b, size_b))
        )
    return ArrayDifference(num_items, largest, relative, norm, norm / (max(norm_a, norm_b) or 1.0))


def _parts(*arrays: Array) -> Iterator[list[Array]]:
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, _PART):
        yield [array[start : start + _PART] for array in flat]


def _floats(part: Array) -> Array:
    return part.astype(np.complex128 if part.dtype.kind == "c" else np.float64)


def _gap(one: Array, other: Array) -> Array:
    """Return how far apart the numbers are; of integers it is exact, as they may be seeds of 64 bits."""
    if one.dtype.kind in _INTEGERS:
        wide = np.uint64 if one.dtype.kind == "u" else np.int64
        one, other = one.astype(wide), other.astype(wide)
        return (np.maximum(one, other).astype(np.uint64) - np.minimum(one, other).astype(np.uint64)).astype(np.float64)
    one, other = _floats(one), _floats(other)
    with np.errstate(invalid="ignore", over="ignore"):
        gap: Array = abs(one - other)
    gap[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
    gap[np.isnan(gap)] = math.inf
    return gap


def _norm(numbers: Array) -> float:
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(numbers))


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
