"""What an object that gives data holds and may change meanwhile, random states above all: note it, and put it back.

The objects of the user are looked through: attributes, lists, dicts, and what their methods use from outside. What has
changed since the object was opened is carried if it is a random state, a number, an array of numbers or a list
in another order. If anything else has, nothing can be told: whoever wants the object as it was then
has to let it do again all that it did. Of objects of libraries only random states count, as private caches come and go.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_estimator.engines.held_cells import (
    ArrayCell,
    Cell,
    DrawsCell,
    FixedCell,
    NumberCell,
    Put,
    SequenceCell,
    VariableCell,
    another,
    draws_of,
    is_number,
    sample_of,
)
from keras_estimator.model.carrying.installed_code import is_library

_MOST_OBJECTS = 2000  # that are looked at for every batch
_LONG = 64  # a list or dict of more is not looked through
_DEEPEST_IN_A_LIBRARY = 4
_CONTAINERS = (list, tuple, dict, set, frozenset, deque, bytearray)
_FRAMEWORKS = set("abc builtins collections keras keras_estimator tensorflow torch torchdata typing".split())
_NOT_DATA = (type, types.ModuleType, types.CodeType)


class HeldState:
    """What one object holds, against what it held when this was made.

    Args:
        thing: The object.

    Attributes:
        untold: What has changed so that it cannot be put back, such as `.cache`; empty if nothing has.
    """

    def __init__(self, thing: Any) -> None:
        self._thing = thing
        self._first = _cells(thing)
        for cell in self._first.values():
            if isinstance(cell, SequenceCell):
                cell.hold()
        self._marks = {path: cell.mark() for path, cell in self._first.items()}
        self._carried: dict[str, tuple[Any, Any]] = {}  # of what is large, by its mark
        self.untold = ""

    def noted(self) -> dict[str, Any] | None:
        """Return random states and what has changed, by its place in the object; None if that cannot be told."""
        if self.untold:
            return None
        cells = _cells(self._thing)
        differing = sorted(cells.keys() ^ self._first.keys())
        found: dict[str, Any] = {}
        for path, cell in cells.items() if not differing else ():
            mark = cell.mark()
            if mark == self._marks[path] and not isinstance(cell, DrawsCell):
                continue
            known, value = self._carried.get(path, (None, None))
            if isinstance(cell, DrawsCell) or known != mark:
                value = cell.carried(self._first[path])
                self._carried[path] = mark, value
            if value is None:
                differing.append(path)
            found[path] = value
        self.untold = differing[0] if differing else ""
        return None if differing else found

    def put_back(self, noted: Any) -> None:
        """Let the object hold again what `noted` has returned.

        Raises:
            InputError: it is not that, or this is another object.
        """
        cells = _cells(self._thing)
        try:
            puts = [cells[path].put_back(value, self._first[path]) for path, value in noted.items()]
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise another(f"{type(error).__name__}: {error}") from error
        for put in puts:
            put()


def _cells(thing: Any) -> Mapping[str, Cell]:
    look = _Look(thing)
    look.at("", thing)
    return look.cells


class _Look:
    """One walk over what an object holds."""

    def __init__(self, thing: Any) -> None:
        self.cells: dict[str, Cell] = {}
        self._packages = {_package(kind) for kind in type(thing).__mro__} - _FRAMEWORKS
        self._seen: dict[int, Any] = {}  # they live as long, so that no id comes twice

    def at(self, path: str, value: Any, put: Put = None, *, is_ours: bool = False, depth: int = 0) -> None:
        """Note what is at a place.

        Args:
            path: The place.
            value: What is there.
            put: Puts another value there; None: nobody can.
            is_ours: Whether it belongs to an object of the user, so that all that can change counts.
            depth: How deep in objects of libraries this is.
        """
        if is_number(value) or isinstance(value, str | bytes):
            if is_ours:
                self.cells[path] = NumberCell(value, put) if is_number(value) else FixedCell(value, value)
            return
        if id(value) in self._seen or isinstance(value, _NOT_DATA) or depth > _DEEPEST_IN_A_LIBRARY:
            return
        self._seen[id(value)] = value
        if len(self._seen) > _MOST_OBJECTS:
            if is_ours:
                self.cells["all that it holds: too much to look at"] = FixedCell(value, object())
            return
        found = _cell_of(value, put, is_ours=is_ours)
        if found is not None:
            self.cells[path] = found
        elif isinstance(value, _CONTAINERS):
            self._container(path, value, put, is_ours=is_ours, depth=depth)
        elif not self._function(path, value, depth):
            self._object(path, value, is_ours=is_ours, depth=depth)

    def _container(self, path: str, value: Any, put: Put, *, is_ours: bool, depth: int) -> None:
        is_short = len(value) <= _LONG
        if isinstance(value, list) and is_ours and not (is_short and any(not _is_plain(item) for item in value)):
            self.cells[path] = SequenceCell(value, put)
        elif isinstance(value, list | tuple | dict) and is_short:
            put_in = value.__setitem__ if not isinstance(value, tuple) else None
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                into = None if put_in is None else functools.partial(put_in, key)
                self.at(f"{path}[{key!r}]", item, into, is_ours=is_ours, depth=depth + (not is_ours))
        elif is_ours:
            self.cells[path] = FixedCell(value, (len(value), sample_of(value)))

    def _function(self, path: str, value: Any, depth: int) -> bool:
        """Look at what a function uses from outside; say whether it is one."""
        if isinstance(value, types.MethodType | types.BuiltinMethodType):
            self.at(f"{path}.__self__", value.__self__, depth=depth)
            self.at(f"{path}.__func__", getattr(value, "__func__", None), depth=depth)
            return True
        if isinstance(value, functools.partial):
            for number, part in enumerate((value.func, *value.args, *value.keywords.values())):
                self.at(f"{path}.partial[{number}]", part, depth=depth)
            return True
        if not isinstance(value, types.FunctionType):
            return False
        if self._is_of_user(value.__module__ or ""):
            for name, found, put in _from_outside(value):
                counts = is_number(found) or _is_iterator(found)
                self.at(f"{name} in {value.__qualname__}", found, put, is_ours=counts, depth=depth)
        return True

    def _object(self, path: str, value: Any, *, is_ours: bool, depth: int) -> None:
        is_of_user = self._is_of_user(type(value).__module__)
        if is_ours and not is_of_user:  # where an iterator is nobody can tell
            self.cells[path] = FixedCell(value, object() if _is_iterator(value) else id(value))
        if _is_layer(value):
            # A model that is trained has its seeds in the checkpoints already.
            for number, variable in enumerate(value.variables if getattr(value, "optimizer", None) is None else ()):
                self.at(f"{path}.variables[{number}]", variable)
            return
        for name, found in _attributes(value):
            into = functools.partial(setattr, value, name)
            self.at(f"{path}.{name}", found, into, is_ours=is_of_user, depth=0 if is_of_user else depth + 1)
        for kind in type(value).__mro__ if is_of_user else ():
            if self._is_of_user(kind.__module__):
                self._class(kind)

    def _class(self, kind: type) -> None:
        if id(kind) in self._seen:
            return
        self._seen[id(kind)] = kind
        for name, found in list(vars(kind).items()):
            held = getattr(found, "fget", getattr(found, "__func__", found))
            is_counter = is_number(held) and held is not None
            if is_counter or isinstance(held, types.FunctionType) or draws_of(held) is not None:
                self.at(f"{kind.__qualname__}.{name}", held, is_ours=is_number(held))

    def _is_of_user(self, module: str) -> bool:
        return not _is_of_library(module) or module.partition(".")[0] in self._packages


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _is_plain(value: Any) -> bool:
    return is_number(value) or isinstance(value, str | bytes)


def _is_iterator(value: Any) -> bool:
    return hasattr(type(value), "__next__")


def _is_layer(value: Any) -> bool:
    return any(kind.__name__ == "Layer" and _package(kind) in ("keras", "tf_keras") for kind in type(value).__mro__)


def _cell_of(value: Any, put: Put, *, is_ours: bool) -> Cell | None:
    """Return the cell of what is neither a container nor an object to look through."""
    draws = draws_of(value)
    if draws is not None:
        return DrawsCell(*draws)
    if VariableCell.is_small_count(value):
        return VariableCell(value)
    if not isinstance(value, np.ndarray) or not is_ours:
        return None
    if not value.flags.writeable or isinstance(value, np.memmap):
        return FixedCell(value, id(value))
    return ArrayCell(value, put) if value.dtype.kind in "biufc" else SequenceCell(value, put)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from list(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        names = getattr(kind, "__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield name, getattr(value, name)


def _from_outside(function: types.FunctionType) -> Iterator[tuple[str, Any, Put]]:
    """Yield what a function has in its closure, and the globals that it names, each with what puts another there."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # nothing was put into it yet
            yield name, cell.cell_contents, functools.partial(setattr, cell, "cell_contents")
    known = function.__globals__
    for name in _names(function.__code__):
        if name in known and not isinstance(known[name], _NOT_DATA):
            yield name, known[name], functools.partial(known.__setitem__, name)


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    inner = [name for each in code.co_consts if isinstance(each, types.CodeType) for name in _names(each)]
    return tuple(dict.fromkeys((*code.co_names, *inner)))


@functools.lru_cache(maxsize=1024)
def _is_of_library(module: str) -> bool:
    return is_library(module)
