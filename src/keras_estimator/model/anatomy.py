"""Take a Keras model apart: every variable it holds, by a path that is the same in every process.

The walk follows the live object graph (attributes, lists, dicts, closures, globals that the user's
functions read), not Keras's own lists, because those leave out raw `tf.Variable`s, and variables
whose layer Keras does not track. Paths come from attribute names and from layer names, with the
process-wide counter of automatic names taken out (`dense_7` is `dense` if it is the first Dense of
its model), so a model that is built again in another process has the same paths.

Private attributes of Keras that we know by name: `_BOOKKEEPING`, `_OWNERS_LAST` (checked by
tests/test_anatomy.py).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import re
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_estimator.model.by_class import by_class
from keras_estimator.model.keras_private import storage_of

# Keras's and TensorFlow's own records about an object: they hold nothing that is not found elsewhere.
_BOOKKEEPING = frozenset(
    """
    _tracker _trainable_variables _non_trainable_variables _seed_generators _inbound_nodes _outbound_nodes
    _nodes _nodes_by_depth _operations _operations_by_depth _inputs _outputs _inputs_struct _outputs_struct
    _losses _loss_ids _losses_override _call_signature _auto_config _compile_config _compiled_trainable_state
    _trainable_variables_indices _distribute_strategy _distribution_strategy _saved_model_inputs_spec
    _saved_model_arg_spec _tracked _dtype_policy train_function test_function predict_function _variables
    _functional build quantize history
    """.split()
)
# Walked after everything else, so that a weight is known by its layer and not by its optimizer's slot.
_OWNERS_LAST = ("optimizer", "_loss_tracker", "_compile_metrics", "_compile_loss", "_metrics")
_FOREIGN = frozenset(
    """
    tensorflow numpy builtins threading weakref logging inspect types functools collections google absl
    wrapt h5py ml_dtypes jax torch pandas optree typing abc enum re os sys pathlib _thread _io
    """.split()
)
# What holds nothing: a vocabulary of a million words is passed over at once.
_PLAIN_VALUES = (str, bytes, int, float, complex, type(None), np.ndarray, np.generic)
_PLAIN_TYPES = frozenset({*_PLAIN_VALUES, bool})


@dataclasses.dataclass(frozen=True)
class Holding:
    """One variable of a model and who holds it.

    Attributes:
        path: Its name in checkpoints, such as `dense_1/kernel` or `optimizer/momentums/0`.
        variable: The `keras.Variable`, or the raw variable of the backend.
        owner: The object in whose attribute (or the function in whose closure) it was found.
        attribute: The name of that attribute.
        is_raw: Whether it is a variable of the backend that Keras does not wrap.
    """

    path: str
    variable: Any
    owner: Any
    attribute: str
    is_raw: bool

    @property
    def storage(self) -> Any:
        """The variable of the backend that has the value."""
        return self.variable if self.is_raw else storage_of(self.variable)

    @property
    def is_idle(self) -> bool:
        """Whether it asks to be trained although Keras does not know it."""
        return self.is_raw and bool(self.variable.trainable)


class _Place(NamedTuple):
    """An object on the walk: where it was found."""

    thing: Any
    path: tuple[str, ...]
    owner: Any
    attribute: str


def holdings(model: Any) -> list[Holding]:
    """Return every variable that `model` holds, each once, weights first.

    Args:
        model: A Keras model, built or not; variables that do not exist yet are left out.

    Returns:
        One `Holding` for each variable; paths are unique and the order is the same in every process.
    """
    found: list[Holding] = []
    taken: set[str] = set()
    for place, storage in _walk(model):
        if storage is not None:
            path = _unique("/".join(place.path) or "variable", taken)
            is_raw = not isinstance(place.thing, keras.Variable)
            found.append(Holding(path, place.thing, place.owner, place.attribute, is_raw))
    return found


def weight_holdings(model: Any) -> list[Holding]:
    """Return those of `holdings` that are weights of layers, or raw variables in layers.

    Args:
        model: A Keras model.

    Returns:
        They, without optimizers, metrics and seeds.
    """
    weights = {id(storage_of(weight)) for weight in model.weights}
    return [
        holding
        for holding in holdings(model)
        if id(holding.storage) in weights or (holding.is_raw and isinstance(holding.owner, keras.Layer))
    ]


def layers_by_path(model: Any) -> dict[str, keras.Layer]:
    """Return every layer that `model` holds, those that Keras does not track, too.

    Args:
        model: A Keras model.

    Returns:
        The layers by paths like those of `holdings`, the outer ones first; the model itself is `""`.
    """
    taken: set[str] = set()
    layers = (place for place, _ in _walk(model) if isinstance(place.thing, keras.Layer))
    return {_unique("/".join(place.path), taken): place.thing for place in layers}


def _walk(model: Any) -> Iterator[tuple[_Place, Any]]:
    """Yield every object that is reached, once, and the storage of its value if it is a variable."""
    seen: set[int] = set()
    keep_alive: list[Any] = []  # an id is only unique while its object lives
    now: list[_Place] = [_Place(model, (), model, "")]
    later: deque[_Place] = deque()
    while now or later:
        place = now.pop() if now else later.popleft()
        storage = _storage(place.thing)
        key = id(place.thing if storage is None else storage)
        if key in seen:
            continue
        seen.add(key)
        keep_alive.append(place.thing)
        yield place, storage
        if storage is not None or isinstance(place.thing, keras.Variable):
            continue  # a Keras variable without storage is declared, but has no value yet
        first: list[_Place] = []
        for child in _children(place):
            (later if _comes_last(child) else first).append(child)
        now.extend(reversed(first))


def _comes_last(place: _Place) -> bool:
    return place.attribute in _OWNERS_LAST or _is_owner(type(place.thing))


@by_class
def _is_owner(cls: type) -> bool:
    return issubclass(cls, keras.optimizers.Optimizer | keras.metrics.Metric)


def _unique(path: str, taken: set[str]) -> str:
    candidate, number = path, 1
    while candidate in taken:
        number += 1
        candidate = f"{path}~{number}"
    taken.add(candidate)
    return candidate


def _storage(thing: Any) -> Any:
    """Return the object that holds the value of a variable; None if `thing` is no variable."""
    if isinstance(thing, keras.Variable):
        return storage_of(thing)
    tensorflow = sys.modules.get("tensorflow")
    return thing if tensorflow is not None and isinstance(thing, tensorflow.Variable) else None


def _children(place: _Place) -> Iterator[_Place]:
    thing, path = place.thing, place.path
    for names, inner in _items(thing):
        yield _Place(inner, (*path, *names), place.owner, place.attribute)
    if isinstance(thing, types.FunctionType):
        yield from _captured(thing, path)
    elif not isinstance(thing, Mapping | list | tuple | deque | set | frozenset) and _is_walkable(thing):
        yield from _attributes(thing, path)


def _items(thing: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what a container, a partial function or a bound method holds, with a name for each."""
    if isinstance(thing, Mapping):
        held = [(key, value) for key, value in list(thing.items()) if not isinstance(value, _PLAIN_VALUES)]
        places = _item_names(key for key, _ in held)
        for place, (key, value) in zip(places, held, strict=True):
            # The text of any other key may hold a number that is another one in every process.
            yield (_plain(str(key)) if isinstance(key, str | int | tuple | enum.Enum) else place,), value
    elif isinstance(thing, list | tuple | deque):
        if not all(isinstance(value, _PLAIN_VALUES) for value in thing):
            yield from (((name,), value) for name, value in zip(_item_names(thing), thing, strict=True))
    elif isinstance(thing, set | frozenset):
        yield from (((_sort_key(value)[1],), value) for value in sorted(thing, key=_sort_key))
    elif isinstance(thing, functools.partial):
        yield from (((), part) for part in (thing.func, list(thing.args), dict(thing.keywords)))
    elif isinstance(thing, types.MethodType):
        yield from (((), part) for part in (thing.__self__, thing.__func__))


