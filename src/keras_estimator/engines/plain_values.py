"""Write what iterators and datasets keep as JSON values, and read it back: numbers, texts, bytes, arrays; nothing runs.

| in Python                              | in JSON                                                    |
|----------------------------------------|------------------------------------------------------------|
| None, True, 1, 1.5, "text", [...]      | the same                                                   |
| {"name": ...}                          | {"dict": [["name", ...], ...]}, keys of any of these kinds |
| (...)                                  | {"tuple": [...]}                                           |
| bytes                                  | {"bytes": base64}                                          |
| NaN, infinities                        | {"float": "nan"}                                           |
| arrays and numbers of NumPy            | {"array": base64, "dtype": "<i8", "shape": [...]}          |
| tensors of torch                       | {"tensor": as an array}                                    |
"""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_estimator.errors import CheckpointError, InputError

MOST_BYTES = 16 * 2**20  # of one state: it is a part of every checkpoint
_DEEPEST = 50
_PLAIN = (str, int, float, bool, type(None))
_NUMBERS = "biufc"  # kinds of arrays


def written(value: Any) -> Any:
    """Return `value` as JSON values.

    Raises:
        InputError: it holds something else, or too much.
    """
    left = MOST_BYTES

    def write(value: Any, depth: int = 0) -> Any:
        nonlocal left
        left -= len(value) if isinstance(value, str | bytes) else getattr(value, "nbytes", 8)
        if left < 0 or depth > _DEEPEST:
            raise _not_plain(f"more than {MOST_BYTES // 2**20} MiB" if left < 0 else f"{_DEEPEST} values in each other")
        kind = type(value)
        if kind is float and not math.isfinite(value):
            return {"float": repr(value)}
        if kind in _PLAIN:
            return value
        if kind is bytes:
            return {"bytes": base64.b64encode(value).decode()}
        if kind in (list, tuple):
            items = [write(item, depth + 1) for item in value]
            return items if kind is list else {"tuple": items}
        if isinstance(value, dict):
            return {"dict": [[write(key, depth + 1), write(item, depth + 1)] for key, item in value.items()]}
        if _is_tensor(value):
            return {"tensor": _written_array(value.detach().cpu().numpy())}
        return _written_array(value)

    return write(value)


def read(value: Any) -> Any:
    """Return what `written` has written.

    Raises:
        CheckpointError: it is something else.
    """
    readers: dict[str, Callable[[Any, int], Any]] = {
        "bytes": lambda content, _: base64.b64decode(content, validate=True),
        "float": lambda content, _: float(content),
        "tuple": lambda content, depth: tuple(items(content, depth)),
        "dict": lambda content, depth: dict(items(pair, depth) for pair in content),
        "tensor": lambda content, _: sys.modules["torch"].from_numpy(_read_array(content)),
    }

    def items(values: list[Any], depth: int) -> list[Any]:
        return [read_one(item, depth + 1) for item in values]

    def read_one(value: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise not_written("too many values in each other")
        if isinstance(value, list):
            return items(value, depth)
        if not isinstance(value, dict):
            return value
        if "array" in value:
            return _read_array(value)
        ((kind, content),) = value.items()
        return readers[kind](content, depth)

    try:
        return read_one(value)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise not_written(f"{type(error).__name__}: {error}") from error


def _written_array(value: Any) -> dict[str, Any]:
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in _NUMBERS:
        raise _not_plain(f"a {type(value).__module__}.{type(value).__qualname__}")
    array = np.asarray(value)
    content = base64.b64encode(array.tobytes()).decode()
    found = {"array": content, "dtype": array.dtype.str, "shape": list(array.shape)}
    return {**found, "is_number": True} if isinstance(value, np.generic) else found


def _read_array(value: Any) -> Any:
    content, dtype = base64.b64decode(value["array"], validate=True), np.dtype(str(value["dtype"]))
    if dtype.kind not in _NUMBERS:
        raise not_written(f"an array of {dtype}")
    array = np.frombuffer(content, dtype).reshape(value["shape"]).copy()
    return array[()] if value.get("is_number") else array


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _not_plain(found: str) -> InputError:
    return InputError(
        "no checkpoint can hold this state of the data",
        found=found,
        expected="numbers, texts, bytes, arrays of numbers, and lists, tuples and dicts of them",
        fix="return such values from `state_dict` or `get_state`",
    )


def not_written(found: str) -> CheckpointError:
    """Return the error that something in a checkpoint is no state that was written."""
    return CheckpointError(
        "the state of the data in the checkpoint is none that was written there",
        found=found[:200],
        expected="what the run noted when the checkpoint was written",
        fix='begin the data anew: RunConfig(data_position="restart")',
    )
