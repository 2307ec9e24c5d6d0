"""The places of an object at which something may change: how each is compared, carried in a checkpoint and put back."""

from __future__ import annotations

import functools
import itertools
import random
import sys
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from keras_estimator.engines.plain_values import MOST_BYTES
from keras_estimator.errors import InputError

Put = Callable[[Any], object] | None  # puts another value at a place; None: nobody can

_SAMPLED = 64  # items of an array or list by which it is seen to be another one
_COUNTS = 64  # the most numbers of a variable that is a seed or a counter, no weight


class Cell(Protocol):
    """One place of an object, with what is there now."""

    def mark(self) -> Any:
        """Return what is another thing once this has changed, and is cheap."""

    def carried(self, first: Any) -> Any:
        """Return what has become of `first`, the cell of the same place, as plain values; None: nobody can tell."""

    def put_back(self, carried: Any, first: Any) -> Callable[[], object]:
        """Return what puts back what `carried` has returned.

        Raises:
            InputError: it is something else; where Python is the first to notice, an error of Python's.
        """


class NumberCell:
    """A number, or None."""

    def __init__(self, value: Any, put: Put) -> None:
        self._value, self._put = value, put

    def mark(self) -> Any:
        return type(self._value), repr(self._value)

    def carried(self, first: Any) -> Any:
        del first
        return None if self._put is None else {"number": self._value}

    def put_back(self, carried: Any, first: Any) -> Callable[[], object]:
        del first
        return functools.partial(_the(self._put), _checked(carried["number"], is_number))


class FixedCell:
    """What nobody can put back if it changes."""

    def __init__(self, value: Any, mark: Any) -> None:
        self._value, self._mark = value, mark  # as long as it lives, no other has its id

    def mark(self) -> Any:
        return self._mark

    def carried(self, first: Any) -> Any:
        del first

    def put_back(self, carried: Any, first: Any) -> Callable[[], object]:
        raise another("something else where nothing can be put")


class DrawsCell:
    """A generator of random numbers.

    Args:
        get: Returns its state.
        put: Takes the state.
    """

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], object]) -> None:
        self._get, self._put = get, put

    def mark(self) -> Any:
        return None

    def carried(self, first: Any) -> Any:
        del first
        return {"state": self._get()}

    def put_back(self, carried: Any, first: Any) -> Callable[[], object]:
        del first
        before = self._get()
        self._put(carried["state"])  # there is no other way to find out whether it is one
        self._put(before)
        return functools.partial(self._put, carried["state"])


class VariableCell:
    """A variable of the backend with few whole numbers: the state of a seed generator, a counter."""

    def __init__(self, variable: Any) -> None:
        self._variable = variable

    @staticmethod
    def is_small_count(variable: Any) -> bool:
        """Tell whether this is one."""
        if not all(hasattr(variable, name) for name in ("assign", "numpy", "shape", "dtype")):
            return False
        kind = str(getattr(variable.dtype, "name", variable.dtype))
        return kind.startswith(("int", "uint")) and int(np.prod(variable.shape)) <= _COUNTS

    def _value(self) -> np.ndarray[Any, Any]:
        return np.array(self._variable.numpy())

    def mark(self) -> Any:
        return self._value().tobytes()

    def carried(self, first: Any) -> Any:
        del first
        return {"array": self._value()}

    def put_back(self, carried: Any, first: Any) -> Callable[[], object]:
        del first
        now, array = self._value(), carried["array"]
        if (array.shape, array.dtype) != (now.shape, now.dtype):
            raise another(f"{array.dtype}{array.shape} for {now.dtype}{now.shape}")
        return functools.partial(self._variable.assign, array)


class ArrayCell:
    """An array of numbers."""

    def __init__(self, array: np.ndarray[Any, Any], put: Put) -> None:
        self.array, self._put = array, put

    def mark(self) -> Any:
        sample = self.array.flat[places(self.array.size)]
        return self.array.shape, self.array.dtype.str, zlib.crc32(sample.tobytes())

    def carried(self, first: Any) -> Any:
        is_other = self.array is not getattr(first, "array", None)
        if self.array.nbytes > MOST_BYTES or (is_other and self._put is None):
            return None
        return {"array": self.array.copy(), "is_other": is_other}

    def put_back(self, carried: Any, first: Any) -> Callable[[], object]:
        del first
        array = _checked(carried["array"], lambda value: isinstance(value, np.ndarray))
        if carried["is_other"]:
            return functools.partial(_the(self._put), array)
        if (array.shape, array.dtype) != (self.array.shape, self.array.dtype):
            raise another(f"{array.dtype}{array.shape} for {self.array.dtype}{self.array.shape}")
        return functools.partial(np.copyto, self.array, array)


