"""Trace functions of a model into graphs, and say which layer made which operation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.model import numpy_calls
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.carrying import carried_parts, tensorflow_parts
from keras_estimator.model.computation import function_graph
from keras_estimator.model.computation.function_graph import FunctionGraph
from keras_estimator.model.computation.graph_hash import GraphHash, Read, digest, digest_of_array
from keras_estimator.model.computation.unchanged import wrap_calls
from keras_estimator.model.keras_private import storage_of

# What a layer made: in which graph, from which operation on, up to which one, and the layer's path.
_Made = tuple[Any, int, int, str]


class Tracer:
    """Traces functions of one model; it wraps the layers' `call`, so use it inside `unchanged`.

    Args:
        model: A Keras model whose variables have all been made.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._made: list[_Made] = []
        self._label_of: dict[int, str] = {}
        wrap_calls(model, functools.partial(_recorded, made=self._made))

    def trace(self, function: Callable[..., Any], *specs: Any) -> tuple[GraphHash, Any]:
        """Trace a function.

        Args:
            function: Of tensors; no variable is made in it.
            specs: One `tf.TensorSpec`, or a structure of them, for each argument.

        Returns:
            The hashes of what was traced, and what the function returns, as tensors of the graph.
        """
        traced, parts = self.graph(function, *specs)
        returned = tf.nest.flatten(traced.results, expand_composites=True)
        read = Read(
            outputs=[tensor.name for tensor in returned if tensor is not None],
            effects=traced.effects,
            turns=traced.turns,
            given=self._given(traced),
            parts=parts,
        )
        return GraphHash(traced.graph.as_graph_def(), read), traced.results

    def graph(self, function: Callable[..., Any], *specs: Any) -> tuple[FunctionGraph, dict[str, str]]:
        """Trace a function, like `trace`; return the graph, and for its operations the path of the innermost layer."""
        self._made.clear()
        with numpy_calls.explained():
            traced = function_graph.trace(function, specs)
        return traced, self._parts(traced.graph)

    def _given(self, traced: FunctionGraph) -> dict[str, str]:
        given = {"": f"returns {tf.nest.map_structure(lambda _: 0, traced.results)}"}
        for place, tensor in enumerate(traced.inputs):
            given[tensor.op.name] = f"input {place} {tensor.dtype.name} {tensor.shape}"
        return given | {inner.op.name: self._label(outer) for outer, inner in traced.graph.captures}

    def _label(self, outer: Any) -> str:
        """Return how something captured is called in every process: by what it holds, or by its path."""
        if id(outer) not in self._label_of:
            self._label_of |= self._labels()  # variables may have been made since the last time
        if id(outer) in self._label_of:
            return self._label_of[id(outer)]
        if outer.dtype not in (tf.resource, tf.variant):
            return (
                f"constant {digest_of_array(np.asarray(outer))}"
                if hasattr(outer, "numpy")
                else f"outer {outer.dtype.name}"
            )
        owner = carried_parts.owner_of_handle(outer)
        if tensorflow_parts.kind_of(type(owner)) == "table":
            return f"table {_content_of_table(owner)}"
        return f"{type(owner).__name__} {_description(owner)}"

    def _labels(self) -> dict[int, str]:
        return {
            id(storage.handle): f"variable {held.path} {_description(storage)}"
            for held in holdings(self._model)
            for storage in _storages(held.variable)
        }

    def _parts(self, graph: Any) -> dict[str, str]:
        names = [operation.name for operation in graph.get_operations()]
        parts: dict[str, str] = {}
        for made_in, first, end, path in self._made:  # the inner layers come first
            if made_in is graph:
                for name in names[first:end]:
                    parts.setdefault(name, path)
        return parts


def _recorded(call: Callable[..., Any], path: str, made: list[_Made]) -> Callable[..., Any]:
    @functools.wraps(call)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        first = graph.version
        try:
            return call(*args, **kwargs)
        finally:
            made.append((graph, first, graph.version, path))

    return recorded


def _storages(variable: Any) -> Iterable[Any]:
    """Return the variables of TensorFlow behind a variable: under a strategy there is one for each replica."""
    storage = storage_of(variable) if isinstance(variable, keras.Variable) else variable
    return getattr(storage, "values", None) or (storage,)


def _description(thing: Any) -> str:
    if not isinstance(thing, tf.Variable):
        return ""
    return f"{thing.dtype.name} {thing.shape}"


def _content_of_table(table: Any) -> str:
    return digest(*sorted(_texts(tensorflow_parts.take_table(table))))


def _texts(taken: Any) -> Iterable[str]:
    """Describe what a table holds, whatever the order in which it gives it."""
    if taken is None or taken["kind"] == "vocabulary":
        inside = taken and taken["inside"]
        return [str(taken and (taken["buckets"], taken["key_dtype"])), *(_texts(inside) if inside else ())]
    keys, values = (taken[name][0].tolist() for name in ("keys", "values"))
    return [taken["kind"], digest_of_array(np.asarray(taken["default"][0])), *map(repr, zip(keys, values, strict=True))]
