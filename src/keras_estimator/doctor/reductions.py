"""Reductions over the rows of a batch: where they are written, and where they are in a traced graph."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import PLAIN_ATTRIBUTES, Traced

if TYPE_CHECKING:
    from keras_estimator.doctor.findings import Place
    from keras_estimator.doctor.live import LiveModel
    from keras_estimator.doctor.live_graph import LiveGraph

_NAMES = "mean sum max min prod std var variance logsumexp amax amin median average euclidean_norm all any".split()
_MODULES = ("keras.ops.", "tensorflow.reduce_", "tensorflow.math.reduce_", "keras.backend.", "numpy.")
_NORMS = frozenset({"keras.ops.norm", "tensorflow.norm", "tensorflow.linalg.norm", "numpy.linalg.norm"})
_REDUCTIONS = frozenset(f"{module}{name}" for module in _MODULES for name in _NAMES) | _NORMS
_IN_GRAPHS = ("Mean", "Sum", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm")


def reduces_rows(source: Source, node: ast.AST) -> bool:
    """Tell whether an expression is a reduction over all axes, or over the first one among others."""
    return is_total(source, node) or _has_first_axis(_axis(source, node))


def is_total(source: Source, node: ast.AST) -> bool:
    """Tell whether an expression is a reduction over all axes: a number for the whole batch."""
    if not isinstance(node, ast.Call) or source.dotted(node.func) not in _REDUCTIONS:
        return False
    words = {word.arg for word in node.keywords}
    if None in words or any(isinstance(one, ast.Starred) for one in node.args):
        return False  # nobody knows what is in **more
    axis = _axis(source, node)
    return axis is None or (isinstance(axis, ast.Constant) and axis.value is None)


def _axis(source: Source, node: ast.AST) -> ast.expr | None:
    if not isinstance(node, ast.Call) or source.dotted(node.func) not in _REDUCTIONS:
        return None
    place = 2 if source.dotted(node.func) in _NORMS else 1
    given = next((word.value for word in node.keywords if word.arg in ("axis", "reduction_indices")), None)
    return given or (node.args[place] if len(node.args) > place else None)


def _has_first_axis(axis: ast.expr | None) -> bool:
    axes = axis.elts if isinstance(axis, ast.Tuple | ast.List) else [axis]
    return any(isinstance(one, ast.Constant) and one.value == 0 and one.value is not False for one in axes)


class Rows:
    """Which names of a function that Keras traces hold rows of the batch, and which hold numbers about all of it.

    Args:
        source: The file.
        traced: The function.
    """

    def __init__(self, source: Source, traced: Traced) -> None:
        self._source = source
        self.traced = traced

    def are_in(self, node: ast.AST, among: set[str]) -> bool:
        """Tell whether an expression holds a tensor with rows; one of some names, if any are given."""
        names = (name for name in self._names(node) if name.id not in self.reduced and (not among or name.id in among))
        return any(map(self.traced.holds_tensor, names))

    @functools.cached_property
    def reduced(self) -> set[str]:
        """The names that hold numbers about the whole batch, and nothing else."""
        found: dict[str, bool] = {}
        for name, value in self._assignments():
            tensors = (one.id for one in self._names(value) if self.traced.holds_tensor(one))
            has_rows = any(not found.get(one, False) for one in tensors)
            found[name] = found.get(name, True) and not has_rows
        return {name for name, is_reduced in found.items() if is_reduced and name not in self.traced.parameters}

    @functools.cached_property
    def answered(self) -> set[str]:
        """The names that the answer is computed from, row by row."""
        returned = [node.value for node in self.traced.nodes if isinstance(node, ast.Return) and node.value]
        found = {name.id for value in returned for name in self._names(value)}
        size = -1
        while size != len(found):
            size = len(found)
            values = [value for name, value in self._assignments() if name in found]
            found |= {one.id for value in values for one in self._names(value)}
        return found

    def _assignments(self) -> Iterator[tuple[str, ast.expr]]:
        for node in self.traced.nodes:
            if isinstance(node, ast.Assign):
                names = (one for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name))
                yield from ((name.id, node.value) for name in names)
            elif isinstance(node, ast.AugAssign | ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                yield node.target.id, node.value

    def _names(self, node: ast.AST) -> Iterator[ast.Name]:
        """Yield the names in an expression, not those inside of a reduction over rows or of a shape."""
        if isinstance(node, ast.Name):
            yield node
        is_plain = isinstance(node, ast.Attribute) and node.attr in PLAIN_ATTRIBUTES
        is_shape = isinstance(node, ast.Call) and self._source.dotted(node.func).endswith((".shape", ".size"))
        if is_plain or is_shape or reduces_rows(self._source, node):
            return
        for child in ast.iter_child_nodes(node):
            yield from self._names(child)


def place_of_reduction(live: LiveModel, graph: LiveGraph | None, path: str) -> Place | None:
    """Return the user's line in a layer at which rows are reduced; or else that at which the layer is written.

    Args:
        live: The model.
        graph: What was traced of it.
        path: The path of the layer.
    """
    for operation in _of_rows(graph):
        if operation.layer == path and operation.place is not None:
            return operation.place  # type: ignore[no-any-return]  # of a graph
    layer = live.layers.get(path)
    return None if layer is None else live.place_of_layer(layer)


def _of_rows(graph: LiveGraph | None) -> Iterator[Any]:
    """Yield the operations that reduce over the first axis of something whose first size is open."""
    for one in graph.of_kind(*_IN_GRAPHS) if graph is not None else ():
        tensor, axes = one.operation.inputs[0], one.constant_input(1)
        rank = tensor.shape.rank
        is_open = rank is None or (rank > 0 and tensor.shape[0] is None)
        if axes is not None and is_open and {0, -(rank or 0)} & set(axes.reshape(-1).tolist()):
            yield one
