"""Put back what running a model changes in it: attributes, containers, variables, tables.

Tracing or running a model changes it: an optimizer gets its slots, a counter in Python counts, a metric
collects. Inside `unchanged` all that may happen; afterwards the model is what it was before.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_estimator.model.anatomy import layers_by_path
from keras_estimator.model.carrying import carried_parts, tensorflow_parts
from keras_estimator.model.carrying.container_records import slots_of
from keras_estimator.model.carrying.object_graph import ObjectGraph, no_garbage_collection
from keras_estimator.model.carrying.shells import Target

Restore = Callable[[], object]


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
    # A stack calls all that is on it, even if one of them fails.
    with contextlib.ExitStack() as stack:
        with no_garbage_collection():
            graph = ObjectGraph(Target.THIS_PROCESS)
            graph.explore(thing)
            for restore in _restores(graph.things, values=values):
                stack.callback(restore)
        yield


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
        if (restore := _of_container(thing)) is not None:
            yield restore
        attributes = _attributes(thing)
        if attributes is not None:
            yield _of_dict(dict, attributes)
        yield from _of_slots(thing)
        # Records of Keras and TensorFlow that a copy leaves out are plain containers of the object itself.
        waiting.extend(inner for inner in _inside(thing, attributes) if type(inner) in (list, dict, set))


def _inside(thing: Any, attributes: dict[str, Any] | None) -> Iterator[Any]:
    yield from (attributes or {}).values()
    if type(thing) is list:
        yield from thing
    elif type(thing) is dict:
        yield from thing.values()
    elif isinstance(thing, carried_parts.wrapper_classes()):
        yield getattr(thing, "__wrapped__", None)


def _of_slots(thing: Any) -> Iterator[Restore]:
    for _, _, member in slots_of(type(thing)):  # type: ignore[arg-type]  # a class can be hashed
        try:
            held = member.__get__(thing)
        except AttributeError:
            continue  # it is empty
        yield functools.partial(member.__set__, thing, held)


def _attributes(thing: Any) -> dict[str, Any] | None:
    if isinstance(thing, type | types.ModuleType):
        return None
    try:
        attributes: dict[str, Any] = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return None
    return attributes if type(attributes) is dict else None


def _of_value(thing: Any) -> Restore | None:
    if isinstance(thing, np.ndarray) and thing.flags.writeable:
        kept = thing.copy()
        return functools.partial(np.copyto, thing, kept)
    return tensorflow_parts.keep_value(thing)


def _of_container(thing: Any) -> Restore | None:
    """Return what puts the items of a container back, past the methods of the class that Keras made of it."""
    cls = type(thing)
    for base in (collections.OrderedDict, dict):
        if issubclass(cls, base):
            return _of_dict(base, thing)
    if issubclass(cls, list):
        return _of_items(list, thing)
    if issubclass(cls, set):
        return _of_items(set, thing)
    if issubclass(cls, collections.deque):
        return _of_items(collections.deque, thing)
    return _of_cell(thing) if issubclass(cls, types.CellType) else None


def _of_items(base: Any, thing: Any) -> Restore:
    items = list(base.__iter__(thing))
    add = base.update if base is set else base.extend

    def restore() -> None:
        now = list(base.__iter__(thing))
        if len(now) != len(items) or any(one is not other for one, other in zip(now, items, strict=True)):
            base.clear(thing)
            add(thing, items)

    return restore


def _of_dict(cls: Any, thing: Any) -> Restore:
    pairs = list(cls.items(thing))

    def restore() -> None:
        now = list(cls.items(thing))
        same = len(now) == len(pairs) and all(map(_is_same_pair, now, pairs))
        if not same:
            cls.clear(thing)
            cls.update(thing, pairs)

    return restore


def _is_same_pair(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return one[0] is other[0] and one[1] is other[1]


def _of_cell(cell: types.CellType) -> Restore | None:
    try:
        content = cell.cell_contents
    except ValueError:
        return None

    def restore() -> None:
        cell.cell_contents = content

    return restore
