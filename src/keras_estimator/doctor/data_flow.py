"""What in a traced graph is computed from some of its tensors, and what is written with that into variables.

A shape is no data: rows of another batch have the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_estimator.doctor.live_graph import Captured, LiveGraph, Operation

# What depends on the shape of its input only.
_OF_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "OnesLike", "ZerosLike", "BroadcastGradientArgs"})
# Calls of functions whose results are those of the function, in order.
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case", "StatelessCase"})


class Flow:
    """Everything that is computed from some tensors, also inside of the functions that a graph calls.

    Args:
        graph: A `tf.Graph`.
        starts: Its tensors from which is followed.
    """

    def __init__(self, graph: Any, starts: Iterable[Any]) -> None:
        # Names of tensors count in one graph only.
        self._reached: set[tuple[int, str]] = {(id(graph), tensor.name) for tensor in starts}
        self._follow(graph)

    def has(self, tensor: Any) -> bool:
        """Tell whether a tensor is computed from the first ones, or is one of them."""
        return (id(tensor.graph), tensor.name) in self._reached

    def _follow(self, graph: Any) -> None:
        for operation in graph.get_operations():  # each comes behind what it reads
            if operation.type in _OF_SHAPES:
                continue
            results = [self._follow_call(operation, name) for name in _functions(operation)]
            if results and operation.type in _CALLS:
                places = {place for found in results for place in found}
                self._add(output for place, output in enumerate(operation.outputs) if place in places)
            elif any(self.has(tensor) for tensor in operation.inputs):
                self._add(operation.outputs)

    def _follow_call(self, operation: Any, name: str) -> set[int]:
        """Follow into a function; return which of its results are reached."""
        inner = operation.graph._get_function(name).graph  # noqa: SLF001 - see traced_graph.py
        # What a call passes on comes last: a branch gets its index first.
        given = list(operation.inputs)[len(operation.inputs) - len(inner.inputs) :]
        self._add(own for outer, own in zip(given, inner.inputs, strict=False) if self.has(outer))
        self._follow(inner)
        return {place for place, output in enumerate(inner.outputs) if self.has(output)}

    def _add(self, tensors: Iterable[Any]) -> None:
        self._reached.update((id(tensor.graph), tensor.name) for tensor in tensors)


def from_data(live: LiveGraph) -> Flow:
    """Return what is computed from the arguments of a traced function."""
    return Flow(live.traced.graph, live.traced.inputs)


def writes_from(live: LiveGraph, flow: Flow) -> Iterator[tuple[Captured, Operation]]:
    """Yield every variable that is written with something that is reached, and the operation that does."""
    for captured, operation in live.writes():
        if any(flow.has(tensor) for tensor in operation.operation.inputs if tensor.dtype.name != "resource"):
            yield captured, operation


def from_variable(live: LiveGraph, captured: Captured) -> Flow:
    """Return what is computed from the value of a variable."""
    inner = [own for outer, own in live.traced.graph.captures if outer is captured.handle]
    return Flow(live.traced.graph, inner)


def _functions(operation: Any) -> list[str]:
    attributes = operation.node_def.attr.values()
    return [
        *(attribute.func.name for attribute in attributes if attribute.HasField("func")),
        *(function.name for attribute in attributes for function in attribute.list.func),
    ]