def _attributes(thing: Any, path: tuple[str, ...]) -> Iterator[_Place]:
    attributes = dict(getattr(thing, "__dict__", {}))
    # A graph of layers has layer names; a subclassed model has the attributes that its author chose.
    layers = attributes.pop("_layers", None)
    if isinstance(thing, keras.Sequential) or hasattr(type(thing), "operations"):
        yield _Place(layers, path, thing, "_layers")
    for name, value in (*attributes.items(), *_slots(thing)):
        if type(value) not in _PLAIN_TYPES and name not in _BOOKKEEPING and not name.startswith("_self_"):
            yield _Place(value, (*path, name.strip("_")), thing, name)
    yield _Place(layers, path, thing, "_layers")
    for cls in type(thing).__mro__:
        if not is_foreign(cls):
            for name, value in vars(cls).items():
                function = getattr(value, "__func__", getattr(value, "fget", value))  # also of a static one, a property
                if isinstance(function, types.FunctionType):
                    yield from _captured(function, (*path, name.strip("_")))
                elif _storage(value) is not None or isinstance(value, keras.Layer | list | dict):
                    yield _Place(value, (*path, name.strip("_")), thing, name)
    python_function = getattr(thing, "python_function", None)
    if python_function is not None:
        yield _Place(python_function, path, thing, "python_function")


