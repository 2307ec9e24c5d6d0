"""Make the parts of a model that are TensorFlow's own again: variables, tensors, lookup tables, compiled functions.

Each is taken apart into plain values and made in the scope that is current then, so that under a
strategy a variable becomes one of that strategy.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_estimator.model.carrying import carried_parts

_WITHOUT_VALUE = (tf.resource, tf.variant)
_STATIC_TABLE = tf.lookup.StaticHashTable
_GROWING_TABLE = tf.lookup.experimental.MutableHashTable
_DENSE_TABLE = tf.lookup.experimental.DenseHashTable
_VOCABULARY_TABLE = tf.lookup.StaticVocabularyTable
_CONCRETE = tf.types.experimental.ConcreteFunction
_KINDS: dict[str, tuple[type, ...]] = {
    "variable": (tf.Variable,),
    "tensor": (tf.Tensor,),
    "table": (_STATIC_TABLE, _GROWING_TABLE, _DENSE_TABLE, _VOCABULARY_TABLE),
    "function": (tf.types.experimental.PolymorphicFunction,),
    "strategy": (tf.distribute.Strategy,),
    "dataset": (tf.data.Dataset,),
    "description": (tf.DType, tf.TensorShape, tf.TypeSpec),
}
# What belongs to a process, a device or a traced graph, and what to do instead.
_NOT_CARRIED: tuple[tuple[type, str], ...] = (
    (tf.Graph, "build the graph where it is used, with tf.function"),
    (tf.Operation, "build the graph where it is used, with tf.function"),
    (_CONCRETE, "keep its tf.function instead, or also the object that tf.saved_model.load returned"),
    (tf.data.Iterator, "keep the dataset, and make the iterator where it is read"),
    (tf.summary.SummaryWriter, "open the writer where it is written to"),
    (tf.saved_model.experimental.TrackableResource, "make the resource in `build`"),
)


def version() -> str:
    """Return the version of TensorFlow."""
    found: str = tf.__version__
    return found


def kind_of(cls: type) -> str:
    """Say which part of TensorFlow the objects of a class are.

    Args:
        cls: Any class.

    Returns:
        `"variable"`, `"tensor"`, `"table"`, `"function"`, `"strategy"`, `"dataset"`, `"description"`
        (a dtype, a shape, a spec: plain values), or `""` for what is none of these.
    """
    return next((kind for kind, classes in _KINDS.items() if issubclass(cls, classes)), "")


def has_value(tensor: Any) -> bool:
    """Tell whether a tensor has a value that can be copied; a symbolic one or a handle has none."""
    return hasattr(tensor, "numpy") and tensor.dtype not in _WITHOUT_VALUE


def why_not_carried(thing: Any) -> str | None:
    """Return what to do instead of carrying `thing`; None if it may be carried."""
    return next((instead for cls, instead in _NOT_CARRIED if isinstance(thing, cls)), None)


def current_strategy(*, none_for_default: bool) -> Any:
    """Return the strategy in force.

    Args:
        none_for_default: Whether the default strategy is written as None, as Keras's models do.

    Returns:
        The `tf.distribute.Strategy`, or None.
    """
    return None if none_for_default and not tf.distribute.has_strategy() else tf.distribute.get_strategy()


def shell_of_function(cls: Any) -> Any:
    """Return an object of `tf.function`'s class that `fill_function` makes a working one."""
    return cls.__new__(cls)


def fill_function(shell: Any, python_function: Any, options: dict[str, Any]) -> None:
    """Make a shell the `tf.function` of a Python function; nothing is traced yet."""
    vars(shell).update(vars(tf.function(python_function, **options)))


def take_variable(variable: Any) -> dict[str, Any]:
    """Return how a variable was made, without its value.

    Args:
        variable: A `tf.Variable`, of any strategy.

    Returns:
        Arguments for `make_variable`.
    """
    return {
        "name": variable.name.split(":")[0].split("/replica_")[0],
        "dtype": variable.dtype,
        "shape": variable.shape,
        "trainable": bool(variable.trainable),
        "aggregation": variable.aggregation,
        "synchronization": variable.synchronization,
    }


def value_of_variable(variable: Any, *, as_array: bool) -> Any:
    """Read a variable: as a NumPy array, or as a tensor that shares its memory until one of them changes."""
    read = variable.numpy if as_array else functools.partial(tf.convert_to_tensor, variable)
    made_under = getattr(variable, "distribute_strategy", None)
    if made_under is None or not tf.distribute.has_strategy() or made_under is tf.distribute.get_strategy():
        return read()
    # A variable of one strategy cannot be read in the scope of another; a scope holds for its own thread only.
    with ThreadPoolExecutor(1) as outside:
        return outside.submit(read).result()


def keep_value(thing: Any) -> Callable[[], object] | None:
    """Keep the value of a variable or of a table that can grow.

    Args:
        thing: Any object.

    Returns:
        What puts the value back; None if the object has none that could change.
    """
    if isinstance(thing, tf.Variable):
        value = value_of_variable(thing, as_array=False)
        return functools.partial(thing.assign, value)
    if isinstance(thing, _GROWING_TABLE | _DENSE_TABLE):
        kept = take_table(thing)
        return functools.partial(_put_back, thing, kept)
    return None


def _put_back(table: Any, kept: dict[str, Any]) -> None:
    table.remove(make_tensor(*take_table(table)["keys"]))
    table.insert(make_tensor(*kept["keys"]), make_tensor(*kept["values"]))


