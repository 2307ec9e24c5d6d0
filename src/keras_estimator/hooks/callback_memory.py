"""What Keras callbacks remember: which attributes count, how a checkpoint carries them, how they come back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import types
import weakref
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

_LOG = logging.getLogger("keras_estimator")
_PLAIN = (str, int, float, bool, type(None))
# What Keras gives each callback, and flags of a profiler that dies with its process.
_NOT_REMEMBERED = {"model", "_model", "params", "_is_tracing", "_profiler_started"}
# Keras makes these of the settings at the end of the first epoch, and turns the sign of `min_delta` by it: carried
# without the function, it would be turned again.
_MADE_OF_SETTINGS = {"monitor_op", "min_delta"}
_FLOATS = {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
_LONG_LIST, _PACKED = 100, {int: np.dtype(np.int64), float: np.dtype(np.float64)}  # written as arrays
_MOST_VALUES = 100_000  # of one attribute; those of arrays and long lists do not count
_DEEPEST = 50  # TensorFlow ends the process that makes a tensor of lists in some 250 lists
# Callbacks that hold files, and at the end do nothing but close them.
_HOLD_FILES = (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)
# By callback: the marks of its attributes when training began, and when it was left. What is still as it was left is
# no setting of the user's.
_LEFT: weakref.WeakKeyDictionary[Any, tuple[dict[str, Any], dict[str, Any]]] = weakref.WeakKeyDictionary()


class Memory:
    """What one callback remembers: the attributes that have changed since its `on_train_begin`."""

    def __init__(self, callback: Any, model: Any) -> None:
        self._callback, self._model = callback, model
        self._settings = _settings(callback)
        self._told: set[str] = set()
        self._at_first: dict[str, Any] = {}
        before, left = _LEFT.get(callback, ({}, {})) if isinstance(callback, Hashable) else ({}, {})
        for name, _, mark, _ in self._looks():
            if left.get(name) != mark or name in before:
                self._at_first[name] = before[name] if left.get(name) == mark else mark

    def record(self) -> dict[str, Any]:
        """Return what has changed, and by what the callback is known again."""
        attributes: dict[str, Any] = {}
        for name, value, mark, carried in self._looks():
            if self._at_first.get(name) != mark and isinstance(mark, int):
                self._tell(name, f"is not part of the checkpoints (a {type(value).__qualname__})")
            elif self._at_first.get(name) != mark:
                attributes[name] = carried
        record = {"class": type(self._callback).__qualname__, "settings": self._settings, "attributes": attributes}
        if isinstance(self._callback, keras.callbacks.CSVLogger) and Path(self._callback.filename).is_file():
            record["file"] = {"name": self._callback.filename, "bytes": Path(self._callback.filename).stat().st_size}
        return record

    def put_back(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes as they were; a checkpoint, which may be anybody's, sets no method and no path of Keras's."""
        for name, carried in attributes.items():
            if not self._may_be_set(name, carried):
                self._tell(name, "is left as it is: a checkpoint does not set that")
                continue
            try:
                self._set(name, carried)
            except (AttributeError, LookupError, TypeError, ValueError):
                self._tell(name, "is left as it begins: no callback has remembered that")

    def _set(self, name: str, carried: Any) -> None:
        if not isinstance(carried, dict) or "variables" not in carried:
            setattr(self._callback, name, _taken_back(carried))
            return
        values, variables = carried["variables"], self._variables(getattr(self._callback, name, None)) or []
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            self._tell(name, "is left as it begins: its variables are others by now")
            return
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _may_be_set(self, name: str, carried: Any) -> bool:
        kinds = [kind for kind in type(self._callback).__mro__ if kind.__module__.partition(".")[0] == "keras"]
        if isinstance(carried, str) and kinds[0] is not keras.callbacks.Callback:
            return False  # the texts of Keras's callbacks are files and folders
        declared, held = getattr(type(self._callback), name, None), vars(self._callback).get(name)
        is_reserved = name in _NOT_REMEMBERED or name.startswith("__")
        is_code = callable(declared) or hasattr(declared, "__get__") or isinstance(held, types.ModuleType)
        is_code |= callable(held) and self._variables(held) is None
        return not (is_reserved or is_code)

    def leave(self, *, closes_files: bool) -> None:
        """Note how the callback is left; close the files that it holds, if nobody told it to."""
        for kind in _HOLD_FILES:
            if closes_files and isinstance(self._callback, kind):
                kind.on_train_end(self._callback)
        if isinstance(self._callback, keras.callbacks.CSVLogger) and not self._callback.append:
            self._callback.append_header = True  # a new file has a header; see goes_on_with_file
        if isinstance(self._callback, Hashable):
            _LEFT[self._callback] = self._at_first, {name: mark for name, _, mark, _ in self._looks()}

    def _looks(self) -> Iterator[tuple[str, Any, str | int, Any]]:
        """Yield name, value, a mark of the value, and how it is carried; the mark is a number if it is not."""
        left_out = _NOT_REMEMBERED | (_MADE_OF_SETTINGS if hasattr(self._callback, "monitor_op") else set())
        for name, value in list(vars(self._callback).items()):
            if name in left_out:
                continue
            try:
                variables = self._variables(value)
                carried = (
                    _carried(value) if variables is None else {"variables": [_array(v.numpy()) for v in variables]}
                )
                yield name, value, _digest(carried), carried
            except (TypeError, ValueError, RecursionError):
                yield name, value, id(value), None

    def _variables(self, value: Any) -> list[Any] | None:
        """Return the variables of a value, without those of the model; None if it is nothing that has variables."""
        if isinstance(value, keras.Layer | keras.metrics.Metric | keras.optimizers.Optimizer):
            variables = value.variables
        elif all(hasattr(value, name) for name in ("assign", "numpy", "shape")):
            variables = [value]
        else:
            return None
        own = [*self._model.variables, *getattr(getattr(self._model, "optimizer", None), "variables", ())]
        own += [variable.value for variable in own if isinstance(variable, keras.Variable)]
        return [variable for variable in variables if not any(variable is each for each in own)]

    def _tell(self, name: str, what: str) -> None:
        if name not in self._told:
            self._told.add(name)
            _LOG.info("%s: `%s` %s", type(self._callback).__qualname__, name, what)


