"""Take objects apart: layers, optimizers, variables, objects of the user, and what Python itself can copy."""

from __future__ import annotations

import datetime
import decimal
import enum
import inspect
import logging
import pathlib
import re
import threading
import types
import uuid
from typing import Any

import keras
import numpy as np

from keras_estimator.model.carrying import carried_parts, tensorflow_parts
from keras_estimator.model.carrying.container_records import take_dict, take_set, take_wrapper, with_attributes
from keras_estimator.model.carrying.shells import Derived, NotCarriedError, Record, Strategy, Target

RLOCK = type(threading.RLock())
# What is never changed in place (or is the same for everybody): shared, and pickled as it is.
WHOLE: tuple[type, ...] = (
    *(type(None), bool, int, float, complex, str, bytes, range, slice, type(...), type(NotImplemented)),
    *(type, types.ModuleType, types.CodeType, property, classmethod, staticmethod, types.MappingProxyType),
    *(types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType),
    *(types.GetSetDescriptorType, types.MemberDescriptorType, types.GenericAlias, types.UnionType),
    *(np.generic, np.dtype, np.ufunc, enum.Enum, inspect.Signature, inspect.Parameter, logging.Logger, re.Pattern),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal, pathlib.PurePath, uuid.UUID),
)


def take_object(thing: Any, to: Target) -> Record | None:
    """Take any other object apart: its attributes and slots."""
    instead = tensorflow_parts.why_not_carried(thing)
    if instead is not None:
        raise NotCarriedError(instead)
    if carried_parts.is_loaded(thing):
        return _take_saved_model(thing)
    cls = type(thing)
    if not _has_plain_layout(cls):
        return _take_by_reduction(thing)
    record = with_attributes(Record("object", cls), thing)
    if isinstance(thing, keras.Layer):
        _leave_out_of_layer(record, thing)
    elif isinstance(thing, keras.optimizers.Optimizer):
        _key_by_variables(record)
    if hasattr(cls, "operations") and carried_parts.NODES_OF_GRAPH in record.attributes:
        _name_nodes(record, thing)
    return record


def _take_saved_model(thing: Any) -> Record:
    """Take a loaded SavedModel: it is saved and loaded again, and its parts are found in it by their names."""
    # Lists and dicts are carried like others: what somebody put into them since then is not saved with it.
    inside = [
        (part, Record("inside a saved model", way, items=[thing], always_new=False))
        for way, part in tensorflow_parts.parts_of_saved_model(thing)
        if not isinstance(part, carried_parts.wrapper_classes())
    ]
    ids = {id(part) for part, _ in inside}
    added = {name: value for name, value in carried_parts.added_to_loaded(thing).items() if id(value) not in ids}
    return Record("saved model", thing, attributes=added, inside=inside)


def _has_plain_layout(cls: type) -> bool:
    """Tell whether objects of a class hold nothing but attributes and slots, so that a shell can be filled."""
    try:
        object.__new__(cls)
    except TypeError:
        return False  # a part of it is written in C
    return True


def _leave_out_of_layer(record: Record, layer: Any) -> None:
    attributes = record.attributes
    for name in carried_parts.LOSSES_OF_LAST_CALL:
        if any(_is_symbol(loss) for loss in attributes.get(name, ())):
            attributes[name] = []
            attributes[carried_parts.IDS_OF_LOSSES] = set()
    if isinstance(layer, keras.Model):
        for name in carried_parts.COMPILED_CACHES & attributes.keys():
            attributes[name] = None
        if carried_parts.STRATEGY_OF_MODEL in attributes:
            attributes[carried_parts.STRATEGY_OF_MODEL] = Strategy(none_for_default=True)


def _is_symbol(thing: Any) -> bool:
    return tensorflow_parts.kind_of(type(thing)) == "tensor" and not tensorflow_parts.has_value(thing)


