"""The private attributes of Keras and TensorFlow that a copy of a model has to know, by name, and why.

A model is copied attribute by attribute; most attributes need no name. These do: caches that belong to one
object alone, records that are keyed by the identity of another object, and the strategy in force.
tests/test_carried_parts.py has a test for each.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from keras_estimator.model.by_class import by_class

# What `make_train_function` and its like compiled: it has the variables of the original in it.
COMPILED_CACHES = frozenset(
    {
        "train_function",
        "test_function",
        "predict_function",
        "_jax_state",
        "_eval_epoch_iterator",
        "_distributed_dataset",
    }
)

# The losses of the last call. After a traced call they are symbols of a graph that is gone.
LOSSES_OF_LAST_CALL = ("_losses", "_losses_override")

IDS_OF_LOSSES = "_loss_ids"

# The strategy of a model (None for the default one).
STRATEGY_OF_MODEL = "_distribute_strategy"

# What a restored tf.train.Checkpoint has not yet handed out, with the open reader of its file.
PENDING_RESTORES = ("_self_unconditional_deferred_dependencies", "_self_name_based_restores")

# Of a graph of layers: its nodes, as texts made of the id of the layer and a number.
NODES_OF_GRAPH = "_nodes"
_BETWEEN_ID_AND_NUMBER = "_ib-"

# The list of the layers of a model in the order that `model.layers` has.
LAYERS_OF_MODEL = "_layers"

# Where TensorFlow has the wrappers that it puts around lists, dicts and tuples of a `tf.Module`.
WRAPPERS_MODULE = "tensorflow.python.trackable.data_structures"
WRAPPED_LIST, WRAPPED_DICT, WRAPPED_TUPLE = "ListWrapper", "_DictWrapper", "_TupleWrapper"

# Where TensorFlow has the class of the objects that `tf.saved_model.load` returns.
LOADER_MODULE = "tensorflow.python.saved_model.load"
_BY_LOADER = frozenset({"signatures", "graph_debug_info", "tensorflow_version", "tensorflow_git_version"})


@by_class
def may_wait(cls: type) -> bool:
    """Tell whether objects of a class may keep values of a restored checkpoint for parts that are not there yet."""
    return hasattr(cls, "_maybe_initialize_trackable")


def waits_for(thing: Any) -> list[str]:
    """Return the names of the parts for which a trackable object keeps values of a restored checkpoint.

    Args:
        thing: Any object.

    Returns:
        Names, such as `_momentums`; none if it waits for nothing.
    """
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return []
    return [str(name) for pending in PENDING_RESTORES for name in attributes.get(pending, ())]


def is_loaded(thing: Any) -> bool:
    """Tell whether an object is what `tf.saved_model.load` returns; its class is made anew by each call."""
    return type(thing).__module__ == LOADER_MODULE and hasattr(thing, "tensorflow_version")


def added_to_loaded(loaded: Any) -> dict[str, Any]:
    """Return the attributes of what `tf.saved_model.load` returned that are not TensorFlow's records about it."""
    return {name: value for name, value in vars(loaded).items() if name not in _BY_LOADER and name[:6] != "_self_"}


def parse_node_text(text: str) -> tuple[int, str] | None:
    """Take the text of a node of a graph of layers apart.

    Args:
        text: An element of `_nodes`.

    Returns:
        The id of its layer, and which of that layer's calls it is; None if it is written in another way.
    """
    number, found, place = text.partition(_BETWEEN_ID_AND_NUMBER)
    return (int(number), place) if found and number.isdigit() else None


def node_text(layer: Any, place: str) -> str:
    """Write the text by which a graph of layers names a node."""
    return f"{id(layer)}{_BETWEEN_ID_AND_NUMBER}{place}"


def layers_of_graph(graph: Any) -> list[Any]:
    """Return the layers and operations of a graph of layers."""
    return list(graph._operations)


def unique_id_of(variable: Any) -> str:
    """Return the text by which an optimizer keys its dicts and sets of variables, as `Optimizer._var_key` does."""
    if hasattr(variable, "_distributed_container"):
        variable = variable._distributed_container() or variable
    unique_id: str = variable._unique_id
    return unique_id


def options_of_tf_function(function: Any) -> dict[str, Any]:
    """Return what `tf.function` was given besides the Python function."""
    return {
        "autograph": function._autograph,
        "experimental_autograph_options": function._experimental_autograph_options,
        "input_signature": function.input_signature,
        "jit_compile": function._jit_compile,
        "reduce_retracing": function._reduce_retracing,
    }


def default_value_of(table: Any) -> Any:
    """Return what a lookup table answers for a key that it has not."""
    return table._default_value


def inner_table_of(table: Any) -> Any:
    """Return the table inside a `StaticVocabularyTable`; None if all its words are hashed."""
    return table._table


def hash_buckets_of(table: Any) -> tuple[int, Any]:
    """Return how many buckets a `StaticVocabularyTable` hashes unknown words into, and the type of its keys."""
    return table._num_oov_buckets, table._key_dtype


def owner_of_handle(handle: Any) -> Any:
    """Return the variable or table that a handle belongs to; None if it is gone."""
    return getattr(handle, "_parent_trackable", lambda: None)()


def reserved_keys_of(table: Any) -> tuple[Any, Any]:
    """Return the key that marks empty places of a `DenseHashTable`, and the one of deleted ones."""
    return table._empty_key, table._deleted_key


@functools.cache
def wrapper_classes() -> tuple[type, ...]:
    """Return the classes that TensorFlow puts around the lists, dicts and tuples of a `tf.Module`."""
    module = importlib.import_module(WRAPPERS_MODULE)
    return tuple(getattr(module, name) for name in (WRAPPED_LIST, WRAPPED_DICT, WRAPPED_TUPLE))


def set_constraint(variable: Any, constraint: Any) -> None:
    """Give a variable of TensorFlow the function that its values are passed through after each update."""
    variable._constraint = constraint
