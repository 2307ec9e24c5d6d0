"""Take containers apart: lists, dicts, sets, arrays, and what TensorFlow wraps around them."""

from __future__ import annotations

import collections
import gc
import types
import weakref
from typing import Any

from keras_estimator.model.by_class import by_class
from keras_estimator.model.carrying import carried_parts
from keras_estimator.model.carrying.shells import Record, Target

_WITHOUT_ATTRIBUTES = frozenset({list, dict, set, collections.deque, collections.defaultdict})
DICT_VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}


def with_attributes(record: Record, thing: Any) -> Record:
    """Add what an object has in its `__dict__` and in slots to its record."""
    if type(thing) in _WITHOUT_ATTRIBUTES:
        return record
    try:
        record.attributes = dict(object.__getattribute__(thing, "__dict__"))
    except AttributeError:
        record.attributes = {}
    for name in carried_parts.PENDING_RESTORES:
        if name in record.attributes:  # they hold the open file of a checkpoint
            record.attributes[name] = type(record.attributes[name])()
    for cls, name, member in slots_of(type(thing)):
        try:
            record.slots.append((cls, name, member.__get__(thing)))
        except AttributeError:
            continue  # it is empty
    return record


@by_class
def slots_of(cls: type) -> list[tuple[type, str, Any]]:
    """Return the slots of a class: the base that has it, its name, and what reads and writes it.

    Those hold the class, so that one with slots of its own stays in memory.
    """
    members = [(base, vars(base)) for base in cls.__mro__ if "__slots__" in vars(base)]
    return [
        (base, name, member)
        for base, namespace in members
        for name, member in namespace.items()
        if isinstance(member, types.MemberDescriptorType)
    ]


def take_list(thing: Any, to: Target) -> Record:
    """Take a list apart."""
    return with_attributes(Record("list", type(thing), items=list(list.__iter__(thing))), thing)


def take_deque(thing: Any, to: Target) -> Record:
    """Take a deque apart."""
    items = list(collections.deque.__iter__(thing))
    return with_attributes(Record("deque", (type(thing), thing.maxlen), items=items), thing)


def take_dict(thing: Any, to: Target) -> Record:
    """Take a dict apart."""
    record = Record("dict", type(thing), pairs=list(dict.items(thing)))
    if isinstance(thing, collections.defaultdict):
        record.items = [thing.default_factory]
    return with_attributes(record, thing)


def take_ordered_dict(thing: Any, to: Target) -> Record:
    """Take an ordered dict apart."""
    # The order of the plain dict below is not the one of an OrderedDict after `move_to_end`.
    pairs = list(collections.OrderedDict.items(thing))
    return with_attributes(Record("dict", type(thing), pairs=pairs), thing)


def take_set(thing: Any, to: Target) -> Record:
    """Take a set apart."""
    return with_attributes(Record("set", type(thing), items=list(set.__iter__(thing))), thing)


def take_frozen_set(thing: Any, to: Target) -> Record:
    """Take a frozen set apart."""
    return Record("frozenset", type(thing), items=list(frozenset.__iter__(thing)), always_new=False)


def take_tuple(thing: Any, to: Target) -> Record:
    """Take a tuple apart."""
    record = Record("tuple", type(thing), items=list(tuple.__iter__(thing)), always_new=False)
    return record if type(thing) is tuple else with_attributes(record, thing)


def take_view(thing: Any, to: Target) -> Record:
    """Take the keys, values or items of a dict apart."""
    of = thing.mapping
    return Record("view", DICT_VIEWS[type(thing)], items=[_behind(of)], always_new=False)


def _behind(proxy: Any) -> Any:
    return gc.get_referents(proxy)[0]


def take_array(thing: Any, to: Target) -> Record:
    """Take an array apart."""
    if thing.dtype.hasobject:
        return Record("objects", (thing.shape, thing.dtype), items=list(thing.flat))
    return Record("array", thing)


def take_weak_container(thing: Any, to: Target) -> Record:
    """Take a weak container apart."""
    if isinstance(thing, weakref.WeakSet):
        return Record("weak set", type(thing), items=list(thing))
    return Record("weak dict", type(thing), pairs=list(thing.items()))


def take_weak_reference(thing: Any, to: Target) -> Record | None:
    """Take a weak reference apart."""
    held = thing()
    return (
        None if held is None else Record("weak reference", None, items=[held], always_new=to is Target.ANOTHER_PROCESS)
    )


def take_wrapper(thing: Any, to: Target) -> Record:
    """Take a wrapper of TensorFlow around a list, dict or tuple apart."""
    name = type(thing).__name__
    if name == carried_parts.WRAPPED_DICT:
        return Record("wrapped dict", (type(thing), type(thing.__wrapped__)), pairs=list(thing.items()))
    if name == carried_parts.WRAPPED_TUPLE:
        return Record("wrapped tuple", type(thing), items=[thing.__wrapped__], always_new=False)
    # A list whose own items are empty: what it shows is in its attributes.
    return with_attributes(Record("list", type(thing)), thing)
