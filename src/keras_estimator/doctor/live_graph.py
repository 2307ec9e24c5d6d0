"""The graph of a live model: each operation with the layer and the line that made it, and what it writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_estimator.doctor.failure import indent_of
from keras_estimator.doctor.findings import Place
from keras_estimator.engines.tensorflow.traced_graph import line_of_operation, operations
from keras_estimator.model.anatomy import Holding
from keras_estimator.model.carrying.carried_parts import owner_of_handle
from keras_estimator.model.computation.function_graph import DRAWS, READS, FunctionGraph
from keras_estimator.model.computation.traces import Tracer
from keras_estimator.model.keras_private import storage_of

_HERE = Path(__file__)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a graph.

    Attributes:
        kind: Its type, such as `MatMul`.
        layer: The path of the innermost layer that made it; empty if none did.
        operation: The `tf.Operation`.
        handles: The handles, outside of the graph, of the variables and tables that it gets.
    """

    kind: str
    layer: str
    operation: Any
    handles: tuple[Any, ...]

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers by a state of its own, which no variable holds."""
        return self.kind in DRAWS

    def constant_input(self, number: int) -> Any:
        """Return the value of one of its inputs as an array; None if it is no constant."""
        return tf.get_static_value(self.operation.inputs[number])

    @cached_property
    def place(self) -> Place | None:
        """The user's line that made it; None if it was made by Keras or TensorFlow alone."""
        # TensorFlow puts its stack together when it is asked for, which takes long for all of a large graph.
        line = line_of_operation(self.operation, outermost=_HERE)
        return Place(line.file, line.number, indent_of(line.file, line.number)) if line else None


@dataclasses.dataclass(frozen=True)
class Captured:
    """A variable, or another resource, that a graph uses from outside.

    Attributes:
        holding: How the model holds it; None if the model does not.
        resource: The `tf.Variable`, the table or whatever it is; None if that is gone.
        handle: Its handle.
    """

    holding: Holding | None
    resource: Any
    handle: Any

    @property
    def name(self) -> str:
        """Its path in the model, or else its own name."""
        if self.holding is not None:
            return self.holding.path
        return str(getattr(self.resource, "name", type(self.resource).__name__)).partition(":")[0]


class LiveGraph:
    """A function of a model, traced.

    Args:
        tracer: Of the model.
        holdings: What the model holds.
        function: What is traced.
        specs: Of its arguments.
    """

    def __init__(
        self, tracer: Tracer, holdings: Callable[[], list[Holding]], function: Callable[..., Any], *specs: Any
    ) -> None:
        self.traced, layers = tracer.graph(function, *specs)
        self.operations = list(_operations(self.traced, layers))
        held = {id(handle): one for one in holdings() for handle in _handles_of(one.variable)}
        resources = [outer for outer, _ in self.traced.graph.captures if outer.dtype in (tf.resource, tf.variant)]
        self.captured = [Captured(held.get(id(handle)), owner_of_handle(handle), handle) for handle in resources]

    def writes(self) -> Iterator[tuple[Captured, Operation]]:
        """Yield every variable that the graph writes, with each operation that does."""
        captured = {id(one.handle): one for one in self.captured}
        for operation in self.operations:
            if operation.kind in READS or "Lookup" in operation.kind or _is_call(operation.operation):
                continue
            for handle in operation.handles:
                one = captured.get(id(handle))
                if one is not None and isinstance(one.resource, tf.Variable):
                    yield one, operation

    def of_kind(self, *kinds: str) -> list[Operation]:
        """Return the operations of some types."""
        return [operation for operation in self.operations if operation.kind in kinds]


def _operations(traced: FunctionGraph, layers: Mapping[str, str]) -> Iterator[Operation]:
    graph, layer = traced.graph, ""
    for operation, handles in operations(graph, {inner.name: outer for outer, inner in graph.captures}):
        if operation.graph is graph:  # what is inside of a function comes behind the call
            layer = layers.get(operation.name, "")
        yield Operation(operation.type, layer, operation, tuple(handles))


def _is_call(operation: Any) -> bool:
    return any(value.HasField("func") or value.list.func for value in operation.node_def.attr.values())


def _handles_of(variable: Any) -> list[Any]:
    storage = storage_of(variable) if hasattr(variable, "_value") else variable
    return [one.handle for one in getattr(storage, "values", None) or (storage,) if hasattr(one, "handle")]
