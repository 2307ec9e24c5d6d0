"""Compare a NumPy call with its counterpart on small arrays of the same shapes, before it is trusted."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_estimator.model.numpy_counterparts import Counterpart, NumpyCall, refusal
from keras_estimator.model.tensor_kinds import is_tensor, rank, tensor_kinds

TOLERANCE = 1e-4  # of the largest value; the two sides round in float32, in different orders
_MOST_ELEMENTS = 2**20
_SHORT = 8  # the longest axis of a sample when the true shapes are too large
_WITHOUT_VALUES = frozenset({"empty_like", "ndim", "shape"})
_UP_TO_SIGN = frozenset({"eig", "eigh", "qr", "svd"})  # bases: any sign of a vector is right


@dataclasses.dataclass(frozen=True)
class _Sample:
    """How tensors become arrays.

    Attributes:
        unknown: The length of an axis that has none yet.
        longest: No axis is longer; None if axes are as long as they are.
        numbers: `"any"`; `"places"`: integers are 0 or 1, so that they are places in another tensor;
            `"definite"`: square matrices are positive definite, as some of linear algebra asks for.
    """

    unknown: int
    longest: int | None
    numbers: str


def agreement(call: NumpyCall, counterpart: Counterpart) -> str:
    """Compute `call` on arrays by NumPy and by its counterpart, and compare.

    Returns:
        Empty if both agree; otherwise why they could not be compared.

    Raises:
        NumpyCallError: they differ, or the counterpart cannot compute what NumPy can.
    """
    reason = "no shapes to try"
    for sample in _samples(call):
        try:
            args, kwargs = _arrays(call, sample)
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = call.original(args, kwargs)
        except Exception as error:  # noqa: BLE001 - whatever NumPy cannot do with these shapes
            reason = f"NumPy cannot compute it either: {error}"
            continue
        with tensor_kinds().eagerly():
            _, difference = compared(dataclasses.replace(call, args=args, kwargs=kwargs), counterpart, expected)
        if difference:
            raise refusal(call, f"cannot run as {counterpart.label}: {difference}")
        return ""
    return reason


def compared(call: NumpyCall, counterpart: Counterpart, expected: Any) -> tuple[Any, str]:
    """Run the counterpart of `call`, whose tensors have values, and compare.

    Returns:
        The result, and how it differs from `expected`; empty if it does not.
    """
    try:
        result = counterpart.run(*call.args, **call.kwargs)
    except Exception as error:  # noqa: BLE001 - whatever the backend cannot do
        return None, f"it fails with {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if call.function.__name__ in _WITHOUT_VALUES:
        return result, ""
    got = [_plain(leaf) for leaf in keras.tree.flatten(result)]
    wanted = [_plain(leaf) for leaf in keras.tree.flatten(expected)]
    if len(got) != len(wanted):
        return result, f"it gives {len(got)} results, NumPy {len(wanted)}"
    if call.function.__name__ in _UP_TO_SIGN:
        got, wanted = [np.abs(value) for value in got], [np.abs(value) for value in wanted]
    return result, next(filter(None, map(_differing, wanted, got)), "")


def _differing(expected: Any, got: Any) -> str:
    """Say how two arrays differ, by more than rounding; empty if they do not."""
    if expected.shape != got.shape:
        return f"NumPy's result has the shape {expected.shape}, the other {got.shape}"
    if expected.dtype.kind not in "biufc":
        return "" if np.array_equal(expected, got) else "the values differ"
    kind = np.complex128 if "c" in (expected.dtype.kind, got.dtype.kind) else np.float64
    left, right = expected.astype(kind), got.astype(kind)
    largest = float(np.max(np.abs(left[np.isfinite(left)]), initial=0.0))
    # NaN on both sides is agreement: the number lies outside of the domain.
    if np.allclose(left, right, rtol=0.0, atol=TOLERANCE * max(1.0, largest), equal_nan=True):
        return ""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f"the values differ by up to {float(np.nanmax(np.abs(left - right))):.3g}"


def _samples(call: NumpyCall) -> Iterator[_Sample]:
    """Yield ways to fill the tensors in, likely ones first."""
    leaves = keras.tree.flatten([call.args, dict(call.kwargs)])
    tensors = [leaf for leaf in leaves if is_tensor(leaf)]
    if any(rank(tensor) is None for tensor in tensors):
        return
    fixed = [leaf for leaf in leaves if is_tensor(leaf) or isinstance(leaf, np.ndarray)]
    lengths = sorted({length for leaf in fixed for length in leaf.shape if length})
    for numbers in ("any", "places", "definite"):
        for unknown in (3, *lengths):
            size = max(math.prod(length or unknown for length in tensor.shape) for tensor in tensors)
            yield _Sample(unknown, None if size <= _MOST_ELEMENTS else _SHORT, numbers)


def _arrays(call: NumpyCall, sample: _Sample) -> tuple[tuple[Any, ...], dict[str, Any]]:
    random = np.random.default_rng(0)
    args, kwargs = keras.tree.map_structure(
        lambda leaf: _array(leaf, sample, random), (tuple(call.args), dict(call.kwargs))
    )
    return args, kwargs


def _array(leaf: Any, sample: _Sample, random: np.random.Generator) -> Any:
    """Return random numbers where `leaf` is a tensor, and `leaf` otherwise."""
    if isinstance(leaf, np.ndarray):
        return leaf[tuple(slice(sample.longest) for _ in leaf.shape)]
    if not is_tensor(leaf):
        return leaf
    lengths = (sample.unknown if length is None else length for length in leaf.shape)
    shape = tuple(length if sample.longest is None else min(length, sample.longest) for length in lengths)
    dtype = keras.backend.standardize_dtype(leaf.dtype)
    if dtype == "bool":
        return random.random(shape) < 0.5
    if "int" in dtype:
        if sample.numbers == "places":
            return random.integers(0, 2, shape).astype(dtype)
        # All different: where values are equal, an order of them is a matter of taste.
        places = random.permutation(math.prod(shape)) - (0 if dtype.startswith("u") else math.prod(shape) // 2)
        return places.reshape(shape).astype(dtype)
    if "float" in dtype:
        numbers = random.uniform(-2.0, 2.0, shape)
        if sample.numbers == "definite" and len(shape) > 1 and shape[-1] == shape[-2]:
            numbers = numbers @ np.swapaxes(numbers, -1, -2) + np.eye(shape[-1])
        # NumPy knows no bfloat16, and float16 rounds more than the tolerance.
        return numbers.astype("float64" if dtype == "float64" else "float32")
    if "complex" in dtype:
        return (random.uniform(-2.0, 2.0, shape) + 1j * random.uniform(-2.0, 2.0, shape)).astype(dtype)
    raise TypeError(f"it does not compute with {dtype}")


def _plain(leaf: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(leaf) if is_tensor(leaf) else leaf)
