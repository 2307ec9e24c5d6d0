"""Make each of the user's layers of a live model anew from its own config, and see what is another one then."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import random
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_estimator.doctor.config_tree import made_by_config
from keras_estimator.doctor.configs import OF_BASE
from keras_estimator.model.carrying.installed_code import is_library

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

_MOST_WEIGHTS = 50_000_000  # a large model is not made twice
_DONE: weakref.WeakKeyDictionary[LiveModel, dict[str, Remade]] = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class Remade:
    """One layer and what its own config makes.

    Attributes:
        layer: The layer.
        config: What its `get_config` gives; None if that fails.
        made: What its `from_config` makes of that; None if that fails.
        error: Why one of both fails.
    """

    layer: Any
    config: Mapping[str, Any] | None
    made: Any
    error: Exception | None

    @property
    def arguments(self) -> list[str]:
        """The arguments of its `__init__` that no base class of Keras puts into a config."""
        base = OF_BASE["model"] | OF_BASE["layer"]
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        given = list(inspect.signature(type(self.layer).__init__).parameters.values())[1:]
        return [one.name for one in given if one.kind in kinds and one.name not in base]

    @property
    def takes_args(self) -> str:
        """The name of its `*args`; empty if it takes none."""
        given = inspect.signature(type(self.layer).__init__).parameters.values()
        return next((one.name for one in given if one.kind is inspect.Parameter.VAR_POSITIONAL), "")

    @property
    def owner_of_init(self) -> type:
        """The class that its `__init__` is written in."""
        return owner_of(type(self.layer), "__init__")

    @property
    def owner_of_config(self) -> type:
        """The class that its `get_config` is written in."""
        return owner_of(type(self.layer), "get_config")

    @property
    def has_automatic_config(self) -> bool:
        """Whether Keras notes its arguments itself."""
        return bool(getattr(type(self.layer).get_config, "_is_default", False))

    @property
    def different(self) -> dict[str, tuple[Any, Any]]:
        """The arguments whose attributes are other ones in what was made, with the values here and there."""
        return {} if self.made is None else differing(self.layer, self.made, self.arguments)

    @property
    def missing(self) -> list[str]:
        """The arguments without which it cannot be made, and which its config does not have."""
        said = str(self.error)
        known = self.config if self.config is not None else {}
        if "missing" not in said or "argument" not in said:
            return []
        return [name for name in self.arguments if name not in known and f"'{name}'" in said]


def remade(live: LiveModel) -> dict[str, Remade]:
    """Return what the config of each of the user's layers makes, by their paths."""
    if live not in _DONE:
        _DONE[live] = {}
        with contextlib.suppress(Exception), live.unchanged(), _same_luck():
            for path, layer in made_by_config(live).items():
                if is_users(type(layer)):
                    _DONE[live][path] = _remade(layer)
    return _DONE[live]


def _remade(layer: Any) -> Remade:
    config = None
    try:
        config = layer.get_config()
        if sum(int(np.prod(weight.shape)) for weight in layer.weights) > _MOST_WEIGHTS:
            return Remade(layer, config, None, None)
        return Remade(layer, config, type(layer).from_config(copy.copy(config)), None)
    except Exception as error:  # noqa: BLE001 - whatever the user's code says is what we want to know
        return Remade(layer, config, None, error)


@contextlib.contextmanager
def _same_luck() -> Iterator[None]:
    """Leave the random numbers of Python and NumPy as they were: each seed of Keras is drawn from the former."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's code may use it
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - as above


def owner_of(cls: type, name: str) -> type:
    """Return the class that a method of a class is written in."""
    return next((one for one in cls.__mro__ if name in vars(one)), cls)


def is_users(cls: type) -> bool:
    """Tell whether a class is the user's, and of no installed package."""
    return not is_library(cls.__module__)


def differing(one: Any, other: Any, names: list[str]) -> dict[str, tuple[Any, Any]]:
    """Return the attributes of two objects that are plain values in both, and other ones."""
    found = {}
    for name in names:
        here, there = vars(one).get(name, ...), vars(other).get(name, ...)
        if here is not ... and there is not ... and is_plain(here) and is_plain(there) and not is_same(here, there):
            found[name] = (here, there)
    return found


def is_plain(value: Any) -> bool:
    """Tell whether something is a number, a text, an array or a container of such."""
    if isinstance(value, Mapping):
        return all(is_plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(part) for part in value)
    return value is None or isinstance(value, str | bytes | int | float | complex | np.ndarray | np.generic)


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two plain values are the same; a list may be a tuple."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)  # or both are NaN
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.shape(one) == np.shape(other) and bool(np.all(np.asarray(one) == np.asarray(other)))
    return bool(one == other)


def told(different: Mapping[str, tuple[Any, Any]]) -> str:
    """Return what is different, in words."""
    parts = (
        f"`{name}` is {here!r:.60} here and {there!r:.60} in what its config makes"
        for name, (here, there) in different.items()
    )
    return "; ".join(parts)