def _key_by_variables(record: Record) -> None:
    """Key the dicts and sets of an optimizer by variables: it keys them by texts that are another one for each copy."""
    for name, held in record.attributes.items():
        if isinstance(held, dict | set) and any(type(key) is str for key in held):
            record.attributes[name] = taken = _taker(type(held))(held, Target.THIS_PROCESS)
            taken.pairs = [(_named(key), value) for key, value in taken.pairs]
            if taken.kind == "set":
                taken.items = [_named(key) for key in taken.items]


def _taker(cls: type) -> Any:
    # What TensorFlow wraps around a dict says of itself that it is one.
    return take_wrapper if cls in carried_parts.wrapper_classes() else take_dict if issubclass(cls, dict) else take_set


def _named(key: Any) -> Any:
    return Derived("unique id", key) if type(key) is str else key


def _name_nodes(record: Record, graph: Any) -> None:
    layers = {id(layer): layer for layer in carried_parts.layers_of_graph(graph)}
    texts: list[Any] = []
    for text in record.attributes[carried_parts.NODES_OF_GRAPH]:
        parsed = carried_parts.parse_node_text(text)
        texts.append(Derived("node", layers[parsed[0]], parsed[1]) if parsed and parsed[0] in layers else text)
    record.attributes[carried_parts.NODES_OF_GRAPH] = Record("set", set, items=texts)


def _take_by_reduction(thing: Any) -> Record | None:
    """Take an object of a class written in C: Python can copy it, or it belongs to this process."""
    try:
        reduced = thing.__reduce_ex__(4)
    except Exception as error:
        raise NotCarriedError("keep what it was made from, and make it in `build` or where it is used") from error
    if isinstance(reduced, str):
        return None  # a global object of a library
    if not all(_is_plain(part) for part in reduced[1:3]):
        raise NotCarriedError("keep its parts as attributes, and make it in `build` or where it is used")
    return Record("copied", thing)


def _is_plain(thing: Any) -> bool:
    if isinstance(thing, tuple | list | set | frozenset):
        return all(_is_plain(item) for item in thing)
    if isinstance(thing, dict):
        return all(_is_plain(item) for pair in thing.items() for item in pair)
    return isinstance(thing, WHOLE) or (isinstance(thing, np.ndarray) and not thing.dtype.hasobject)


def take_namespace(thing: Any, to: Target) -> Record:
    """Take a `SimpleNamespace` apart."""
    return with_attributes(Record("namespace", type(thing)), thing)


def take_exception(thing: Any, to: Target) -> Record:
    """Take an exception apart."""
    return with_attributes(Record("exception", type(thing), items=list(thing.args)), thing)


def take_lock(thing: Any, to: Target) -> Record:
    """Take a lock: a copy has a free one."""
    return Record("lock", "RLock" if type(thing) is RLOCK else "Lock")


def take_thread_local(thing: Any, to: Target) -> Record:
    """Take a `threading.local`: a copy has an empty one."""
    return Record("thread local", type(thing))


def take_copied(thing: Any, to: Target) -> Record:
    """Take an object that Python copies as a whole."""
    return Record("copied", thing)


def take_variable(thing: Any, to: Target) -> Record:
    """Take a variable apart."""
    return Record("variable", thing, slots=[(None, "constraint", getattr(thing, "constraint", None))])


def take_tensor(thing: Any, to: Target) -> Record | None:
    """Take a tensor apart."""
    if not tensorflow_parts.has_value(thing):
        raise NotCarriedError("keep no tensor of a traced call; compute it in `call`, or keep a variable")
    return Record("tensor", thing) if to is Target.ANOTHER_PROCESS else None


def take_table(thing: Any, to: Target) -> Record:
    """Take a table apart."""
    return Record("table", thing)


def take_strategy(thing: Any, to: Target) -> Record:
    """Take a strategy: a copy has the one in force."""
    return Record("strategy", None)


def take_dataset(thing: Any, to: Target) -> Record | None:
    """Take a dataset: shared, or refused."""
    if to is Target.ANOTHER_PROCESS:
        raise NotCarriedError("pass the dataset to `train`, or make it in a method of the model")
    return None
