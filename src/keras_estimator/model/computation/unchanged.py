"""Put back what running a model changes in it: attributes, containers, variables, tables.

Tracing or running a model changes it: an optimizer gets its slots, a counter in Python counts, a metric
collects. Inside `unchanged` all that may happen; afterwards the model is what it was before.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import operator
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from keras_estimator.model.anatomy import layers_by_path
from keras_estimator.model.by_class import by_class
from keras_estimator.model.carrying import carried_parts, tensorflow_parts
from keras_estimator.model.carrying.container_records import slots_of
from keras_estimator.model.carrying.object_graph import ObjectGraph, no_garbage_collection
from keras_estimator.model.carrying.shells import Target

Restore = Callable[[], object]
_PLAIN_CONTAINERS = frozenset({list, dict, set})


@contextlib.contextmanager
def unchanged(thing: Any, *, values: bool) -> Iterator[None]:
    """Let the code inside run a model, and put everything back that this changes in it.

    What only a class, a module or a file holds is not put back.

    Args:
        thing: The model.
        values: Whether the values of variables, arrays and tables are put back, too; tracing changes none.

    Raises:
        BlueprintError: The model holds something that cannot be copied, such as an open file.
    """
    with no_garbage_collection():
        graph = ObjectGraph(Target.THIS_PROCESS)
        graph.explore(thing)
        restores = list(_restores(graph.things, values=values))
    try:
        yield
    finally:
        _put_back(restores)


def _put_back(restores: list[Restore]) -> None:
    """Put all back, even if some of it cannot be."""
    failure = None
    for restore in reversed(restores):
        try:
            restore()
        except Exception as error:  # noqa: BLE001 - raised below; the others come first
            failure = failure or error
    if failure is not None:
        raise failure


def wrap_calls(model: Any, wrapped: Callable[[Callable[..., Any], str], Callable[..., Any]]) -> None:
    """Put something around the `call` of each layer of a model; only inside `unchanged`, which takes it away.

    Args:
        model: The model.
        wrapped: Given a `call` and the path of its layer, returns what stands in its place.
    """
    for path, layer in layers_by_path(model).items():
        vars(layer)["call"] = wrapped(layer.call, path)


def _restores(things: list[Any], *, values: bool) -> Iterator[Restore]:
    seen: set[int] = set()
    waiting = list(things)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if values and (restore := _of_value(thing)) is not None:
            yield restore
        of_container, has_attributes, slots = _ways_to_put_back(type(thing))
        if of_container is not None and (restore := of_container(thing)) is not None:
            yield restore
        attributes = _attributes(thing) if has_attributes else None
        if attributes is not None:
            yield _of_dict(dict, attributes)
        if slots:
            yield from _of_slots(thing, slots)
        # Records of Keras and TensorFlow that a copy leaves out are plain containers of the object itself.
        waiting.extend([inner for inner in _inside(thing, attributes) if type(inner) in _PLAIN_CONTAINERS])


def _inside(thing: Any, attributes: dict[str, Any] | None) -> Iterable[Any]:
    if type(thing) is list:
        return list(thing)
    if type(thing) is dict:
        return list(thing.values())
    inside = (attributes or {}).values()
    is_wrapper = isinstance(thing, carried_parts.wrapper_classes())
    return (*inside, getattr(thing, "__wrapped__", None)) if is_wrapper else inside


@by_class
def _ways_to_put_back(cls: type) -> tuple[Callable[[Any], Restore | None] | None, bool, list[tuple[type, str, Any]]]:
    """Return what holds something in objects of a class: a container's items, whether attributes, slots."""
    has_attributes = cls.__dictoffset__ != 0 and not issubclass(cls, type | types.ModuleType)
    return _container_of(cls), has_attributes, slots_of(cls)


def _of_slots(thing: Any, slots: list[tuple[type, str, Any]]) -> Iterator[Restore]:
    for _, _, member in slots:
        try:
            held = member.__get__(thing)
        except AttributeError:
            continue  # it is empty
        yield functools.partial(member.__set__, thing, held)


def _attributes(thing: Any) -> dict[str, Any] | None:
    try:
        attributes: dict[str, Any] = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return None  # a class in C may hide it
    return attributes if type(attributes) is dict else None


def _of_value(thing: Any) -> Restore | None:
    if isinstance(thing, np.ndarray) and thing.flags.writeable:
        kept = thing.copy()
        return functools.partial(np.copyto, thing, kept)
    return tensorflow_parts.keep_value(thing)


def _container_of(cls: type) -> Callable[[Any], Restore | None] | None:
    """Return what puts back the items of containers of a class, past the methods of the class that Keras made of it."""
    for mapping in (collections.OrderedDict, dict):
        if issubclass(cls, mapping):
            return functools.partial(_of_dict, mapping)
    for sequence in (list, set, collections.deque):
        if issubclass(cls, sequence):
            return functools.partial(_of_items, sequence)
    return _of_cell if issubclass(cls, types.CellType) else None


def _of_items(base: Any, thing: Any) -> Restore:
    items = list(base.__iter__(thing))
    add = base.update if base is set else base.extend

    def restore() -> None:
        if not _are_same(list(base.__iter__(thing)), items):
            base.clear(thing)
            add(thing, items)

    return restore


def _of_dict(cls: Any, thing: Any) -> Restore:
    keys, held = list(cls.keys(thing)), list(cls.values(thing))

    def restore() -> None:
        if not (_are_same(cls.values(thing), held) and _are_same(cls.keys(thing), keys)):
            cls.clear(thing)
            cls.update(thing, zip(keys, held, strict=True))

    return restore


def _are_same(now: Any, before: list[Any]) -> bool:
    return len(now) == len(before) and all(map(operator.is_, now, before))


def _of_cell(cell: types.CellType) -> Restore | None:
    try:
        content = cell.cell_contents
    except ValueError:
        return None

    def restore() -> None:
        cell.cell_contents = content

    return restore
