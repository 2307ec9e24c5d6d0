"""A Python file as rules see it: its syntax tree, its names, the classes of Keras in it, the functions Keras traces."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from keras_estimator.doctor.findings import Place
from keras_estimator.doctor.names import ROOTS, Alone, Names, Surroundings, kind_of_keras
from keras_estimator.doctor.tensors import Traced

Function = ast.FunctionDef | ast.AsyncFunctionDef
# What Python raises when it cannot parse a text: what is no Python, has a zero byte, or is nested too deep.
NOT_PARSED = (SyntaxError, ValueError, RecursionError, MemoryError)
_SILENCED = re.compile(r"#\s*noqa(?::\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)
# Methods that Keras calls while it traces a model.
_STEPS = ("call", "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "update_state")
_ENTRIES = {
    "layer": ("call",),
    "model": _STEPS,
    "loss": ("call", "__call__"),
    "metric": ("update_state", "result"),
    "initializer": ("__call__",),
    "regularizer": ("__call__",),
    "constraint": ("__call__",),
    "schedule": ("__call__",),
}
# Arguments of `compile` and of layers that are functions of tensors.
_ROLES = {"metrics": "metric", "weighted_metrics": "metric"}
_FUNCTION_ARGUMENTS = frozenset({"loss", "metrics", "weighted_metrics", "activation", "recurrent_activation"})


@dataclasses.dataclass(frozen=True)
class KerasClass:
    """A class that inherits from one of Keras.

    Attributes:
        node: Its definition.
        kind: "layer", "model", "loss", "metric", "optimizer", "initializer", "callback" and so on.
        bases: The canonical names of its bases, those that are known.
        is_of_builtin: Whether it inherits from a finished class such as `keras.layers.Dense`, whose
            `get_config` knows the arguments of that class only.
        methods: Its own methods by name.
        ancestors: The classes of this file that it inherits from, the nearest first.
    """

    node: ast.ClassDef
    kind: str
    bases: tuple[str, ...]
    is_of_builtin: bool
    methods: dict[str, Function]
    ancestors: tuple[ast.ClassDef, ...]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.node.name

    def method(self, name: str) -> Function | None:
        """Return a method, its own one or that of an ancestor in this file."""
        if name in self.methods:
            return self.methods[name]
        return next((found for one in self.ancestors if (found := _methods(one).get(name))), None)


class Source:
    """One file, read and never run.

    Args:
        file: Its path, as findings name it.
        text: What is in it.
        module: Its dotted name as a module of a package; empty for a script.
        around: What is around it; None if nothing is.

    Raises:
        SyntaxError: It is no Python.
    """

    def __init__(self, file: str, text: str, module: str = "", around: Surroundings | None = None) -> None:
        self.file = file
        self.text = text
        self.module = module
        self._around = around or Alone()
        self.lines = text.splitlines()
        self.tree = ast.parse(text, filename=file)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node, the outer ones first."""
        return list(ast.walk(self.tree))

    @cached_property
    def names(self) -> Names:
        """What names stand for."""
        is_package = Path(self.file).name == "__init__.py"
        return Names(self.nodes, self.module, is_package=is_package, around=self._around)

    @cached_property
    def _parents(self) -> dict[int, ast.AST]:
        return {id(child): parent for parent in self.nodes for child in ast.iter_child_nodes(parent)}

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Every call."""
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def functions(self) -> dict[str, Function]:
        """The functions of the file that are no methods, by name; the last of a name counts, as in Python."""
        found = (node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        return {node.name: node for node in found if not isinstance(self.parent(node), ast.ClassDef)}

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return the node that a node is in; None for the file itself."""
        return self._parents.get(id(node))

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes that a node is in, the innermost first."""
        outer = self.parent(node)
        while outer is not None:
            yield outer
            outer = self.parent(outer)

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """Return the statement that a node is in, or is."""
        if isinstance(node, ast.stmt):
            return node
        return next(outer for outer in self.around(node) if isinstance(outer, ast.stmt))

    def function_of(self, node: ast.AST) -> Function | ast.Lambda | None:
        """Return the innermost function that a node is in."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        return next((outer for outer in self.around(node) if isinstance(outer, kinds)), None)

    def class_of(self, node: ast.AST) -> KerasClass | None:
        """Return the class of Keras that a node is in, if it is in one."""
        outer = next((outer for outer in self.around(node) if isinstance(outer, ast.ClassDef)), None)
        return next((found for found in self.classes if found.node is outer), None)

    def dotted(self, node: ast.AST | None) -> str:
        """Return the canonical name of `np.sin`: `numpy.sin`; empty if it is of nothing imported."""
        return self.names.dotted(node)

    def place(self, node: ast.AST) -> Place:
        """Return where a node stands."""
        return Place.of(node, self.file, self.lines)

    def code(self, node: ast.AST) -> str:
        """Return how a node is written."""
        return ast.get_source_segment(self.text, node) or ast.unparse(node)

    def is_silenced(self, line: int, code: str) -> bool:
        """Tell whether a comment silences a line (`noqa`), for all rules or for this one."""
        found = _SILENCED.search(self.lines[line - 1]) if 0 < line <= len(self.lines) else None
        return found is not None and (found["codes"] is None or code in re.split(r"[,\s]+", found["codes"].upper()))

    @cached_property
    def classes(self) -> list[KerasClass]:
        """The classes that inherit from one of Keras, also by way of others."""
        defined = {node.name: node for node in self.nodes if isinstance(node, ast.ClassDef)}
        found = (self._keras_class(node, defined) for node in self.nodes if isinstance(node, ast.ClassDef))
        return [one for one in found if one is not None]

    def _keras_class(self, node: ast.ClassDef, defined: dict[str, ast.ClassDef]) -> KerasClass | None:
        ancestors = list(_ancestors(node, defined))
        bases = [self.dotted(base) for one in (node, *ancestors) for base in one.bases]
        kinds = [kind for base in bases if base and (kind := self._around.kind_of(base))]
        if not kinds:
            return None
        of_keras = [base for base in bases if kind_of_keras(base)]
        of_builtin = bool(of_keras) and not any(base in ROOTS for base in of_keras)
        return KerasClass(node, kinds[0], tuple(filter(None, bases)), of_builtin, _methods(node), tuple(ancestors))

    @cached_property
    def traced(self) -> list[Traced]:
        """The functions that Keras traces: of layers, models, losses, metrics, Lambdas; and those that they call."""
        found: dict[int, Traced] = {}
        for one in self.classes:
            for name in _ENTRIES.get(one.kind, ()):
                if name in one.methods:
                    self._add(found, one.methods[name], one.kind, one)
        for call in self.calls:
            for value, role in self._functions_given(call):
                function = self.functions.get(value.id) if isinstance(value, ast.Name) else value
                if isinstance(function, ast.Lambda | ast.FunctionDef):
                    self._add(found, function, role, None)
        return list(found.values())

    def _functions_given(self, call: ast.Call) -> Iterator[tuple[ast.expr, str]]:
        """Yield the arguments of a call that Keras will trace as functions of tensors."""
        if self.dotted(call.func) == "keras.layers.Lambda":
            yield from ((value, "lambda") for value in call.args[:1])
            yield from ((word.value, "lambda") for word in call.keywords if word.arg == "function")
            return
        is_compile = isinstance(call.func, ast.Attribute) and call.func.attr == "compile"
        if not is_compile and kind_of_keras(self.dotted(call.func)) != "layer":
            return
        for word in call.keywords:
            if word.arg in _FUNCTION_ARGUMENTS:
                many = isinstance(word.value, ast.List | ast.Tuple)
                values = word.value.elts if many else [word.value]  # type: ignore[attr-defined]  # of a list
                yield from ((value, _ROLES.get(word.arg, word.arg)) for value in values)

    def _add(
        self,
        found: dict[int, Traced],
        function: ast.AST,
        role: str,
        owner: KerasClass | None,
        given: frozenset[str] | None = None,
    ) -> None:
        """Note a function, and the methods and functions of this file to which it hands tensors.

        Args:
            found: What was noted, by the id of its node; this is added to.
            function: The function.
            role: As what Keras calls it.
            owner: The class it is a method of.
            given: The parameters that get tensors; None if Keras calls it.
        """
        if not isinstance(function, Function | ast.Lambda):
            return
        before = found.get(id(function))
        if before is not None and (before.given is None or (given is not None and given <= before.given)):
            return
        given = given if before is None or given is None or before.given is None else given | before.given
        traced = found[id(function)] = Traced(function, role, owner.node if owner else None, self.names, given)
        for node in traced.nodes:
            if isinstance(node, ast.Call) and traced.any_holds_tensor([*node.args, *(w.value for w in node.keywords)]):
                self._add_called(found, traced, node, owner)

    def _add_called(self, found: dict[int, Traced], by: Traced, call: ast.Call, owner: KerasClass | None) -> None:
        called = call.func
        if isinstance(called, ast.Name) and called.id in self.functions:
            function: Function | None = self.functions[called.id]
            owner = None
        elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "self":
            function = owner.method(called.attr) if owner else None
        else:
            return
        if function is not None:
            self._add(found, function, by.role, owner, by.parameters_given(call, function, is_method=owner is not None))


def _methods(node: ast.ClassDef) -> dict[str, Function]:
    return {one.name: one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


def _ancestors(node: ast.ClassDef, defined: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    seen = {node.name}
    waiting = [base.id for base in node.bases if isinstance(base, ast.Name)]
    while waiting:
        name = waiting.pop(0)
        if name in defined and name not in seen:
            seen.add(name)
            yield defined[name]
            waiting += [base.id for base in defined[name].bases if isinstance(base, ast.Name)]
