"""Take code apart: functions and what they hold, methods, partial and cached functions."""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator
from typing import Any

import keras

from keras_estimator.model.anatomy import names_in
from keras_estimator.model.carrying import carried_parts, tensorflow_parts
from keras_estimator.model.carrying.installed_code import is_importable_from_a_library
from keras_estimator.model.carrying.shells import NotCarriedError, Record, Target

_STORE = dis.opmap["STORE_DEREF"]
STATEFUL = (keras.Variable, keras.Layer, keras.Metric, keras.optimizers.Optimizer, keras.random.SeedGenerator)


def take_function(thing: Any, to: Target) -> Record | None:
    """Take a function apart."""
    if is_importable_from_a_library(thing):
        return None
    cells = list(thing.__closure__ or ())
    record = Record(
        "function", thing, items=[*(thing.__defaults__ or ()), *cells], always_new=to is Target.ANOTHER_PROCESS
    )
    assigned = _assigned(thing.__code__) if cells else set()
    record.written = [cell for name, cell in zip(thing.__code__.co_freevars, cells, strict=True) if name in assigned]
    record.attributes = dict(thing.__dict__)
    record.slots = [(None, name, value) for name, value in (thing.__kwdefaults__ or {}).items()]
    if to is Target.THIS_PROCESS:
        record.pairs = list(_globals_with_state(thing))
    return record


def _globals_with_state(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals of a function of the user that a model can share: layers, variables, other functions."""
    namespace = function.__globals__
    for name in names_in(function.__code__):
        value = namespace.get(name)
        cls = type(value)
        if isinstance(value, types.FunctionType):
            if not is_importable_from_a_library(value):
                yield name, value
        elif issubclass(cls, STATEFUL) or tensorflow_parts.kind_of(cls) in {"variable", "function"}:
            yield name, value


def _assigned(code: types.CodeType) -> set[str]:
    """Return the variables of the functions around it that a function assigns, with `nonlocal`."""
    assigned: set[str] = set()
    for inner in (constant for constant in code.co_consts if isinstance(constant, types.CodeType)):
        assigned |= _assigned(inner)
    if _STORE in code.co_code[::2]:
        assigned |= {str(step.argval) for step in dis.get_instructions(code) if step.opcode == _STORE}
    return assigned & set(code.co_freevars)


def take_cell(thing: Any, to: Target) -> Record:
    """Take a cell apart."""
    try:
        return Record("cell", None, items=[thing.cell_contents], always_new=to is Target.ANOTHER_PROCESS)
    except ValueError:
        return Record("cell", None, always_new=to is Target.ANOTHER_PROCESS)  # not filled yet


def take_method(thing: Any, to: Target) -> Record:
    """Take a method apart."""
    of, function = thing.__self__, thing.__func__
    name = getattr(function, "__name__", "")
    if next((vars(cls)[name] for cls in type(of).__mro__ if name in vars(cls)), None) is function:
        return Record("own method", name, items=[of], always_new=False)
    return Record("method", None, items=[function, of], always_new=False)


def take_builtin_method(thing: Any, to: Target) -> Record | None:
    """Take a method of a built-in class apart."""
    if thing.__self__ is None or isinstance(thing.__self__, types.ModuleType | type):
        return None
    return Record("built-in method", thing.__name__, items=[thing.__self__], always_new=False)


def take_partial(thing: Any, to: Target) -> Record:
    """Take a partial function apart."""
    record = Record("partial", type(thing), items=[thing.func, *thing.args], always_new=to is Target.ANOTHER_PROCESS)
    record.pairs = list(thing.keywords.items())
    record.attributes = dict(thing.__dict__)
    return record


def take_cached_function(thing: Any, to: Target) -> Record:
    """Take a function with `lru_cache` apart."""
    return Record(
        "cached function", thing.cache_parameters(), items=[thing.__wrapped__], always_new=to is Target.ANOTHER_PROCESS
    )


def take_tf_function(thing: Any, to: Target) -> Record | None:
    """Take a `tf.function` apart."""
    if not hasattr(thing, "python_function"):
        raise NotCarriedError("keep the path of the SavedModel, and load it in `build`")
    options = carried_parts.options_of_tf_function(thing)
    return Record(
        "tf.function", (type(thing), options), items=[thing.python_function], always_new=to is Target.ANOTHER_PROCESS
    )