def is_record(record: Any) -> bool:
    """Tell whether this is what `Memory.record` returns; each attribute is checked when it is put back."""
    kinds = {"class": str, "settings": dict, "attributes": dict}
    if not isinstance(record, dict) or any(type(record.get(name)) is not kind for name, kind in kinds.items()):
        return False
    file = record.get("file", {"bytes": 0})
    is_file = isinstance(file, dict) and type(file.get("bytes")) is int and file["bytes"] >= 0
    return is_file and all(type(value) in _PLAIN for value in record["settings"].values())


def _settings(callback: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(callback).items() if type(value) in _PLAIN}


def found_again(callbacks: Sequence[Any], records: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Return by the place of a callback the number of its record: same class and quantity, most settings in common."""
    likeness = sorted(
        (-len(settings.items() & record["settings"].items()), place, number)
        for place, settings in enumerate(map(_settings, callbacks))
        for number, record in enumerate(records)
        if type(callbacks[place]).__qualname__ == record["class"]
        and settings.get("monitor") == record["settings"].get("monitor")
    )
    found: dict[int, int] = {}
    for _, place, number in likeness:
        if place not in found and number not in found.values():
            found[place] = number
    for number in set(range(len(records))) - set(found.values()):
        _LOG.info("%s is no longer among the callbacks; what it remembered is gone", records[number]["class"])
    return found


@contextlib.contextmanager
def goes_on_with_file(callback: Any, record: Mapping[str, Any], epoch: int) -> Iterator[None]:
    """Let CSVLogger keep the rows of its file up to an epoch, also where a new call would write over it."""
    if not isinstance(callback, keras.callbacks.CSVLogger) or record.get("file", {}).get("name") != callback.filename:
        yield
        return
    if Path(callback.filename).is_file():
        with Path(callback.filename).open("r+b") as file:
            file.seek(record["file"]["bytes"])
            cells = [line.split(callback.sep.encode())[0] for line in file.read().splitlines()]
            if cells and all(cell == b"epoch" or (cell.isdigit() and int(cell) >= epoch) for cell in cells):
                file.truncate(record["file"]["bytes"])
                _LOG.info("CSVLogger: the rows of %s from epoch %d on are written again", callback.filename, epoch)
    asked, callback.append = callback.append, True
    try:
        yield
    finally:
        callback.append = asked


def _carried(value: Any) -> Any:
    """Return a copy as JSON values and arrays; a TypeError or ValueError if it is of another kind, or too long."""
    left = _MOST_VALUES

    def carried(value: Any, depth: int = _DEEPEST) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth < 0:
            raise ValueError("too many values")
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is tuple:
            return {"tuple": [carried(item, depth - 1) for item in value]}
        if kind is dict:
            return {"dict": [[carried(key, depth - 1), carried(item, depth - 1)] for key, item in value.items()]}
        if kind is list:
            packed = _packed(value)
            return [carried(item, depth - 1) for item in value] if packed is None else {"list": packed}
        if isinstance(value, np.generic):
            return {"scalar": _array(value)}
        if keras.ops.is_tensor(value) and hasattr(value, "numpy") and not hasattr(value, "assign"):
            return {"tensor": _array(value.numpy())}
        return _array(value)

    return carried(value)


def _packed(values: list[Any]) -> Any:
    """Return a long list of numbers as an array: as JSON it would soon be larger than the weights."""
    kinds = set(map(type, values))
    if len(values) < _LONG_LIST or len(kinds) > 1 or not kinds <= _PACKED.keys():
        return None
    array = np.array(values)
    return array if array.dtype == _PACKED[kinds.pop()] else None


def _array(value: Any) -> Any:
    """Return a copy; a TypeError if no checkpoint can hold it."""
    if type(value) is not np.ndarray and not isinstance(value, np.generic):
        raise TypeError(type(value).__qualname__)
    array = np.array(value)
    if array.dtype.kind not in "biu" and array.dtype.name not in _FLOATS:
        raise TypeError(f"an array of {array.dtype}")
    return array


def _taken_back(carried: Any, depth: int = _DEEPEST) -> Any:
    """Undo `_carried`; an error of Python's if this is something else."""
    if depth < 0:
        raise ValueError("too deep")
    if isinstance(carried, np.ndarray):
        return np.array(carried)  # what a file gave cannot be written to
    if isinstance(carried, list):
        return [_taken_back(item, depth - 1) for item in carried]
    if not isinstance(carried, dict):
        return carried
    [(kind, value)] = carried.items()
    if kind == "dict":
        return {_taken_back(key, depth - 1): _taken_back(item, depth - 1) for key, item in value}
    if kind == "tuple":
        return tuple(_taken_back(item, depth - 1) for item in value)
    if kind == "tensor":
        return keras.ops.convert_to_tensor(value)
    return value.tolist() if kind == "list" else value[()]


def _digest(carried: Any) -> str:
    def of_array(array: Any) -> list[Any]:
        return [array.dtype.name, array.shape, hashlib.sha256(array.tobytes()).hexdigest()]

    return hashlib.sha256(json.dumps(carried, default=of_array).encode()).hexdigest()
