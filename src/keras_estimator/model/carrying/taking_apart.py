"""Take one object apart into a record: what its shell is made of, and the parts that fill it.

No code of the user runs: attributes are read from the object's dict and slots, containers through the
methods of Python's own classes. What stays whole (a number, a class, a function of a library) has no record.
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import io
import multiprocessing.process
import random
import socket
import subprocess
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_estimator.model.by_class import by_class
from keras_estimator.model.carrying import (
    carried_parts,
    code_records,
    container_records,
    object_records,
    tensorflow_parts,
)
from keras_estimator.model.carrying.shells import Derived, NotCarriedError, Record, Strategy, Target

_WHOLE_MODULES = frozenset({"typing", "dataclasses", "inspect", "abc", "logging", "ast", "re", "string"})
_COPIED = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random, bytearray)
# What belongs to this process, and what to do instead.
_NOT_CARRIED: tuple[tuple[type, str], ...] = (
    (io.StringIO, ""),
    (io.BytesIO, ""),
    (io.IOBase, "keep the path and open the file where it is used"),
    (socket.socket, "keep the address and connect where it is used"),
    (types.GeneratorType, "keep the function, and call it where the generator is used"),
    (types.CoroutineType, "keep the function, and call it where its result is awaited"),
    (types.AsyncGeneratorType, "keep the function, and call it where the generator is used"),
    (types.FrameType, "keep what you need of the frame, as plain values"),
    (types.TracebackType, "keep the text of the traceback"),
    (threading.Thread, "start the thread where its work is needed, outside the model"),
    (multiprocessing.process.BaseProcess, "start the process where its work is needed, outside the model"),
    (subprocess.Popen, "start the process where its work is needed, outside the model"),
    (concurrent.futures.Executor, "make the executor where it is used"),
    (concurrent.futures.Future, "keep the result of the future"),
)


def take_apart(thing: Any, to: Target) -> Record | None:
    """Take an object apart.

    Args:
        thing: Any object.
        to: Where the copy is made; in another process tensors and functions are made anew, too.

    Returns:
        Its record, with the original objects as parts; None if it is shared as it is.

    Raises:
        NotCarriedError: It belongs to this process.
    """
    return taker_of(type(thing))(thing, to)


@by_class
def taker_of(cls: type) -> Callable[[Any, Target], Record | None]:
    """Return the function that takes objects of a class apart.

    Args:
        cls: The class of the object.

    Returns:
        A function of the object, and of where its copy is made.
    """
    if issubclass(cls, object_records.WHOLE) and not issubclass(cls, carried_parts.wrapper_classes()):
        return _whole
    if cls.__module__.partition(".")[0] in _WHOLE_MODULES or cls in (Derived, Strategy):
        return _whole
    by_tensorflow = _TENSORFLOW.get(tensorflow_parts.kind_of(cls))
    if by_tensorflow is not None:
        return by_tensorflow
    for classes, taker in _TAKERS:
        if issubclass(cls, classes):
            return taker
    return object_records.take_object


def _whole(thing: Any, to: Target) -> Record | None:
    return None


def _refuse(instead: str) -> Callable[[Any, Target], Record | None]:
    def refuse(thing: Any, to: Target) -> Record | None:
        raise NotCarriedError(instead)

    return refuse


_TENSORFLOW: dict[str, Callable[[Any, Target], Record | None]] = {
    "variable": object_records.take_variable,
    "tensor": object_records.take_tensor,
    "table": object_records.take_table,
    "function": code_records.take_tf_function,
    "strategy": object_records.take_strategy,
    "dataset": object_records.take_dataset,
    "description": _whole,
}
_TAKERS: tuple[tuple[Any, Callable[[Any, Target], Record | None]], ...] = (
    (carried_parts.wrapper_classes(), container_records.take_wrapper),
    *((cls, _refuse(instead) if instead else object_records.take_copied) for cls, instead in _NOT_CARRIED),
    (types.FunctionType, code_records.take_function),
    (types.CellType, code_records.take_cell),
    (types.MethodType, code_records.take_method),
    ((types.BuiltinMethodType, types.MethodWrapperType), code_records.take_builtin_method),
    (functools.partial, code_records.take_partial),
    (type(functools.lru_cache(len)), code_records.take_cached_function),
    (list, container_records.take_list),
    (collections.OrderedDict, container_records.take_ordered_dict),
    (dict, container_records.take_dict),
    (tuple, container_records.take_tuple),
    (set, container_records.take_set),
    (frozenset, container_records.take_frozen_set),
    (collections.deque, container_records.take_deque),
    (tuple(container_records.DICT_VIEWS), container_records.take_view),
    (np.ndarray, container_records.take_array),
    ((weakref.WeakSet, weakref.WeakKeyDictionary, weakref.WeakValueDictionary), container_records.take_weak_container),
    (weakref.ref, container_records.take_weak_reference),
    ((type(threading.Lock()), object_records.RLOCK), object_records.take_lock),
    (threading.local, object_records.take_thread_local),
    (types.SimpleNamespace, object_records.take_namespace),
    (BaseException, object_records.take_exception),
    (_COPIED, object_records.take_copied),
)