def make_variable(value: Any, made: dict[str, Any]) -> Any:
    """Make a variable in the current scope.

    Args:
        value: A tensor or an array; None if the variable had none.
        made: What `take_variable` returned.

    Returns:
        A `tf.Variable`; one of the strategy in force, if there is one.
    """
    options = dict(made)
    if tf.distribute.has_strategy() and options["aggregation"] == tf.VariableAggregation.NONE:
        options["aggregation"] = _aggregation_for(options["dtype"])
    with tf.init_scope():
        variable = tf.Variable(tf.convert_to_tensor(value, dtype=options["dtype"]), **options)
        summed = options["aggregation"] == tf.VariableAggregation.SUM
        if summed and options["synchronization"] == tf.VariableSynchronization.ON_READ:
            # What is read is the sum over the replicas: the first has it all, as a split would lose bits.
            for other in getattr(variable, "values", ())[1:]:
                other.assign(tf.zeros_like(other))
    return variable


def _aggregation_for(dtype: Any) -> Any:
    """Return how replicas agree on a variable: counters and seeds are one replica's, floats are averaged."""
    averaged = dtype.is_floating or dtype.is_complex
    return tf.VariableAggregation.MEAN if averaged else tf.VariableAggregation.ONLY_FIRST_REPLICA


def take_tensor(tensor: Any) -> tuple[Any, Any]:
    """Return the array and the dtype of a tensor."""
    return tensor.numpy(), tensor.dtype


def make_tensor(array: Any, dtype: Any) -> Any:
    """Make the tensor that `take_tensor` took apart."""
    return tf.constant(array, dtype=dtype)


def parts_of_saved_model(loaded: Any) -> list[tuple[tuple[str, ...], Any]]:
    """Return the variables, functions and other objects in a loaded SavedModel.

    Args:
        loaded: What `tf.saved_model.load` returned.

    Returns:
        Each with the names that lead to it.
    """
    found: list[tuple[tuple[str, ...], Any]] = [((), loaded)]
    seen = {id(loaded)}
    for way, thing in found:  # it grows
        for name, part in _children(thing).items():
            if id(part) not in seen:
                seen.add(id(part))
                found.append(((*way, name), part))
    return found[1:]


def part_of_saved_model(loaded: Any, way: tuple[str, ...]) -> Any:
    """Return what `parts_of_saved_model` found by this way, in another loaded one."""
    for name in way:
        loaded = _children(loaded)[name]
    return loaded


def _children(thing: Any) -> dict[str, Any]:
    inside: dict[str, Any] = dict(tf.train.TrackableView(thing).children(thing))
    if isinstance(thing, Mapping):  # the signatures are no children
        functions = {name: part for name, part in thing.items() if isinstance(part, _CONCRETE)}
        inside.update(functions)
    return inside


def take_saved_model(loaded: Any) -> dict[str, bytes]:
    """Return the files of a loaded SavedModel, with the values that its variables have now."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(loaded, folder, signatures=loaded.signatures)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def make_saved_model(files: dict[str, bytes]) -> Any:
    """Load the SavedModel that `take_saved_model` took apart, in the current scope."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tf.saved_model.load(folder)


def take_table(table: Any) -> dict[str, Any]:
    """Return what a lookup table holds and how it was made, as plain values.

    Args:
        table: One of the tables in `_KINDS`.

    Returns:
        The argument of `make_table`.
    """
    if isinstance(table, _VOCABULARY_TABLE):
        buckets, key_dtype = carried_parts.hash_buckets_of(table)
        inner = carried_parts.inner_table_of(table)
        inside = None if inner is None else take_table(inner)
        return {"kind": "vocabulary", "inside": inside, "buckets": buckets, "key_dtype": key_dtype}
    keys, values = table.export()
    if isinstance(table, _DENSE_TABLE):
        # Its empty places are exported, too, and cannot be inserted.
        reserved = [tf.convert_to_tensor(key, table.key_dtype) for key in carried_parts.reserved_keys_of(table)]
        axes = list(range(1, keys.shape.rank))
        used = [tf.reduce_any(keys != key, axis=axes) for key in reserved]
        keys, values = keys[used[0] & used[1]], values[used[0] & used[1]]
    taken: dict[str, Any] = {
        "kind": "static",
        "keys": take_tensor(keys),
        "values": take_tensor(values),
        "default": take_tensor(tf.convert_to_tensor(carried_parts.default_value_of(table), table.value_dtype)),
    }
    if isinstance(table, _DENSE_TABLE):
        return taken | {"kind": "dense", "reserved": [take_tensor(key) for key in reserved]}
    return taken | ({"kind": "growing"} if isinstance(table, _GROWING_TABLE) else {})


def make_table(taken: dict[str, Any]) -> Any:
    """Make the lookup table that `take_table` took apart."""
    if taken["kind"] == "vocabulary":
        inside = taken["inside"] and _initializer(taken["inside"])
        return _VOCABULARY_TABLE(inside, taken["buckets"], lookup_key_dtype=taken["key_dtype"])
    default = make_tensor(*taken["default"])
    if taken["kind"] == "static":
        return _STATIC_TABLE(_initializer(taken), default)
    keys, values = make_tensor(*taken["keys"]), make_tensor(*taken["values"])
    if taken["kind"] == "growing":
        table = _GROWING_TABLE(keys.dtype, values.dtype, default)
    else:
        empty, deleted = (make_tensor(*key) for key in taken["reserved"])
        table = _DENSE_TABLE(keys.dtype, values.dtype, default, empty, deleted)
    table.insert(keys, values)
    return table


def _initializer(taken: dict[str, Any]) -> Any:
    return tf.lookup.KeyValueTensorInitializer(make_tensor(*taken["keys"]), make_tensor(*taken["values"]))