class SequenceCell:
    """A list, or an array of texts or objects: carried as the order of what it held first, or as its numbers."""

    def __init__(self, value: Any, put: Put) -> None:
        self.value, self._put = value, put
        self.items: list[Any] = []

    def hold(self) -> None:
        """Keep what is in it now, which is what it held first."""
        self.items = list(self.value)

    def mark(self) -> Any:
        return len(self.value), sample_of(self.value)

    def carried(self, first: Any) -> Any:
        now, is_other = list(self.value), self.value is not getattr(first, "value", None)
        if getattr(self.value, "ndim", 1) != 1 or (is_other and self._put is None):
            return None
        known = {_key(item): place for place, item in enumerate(getattr(first, "items", ()))}
        order = [known.get(_key(item), -1) for item in now]
        if -1 not in order:
            return {"order": np.array(order, np.uint32), "is_other": is_other}
        return {"numbers": now, "is_other": is_other} if all(map(is_number, now)) else None

    def put_back(self, carried: Any, first: Any) -> Callable[[], object]:
        if "numbers" in carried:
            items = [_checked(item, is_number) for item in carried["numbers"]]
        else:
            items = [first.items[place] for place in carried["order"].tolist()]
        made = _made_like(self.value, items)
        if carried["is_other"]:
            return functools.partial(_the(self._put), made)
        if isinstance(made, list):
            return functools.partial(self.value.__setitem__, slice(None), made)
        return functools.partial(np.copyto, self.value, made)


def _made_like(value: Any, items: list[Any]) -> Any:
    if not isinstance(value, np.ndarray):
        return items
    made = np.empty(len(items), value.dtype)
    made[:] = items
    return made


def is_number(value: Any) -> bool:
    """Tell whether this is a number of Python's, or None."""
    return value is None or type(value) in (bool, int, float)


def sample_of(values: Any) -> tuple[Any, ...]:
    """Return some items of a list or array, or the first ones of another container, so that they can be compared."""
    if isinstance(values, list | tuple | np.ndarray):
        return tuple(_key(values[place]) for place in places(len(values)))
    items: Iterable[Any] = values.values() if isinstance(values, dict) else values
    return tuple(_key(item) for item in itertools.islice(items, _SAMPLED))


def _key(item: Any) -> Any:
    return (type(item), item) if is_number(item) or isinstance(item, str | bytes) else id(item)


@functools.lru_cache(maxsize=256)
def places(size: int, most: int = _SAMPLED) -> np.ndarray[Any, Any]:
    """Return places in an array of a size, evenly spread: all, or `most`."""
    return np.linspace(0, size - 1, min(size, most)).astype(np.int64)


def draws_of(value: Any) -> tuple[Callable[[], Any], Callable[[Any], object]] | None:
    """Return what gives and what takes the state of a generator of random numbers; None if this is none."""
    torch: Any = sys.modules.get("torch")
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    if isinstance(value, np.random.BitGenerator):
        return lambda: value.state, functools.partial(setattr, value, "state")
    if isinstance(value, np.random.RandomState):
        return functools.partial(value.get_state, legacy=False), value.set_state
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return value.getstate, value.setstate
    if torch is not None and isinstance(value, torch.Generator):
        return value.get_state, value.set_state
    return None


def another(found: str) -> InputError:
    """Return the error that an object is none that can be what it was when a checkpoint was written."""
    return InputError(
        "the data cannot be what they were when the checkpoint was written",
        found=found[:200],
        expected="the random states, numbers and arrays that they had, at the same places",
        fix='make them as they were made then; or begin them anew: RunConfig(data_position="restart")',
    )


def _checked(value: Any, fits: Callable[[Any], bool]) -> Any:
    if not fits(value):
        raise another(f"a {type(value).__qualname__} where it cannot be")
    return value


def _the(put: Put) -> Callable[[Any], object]:
    if put is None:
        raise another("something else where nothing can be put")
    return put
