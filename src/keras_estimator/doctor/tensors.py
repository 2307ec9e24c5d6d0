"""A function that Keras traces, and which of its names hold tensors: what came from its arguments, and what from them.

A shape, a dtype or a rank of a tensor is a plain value of Python, as is what `isinstance` says of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property

from keras_estimator.doctor.names import Names

# Of a tensor, plain values of Python.
PLAIN_ATTRIBUTES = frozenset({"shape", "dtype", "ndim", "rank", "name", "device", "op", "graph"})
_PLAIN_FUNCTIONS = frozenset({"isinstance", "len", "type", "hasattr", "callable", "id", "repr", "str", "issubclass"})
_PLAIN_CALLS = frozenset(
    """
    keras.ops.is_tensor tensorflow.is_tensor keras.backend.int_shape keras.backend.is_keras_tensor keras.ops.ndim
    keras.backend.ndim tensorflow.executing_eagerly keras.ops.dtype keras.backend.standardize_dtype keras.backend.dtype
    tensorflow.debugging.is_numeric_tensor keras.utils.is_keras_tensor
    """.split()
)
# Arguments that Keras fills with plain values, in whatever function.
_PLAIN_ARGUMENTS = frozenset(
    {"self", "cls", "training", "mask", "name", "axis", "step", "shape", "dtype", "partition_info"}
)


class Traced:
    """One function that Keras traces.

    Args:
        node: The function or lambda.
        role: "layer", "model", "loss", "metric", "lambda" and so on: as what Keras calls it.
        owner: The class it is a method of, if it is one.
        names: Of the file.
        given: The parameters that get tensors where it is called; None if Keras calls it.
    """

    def __init__(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        role: str,
        owner: ast.ClassDef | None,
        names: Names,
        given: frozenset[str] | None = None,
    ) -> None:
        self.node = node
        self.given = given
        self.role = role
        self.owner = owner
        self._names = names

    @property
    def name(self) -> str:
        """What it is called; `lambda` if it is one."""
        return "lambda" if isinstance(self.node, ast.Lambda) else self.node.name

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of its body, also of functions in it; not its decorators and defaults."""
        body = [self.node.body] if isinstance(self.node, ast.Lambda) else self.node.body
        return [node for statement in body for node in ast.walk(statement)]

    @cached_property
    def parameters(self) -> list[str]:
        """The names of its parameters."""
        given = self.node.args
        return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]

    @cached_property
    def tensors(self) -> frozenset[str]:
        """The names that hold tensors: parameters, and what is computed from them."""
        given = self.node.args
        # Parameters with a default are settings, in most functions; all that Keras gives comes before them.
        plain = {one.arg for one in given.args[len(given.args) - len(given.defaults) :]} if given.defaults else set()
        if self.role in ("initializer", "schedule"):
            return frozenset()
        if self.given is not None:
            return self._closed(set(self.given))
        found = set(self.parameters) - _PLAIN_ARGUMENTS - plain - {one.arg for one in given.kwonlyargs}
        found |= {one.arg for one in (given.vararg,) if one and self.role in ("layer", "model", "lambda")}
        return self._closed(found)

    def _closed(self, found: set[str]) -> frozenset[str]:
        """Return names that hold tensors, with those that are computed from them."""
        before = -1
        while len(found) != before:
            before = len(found)
            for node in self.nodes:
                found.update(self._bound_to_tensors(node, found))
        return frozenset(found)

    def parameters_given(
        self, call: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool
    ) -> frozenset[str]:
        """Return the parameters of a function to which a call in this one hands tensors."""
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)][1 if is_method else 0 :]
        found = {word.arg for word in call.keywords if word.arg and self.holds_tensor(word.value)}
        for place, value in enumerate(call.args):
            if isinstance(value, ast.Starred) or place >= len(names):
                found |= {function.args.vararg.arg} if function.args.vararg else set(names[place:])
            elif self.holds_tensor(value):
                found.add(names[place])
        return frozenset(found)

    def _bound_to_tensors(self, node: ast.AST, found: set[str]) -> Iterator[str]:
        value: ast.expr | None = None
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            value, targets = node.value, node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
            value, targets = node.value, [node.target]
        elif isinstance(node, ast.For | ast.comprehension):
            value, targets = node.iter, [node.target]
        if value is not None and self._holds(value, found):
            for target in targets:
                yield from _names_bound(target)

    def holds_tensor(self, node: ast.AST) -> bool:
        """Tell whether an expression gives a tensor, or something with tensors in it."""
        return self._holds(node, self.tensors)

    def any_holds_tensor(self, nodes: Iterable[ast.AST]) -> bool:
        """Tell whether one of some expressions does."""
        return any(self.holds_tensor(node) for node in nodes)

    def _holds(self, node: ast.AST, tensors: Iterable[str]) -> bool:
        if isinstance(node, ast.Name):
            return node.id in tensors
        if isinstance(node, ast.Attribute):
            return node.attr not in PLAIN_ATTRIBUTES and self._holds(node.value, tensors)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in _PLAIN_FUNCTIONS:
                return False
            if self._names.dotted(node.func) in _PLAIN_CALLS:
                return False
            if isinstance(node.func, ast.Attribute) and node.func.attr in {"get_shape", "as_list", "numpy"}:
                return False
        if isinstance(node, ast.Compare) and any(isinstance(one, ast.Is | ast.IsNot | ast.In) for one in node.ops):
            return False
        if isinstance(node, ast.Constant | ast.Lambda):
            return False
        return any(self._holds(child, tensors) for child in ast.iter_child_nodes(node))


def own_attribute(node: ast.AST | None) -> str:
    """Return `name` of `self.name`; empty for everything else."""
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if is_own else ""  # type: ignore[union-attr]  # it is an Attribute


def _names_bound(target: ast.expr) -> Iterator[str]:
    """Yield the names that an assignment makes hold what is assigned: of `a, b[i] = ...`, `a` and `b`."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Subscript | ast.Starred):
        yield from _names_bound(target.value)
    elif isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            yield from _names_bound(one)