def _slots(thing: Any) -> Iterator[tuple[str, Any]]:
    for cls in type(thing).__mro__:
        names = cls.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if hasattr(thing, name):
                yield name, getattr(thing, name)


def _captured(function: types.FunctionType, path: tuple[str, ...]) -> Iterator[_Place]:
    """Yield what a function of the user reaches: closure, defaults and the globals it names."""
    if is_foreign(function):
        return
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield _Place(cell.cell_contents, (*path, name), function, name)
        except ValueError:
            continue  # a cell that is not filled yet
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield _Place(default, (*path, "default"), function, "default")
    for name in names_in(code):
        value = function.__globals__.get(name)
        if _storage(value) is not None or isinstance(value, keras.Layer | list | dict) or _are_kin(value, function):
            yield _Place(value, ("globals", name), function, name)


def names_in(code: types.CodeType) -> Iterator[str]:
    """Yield the names of globals (and of attributes) that a function or a function in it reads."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_in(constant)


def _are_kin(value: Any, function: types.FunctionType) -> bool:
    """Tell whether `value` is a function or an object of the package of `function`, not of some library."""
    written = value if isinstance(value, types.FunctionType) else type(value)
    return _root(written) == _root(function) and not isinstance(value, type)


def is_foreign(thing: Any) -> bool:
    """Tell whether a class or a function is of a library that a model is made with, and not of the user."""
    return _root(thing) in _FOREIGN or _root(thing) in {"keras", "keras_estimator"}


def _root(thing: Any) -> str:
    """Return the package that a class or function is from."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0]


def _is_walkable(thing: Any) -> bool:
    if hasattr(type(thing), "python_function"):  # a tf.function
        return True
    if isinstance(thing, type | types.ModuleType | keras.KerasTensor) or inspect.isroutine(thing):
        return False
    # Of what is TensorFlow's own, tf.Module and tf.random.Generator hold variables.
    return _root(type(thing)) not in _FOREIGN or hasattr(thing, "_trackable_children")


def _item_names(items: Iterable[Any]) -> list[str]:
    """Name the items of a list: layers by their canonical names, everything else by its place."""
    names: list[str] = []
    counts: dict[str, int] = {}
    taken: set[str] = set()
    for place, item in enumerate(items):
        if not isinstance(item, keras.Layer):
            names.append(str(place))
            continue
        name = item.name
        automatic = automatic_name(type(item))
        if re.fullmatch(rf"{re.escape(automatic)}(_\d+)?", name):
            number = counts.get(automatic, 0)
            counts[automatic] = number + 1
            name = f"{automatic}_{number}" if number else automatic
        names.append(_unique(_plain(name), taken))
    return names


def automatic_name(cls: type) -> str:
    """Return the name Keras gives to the first unnamed object of a class, as `auto_name` does."""
    name = re.sub(r"\W+", "", cls.__name__)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _plain(name: str) -> str:
    return re.sub(r"[^\w.\-]", "_", name)


def _sort_key(thing: Any) -> tuple[str, str]:
    return type(thing).__qualname__, _plain(str(getattr(thing, "name", thing)))[:60]
