"""Which expressions of functional code are KerasTensors: what comes from `keras.Input` by way of layers and keras.ops.

A module, or a function that builds a model, is followed from each `Input` on, also into functions of the same file
that are handed such a tensor. What other files do with one is not known, so their results are not followed.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.source import Function, Source
from keras_estimator.doctor.tensors import PLAIN_ATTRIBUTES

# Functions of TensorFlow and NumPy that look at shapes and structures only, or take whole models.
FOREIGN_BUT_HARMLESS = re.compile(
    r"tensorflow\.(nest|is_tensor|is_symbolic_tensor|function|TensorShape|TensorSpec|saved_model|executing_eagerly|data"
    r"|summary|config|io|distribute|train|lite|random\.set_seed|type_spec_from_value|get_static_value|print|__internal__)\b"
    r"|numpy\.(shape|ndim|iterable|isscalar|random|testing|issubdtype)\b"
)
_INPUTS = frozenset({"keras.Input", "keras.layers.Input"})
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@functools.lru_cache(maxsize=2)
def functional_code(source: Source) -> list[FunctionalCode]:
    """Return the modules and functions of a file in which there are KerasTensors.

    Args:
        source: The file; rules ask one after the other for the same one.
    """
    found: dict[int, FunctionalCode] = {}
    for call in source.calls:
        if source.dotted(call.func) in _INPUTS:
            around = source.function_of(call)
            if not isinstance(around, ast.Lambda):
                body = around or source.tree
                found.setdefault(id(body), FunctionalCode(source, body, frozenset()))
    waiting = list(found.values())
    while waiting:
        for function, names in waiting.pop().handed_on():
            before = found.get(id(function))
            if before is None or not names <= before.given:
                given = names | (before.given if before else frozenset())
                found[id(function)] = one = FunctionalCode(source, function, given)
                waiting.append(one)
    return list(found.values())


class FunctionalCode:
    """A module or function in which there are KerasTensors.

    Args:
        source: The file.
        body: The module or function.
        given: Its parameters that get such tensors.
    """

    def __init__(self, source: Source, body: Function | ast.Module, given: frozenset[str]) -> None:
        self.source = source
        self.body = body
        self.given = given

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Its nodes, without those of functions and classes inside."""
        found: list[ast.AST] = []
        waiting: list[ast.AST] = list(self.body.body)
        while waiting:
            node = waiting.pop()
            if not isinstance(node, _NESTED):
                found.append(node)
                waiting += ast.iter_child_nodes(node)
        return found

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Its calls, in the order in which they are written."""
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        return sorted(calls, key=lambda node: (node.lineno, node.col_offset))

    @cached_property
    def _bindings(self) -> dict[str, list[ast.expr | None]]:
        found: dict[str, list[ast.expr | None]] = {}
        for node in self.nodes:
            value: ast.expr | None = None
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                value, targets = node.value, node.targets
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                value, targets = node.value, [node.target]
            elif isinstance(node, ast.For):
                targets = [node.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        # Of `a, b = f(x)`, and of a loop, nobody knows which one is a tensor.
                        found.setdefault(name.id, []).append(value if name is target else None)
        return found

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that hold such tensors, each time they are bound; an argument may also be bound anew."""
        found = set(self.given)
        before = -1
        while len(found) != before:
            before = len(found)
            for name, values in self._bindings.items():
                known = [value is not None and self._holds(value, found | {name}) for value in values]
                starts = any(value is not None and self._holds(value, found - {name}) for value in values)
                if all(known) and starts:
                    found.add(name)
        return frozenset(found)

    def any_holds(self, call: ast.Call) -> bool:
        """Tell whether a call gets a KerasTensor, also in a list or tuple."""
        return any(self._has(value, self.names) for value in _arguments(call))

    def handed_on(self) -> Iterator[tuple[Function, frozenset[str]]]:
        """Yield the functions of this file that get such tensors, and the parameters that do."""
        for call in self.calls:
            function = self.source.functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
            if function is None or function is self.body or not self.any_holds(call):
                continue
            parameters = [one.arg for one in function.args.args]
            placed = zip(parameters, call.args, strict=False)
            named = ((str(word.arg), word.value) for word in call.keywords if word.arg in parameters)
            given = frozenset(name for name, value in (*placed, *named) if self._holds(value, self.names))
            if given:
                yield function, given

    def _has(self, node: ast.AST, names: Iterable[str]) -> bool:
        if isinstance(node, ast.List | ast.Tuple):
            return any(self._has(one, names) for one in node.elts)
        return self._holds(node, names)

    def _holds(self, node: ast.AST, names: Iterable[str]) -> bool:
        if isinstance(node, ast.Name):
            return node.id in names
        if isinstance(node, ast.BinOp):
            return self._holds(node.left, names) or self._holds(node.right, names)
        if isinstance(node, ast.UnaryOp):
            return not isinstance(node.op, ast.Not) and self._holds(node.operand, names)
        if isinstance(node, ast.Subscript):
            return not self._is_plain(node.value) and self._holds(node.value, names)
        return isinstance(node, ast.Call) and self._gives_tensor(node, names)

    def _is_plain(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in PLAIN_ATTRIBUTES

    def _gives_tensor(self, call: ast.Call, names: Iterable[str]) -> bool:
        dotted = self.source.dotted(call.func)
        if dotted in _INPUTS:
            return True
        if not any(self._has(value, names) for value in _arguments(call)):
            return False
        if isinstance(call.func, ast.Call):  # `Dense(4)(x)`
            return bool(kind_of_keras(self.source.dotted(call.func.func)) == "layer" or self._is_own(call.func.func))
        if dotted.startswith(("keras.ops.", "keras.activations.")):
            return not dotted.endswith((".shape", ".ndim", ".dtype", ".size", ".is_tensor"))
        if dotted.startswith(("tensorflow.", "numpy.")):  # what it would be, if it did not fail
            return not FOREIGN_BUT_HARMLESS.match(dotted)
        return isinstance(call.func, ast.Name) and self._is_layer(call.func.id)

    def _is_own(self, node: ast.expr) -> bool:
        """Tell whether a class is one of the layers of this file."""
        return isinstance(node, ast.Name) and any(
            one.name == node.id and one.kind == "layer" for one in self.source.classes
        )

    def _is_layer(self, name: str) -> bool:
        """Tell whether a name of this code is bound to a layer, or a model of Keras."""
        values = self._bindings.get(name, ())
        return bool(values) and all(
            isinstance(value, ast.Call)
            and (
                kind_of_keras(self.source.dotted(value.func)) in ("layer", "model")
                or self.source.dotted(value.func).startswith("keras.applications.")
                or self._is_own(value.func)
            )
            for value in values
        )


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (word.value for word in call.keywords)
