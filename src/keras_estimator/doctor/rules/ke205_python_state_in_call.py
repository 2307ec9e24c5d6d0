"""KE205 python-state-in-call: a number or a list of Python is changed while the model is traced, not while it runs.

What it finds:
    `self.n += 1`, `self.seen.append(...)` and `global n` with `n += 1` in a `call`, a step or a loss.

Why it matters:
    A graph is traced once or twice and runs a million times. What Python counts are traces, and what the graph has is
    the number that there was at the last one.

If ignored:
    The counter stands still at the number of traces; Keras's own `save` loses it, and a copy in another process begins
    with the value that it had here. An Estimator carries the value, and warns that it is frozen.

Example:
    def call(self, x):
        self.n += 1
        return x * self.n

Instead:
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.n = self.add_weight(name="n", shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x):
        self.n.assign_add(1)
        return x * self.n

Fix:
    Unsafe, for a plain number that `__init__` sets: it counts steps from then on, which is what was meant.

Evidence:
    A layer that multiplies with its counter answered 2, 2, 2, 2 to four calls of `predict`; run eagerly 3, 4, 5, 6.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.counting import counted_by_weight
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.placed_problems import problems_in
from keras_estimator.doctor.python_state import changes_in_traces
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.sure_tensors import SureTensors, sure_tensors
from keras_estimator.doctor.tensors import own_attribute

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_GROW = frozenset({"append", "extend", "insert", "add"})
_CONTAINERS = frozenset({"list", "set", "dict", "deque", "defaultdict", "Counter"})
_ADVICE = Fix("make it a weight: self.add_weight(...), and assign to it", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find changes of numbers and lists of Python in functions that are traced."""
    for one in sure_tensors(source):
        globals_ = {name for node in one.traced.nodes if isinstance(node, ast.Global) for name in node.names}
        for node in one.traced.nodes:
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in globals_:
                yield Problem(node, f"the global {node.target.id} changes {_when(one)}", fix=_ADVICE)
            elif one.owner is not None:
                yield from _of_attribute(source, one, one.owner, node)


def _when(one: SureTensors) -> str:
    return f"when `{one.traced.name}` is traced, not when it runs"


def _of_attribute(source: Source, one: SureTensors, owner: KerasClass, node: ast.AST) -> Iterator[Problem]:
    counted = _counted(node)
    if counted and isinstance(node, ast.stmt) and (first := _first_number(owner, counted, node)):
        yield Problem(node, f"self.{counted} changes {_when(one)}", fix=_fix(source, one, owner, node, first))
    grown = _grown(node)
    if grown and _is_container(owner, grown) and not _set_to(one.traced.nodes, grown):
        advice = Fix("keep it in a weight, or return it", Applicability.DISPLAY)
        yield Problem(source.statement_of(node), f"self.{grown} changes {_when(one)}", fix=advice)


def _counted(node: ast.AST) -> str:
    """Return the attribute that `self.n += 1` or `self.n = self.n + 1` counts; empty if a node is neither."""
    if isinstance(node, ast.AugAssign):
        return own_attribute(node.target)
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.BinOp):
        name = own_attribute(node.targets[0])
        return name if name in map(own_attribute, (node.value.left, node.value.right)) else ""
    return ""


def _grown(node: ast.AST) -> str:
    """Return the attribute that `self.seen.append(x)` or `self.seen["x"] += 1` makes grow; empty if it does not."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _GROW:
        return own_attribute(node.func.value)
    is_item = isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript)
    return own_attribute(node.target.value) if is_item else ""  # type: ignore[attr-defined]  # see the line above


def _set_to(nodes: Iterable[ast.AST], name: str) -> list[ast.expr]:
    """Return the values that statements give to an attribute."""
    found = [(one, node.value) for node in nodes if isinstance(node, ast.Assign) for one in node.targets]
    return [value for one, value in found if own_attribute(one) == name]


def _in_class(owner: KerasClass) -> list[ast.AST]:
    return [node for definition in (owner.node, *owner.ancestors) for node in ast.walk(definition)]


def _first_number(owner: KerasClass, name: str, node: ast.stmt) -> ast.Constant | None:
    """Return the number that `__init__` gives to an attribute that a statement counts."""
    own = getattr(node, "value", None)
    values = [value for value in _set_to(_in_class(owner), name) if value is not own]
    numbers = [one for one in values if isinstance(one, ast.Constant) and type(one.value) in (int, float)]
    return numbers[0] if numbers and all(isinstance(one, ast.Constant) for one in values) else None


def _is_container(owner: KerasClass, name: str) -> bool:
    values = _set_to(_in_class(owner), name)
    displays = (ast.List, ast.Dict, ast.Set)
    return bool(values) and all(
        isinstance(one, displays)
        or (isinstance(one, ast.Call) and ast.unparse(one.func).rpartition(".")[2] in _CONTAINERS)
        for one in values
    )


def _fix(source: Source, one: SureTensors, owner: KerasClass, node: ast.stmt, first: ast.Constant) -> Fix:
    name = _counted(node)
    is_set_once = len(_set_to(_in_class(owner), name)) == 1
    if not is_set_once or (isinstance(node, ast.AugAssign) and one.holds(node.value)):
        return _ADVICE
    return counted_by_weight(source, owner, name, first, node) or _ADVICE


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Trace twice, and find numbers and lists of the user's layers that have changed each time."""
    for (path, name), (before, after) in changes_in_traces(live).items():
        layer, evidence = live.layers[path], f"{before} before a trace, {after} after it"
        known = [one for one in problems_in(live, layer, in_source) if f"self.{name} " in one.message]
        place = live.place_of_attribute(layer, name)
        message = f"self.{name} changes when the layer is traced, not when it runs"
        for one in known or [Problem(place, message, fix=_ADVICE)]:
            yield dataclasses.replace(one, layer=path, evidence=evidence)
