"""KE503 python-value-baked: a number of Python that a traced function reads is set later, which nobody notices.

What it finds:
    An attribute that `call` or a step computes with, set by another method from its argument; and a callback that
    sets such an attribute of its model.

Why it matters:
    `fit`, `predict` and `export` trace the model once. What Python held then is a constant of the graph.

If ignored:
    After the first batch, setting it changes nothing in `fit` and `predict` of plain Keras, and nothing in what was
    exported, without a word; a call of the model itself answers with the new number. An Estimator compiles the step
    once, too.

Example:
    def set_strength(self, strength):
        self.strength = strength

Instead:
    def set_strength(self, strength):
        self.strength_weight.assign(strength)

Fix:
    For display: make it a weight that is not trained, and assign it.

Evidence:
    `x * self.alpha` set from 1 to 5 after a first `predict`: it answered 1.76 as before, `model(x)` 8.82. A callback
    that sets `self.model.beta` to the epoch: 0, 0, 0, 0 in four epochs.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.placed_problems import problems_in
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Function, KerasClass, Source
from keras_estimator.doctor.tensors import Traced, own_attribute

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_FIX = Fix("make it a weight (trainable=False) and assign it", Applicability.DISPLAY)
# Methods that run before anything is traced, or that are traced themselves.
_EARLY = ("__", "build", "call", "compile", "adapt", "from_config", "get_config", "train_", "test_", "predict_", "load")
_ARITHMETIC = (ast.BinOp,)


def in_source(source: Source) -> Iterator[Problem]:
    """Find attributes that are set too late."""
    read: dict[str, set[str]] = {}  # by class
    for one in source.classes:
        if one.kind in ("layer", "model"):
            read[one.name] = _computed_with(source, one) & _numbers(one)
            yield from _in_setters(one, read[one.name])
    everywhere = set().union(*read.values())
    for one in source.classes:
        if one.kind == "callback" and everywhere:
            yield from _in_callback(one, everywhere)


def _computed_with(source: Source, one: KerasClass) -> set[str]:
    """Return the attributes of `self` that stand in arithmetic with tensors, in what is traced of a class."""
    found: set[str] = set()
    for traced in source.traced:
        if traced.owner is not one.node or traced.name in ("build", "compute_mask"):
            continue
        for node in traced.nodes:
            if isinstance(node, _ARITHMETIC) and (_is_tensor(traced, node.left) or _is_tensor(traced, node.right)):
                found |= {own_attribute(side) for side in (node.left, node.right)}
    return found - {""}


def _is_tensor(traced: Traced, node: ast.expr) -> bool:
    # Everything in a step of a model is a tensor, but its attributes.
    return traced.holds_tensor(node) or (traced.role == "model" and isinstance(node, ast.Call | ast.Name))


def _numbers(one: KerasClass) -> set[str]:
    """Return the attributes that `__init__` sets to a number or to its argument, and to nothing else."""
    init = one.methods.get("__init__")
    if init is None:
        return set()
    arguments = {arg.arg for arg in (*init.args.args, *init.args.kwonlyargs)}
    found: dict[str, bool] = {}
    for name, value, _ in _assigned(init):
        is_number = isinstance(value, ast.Constant) and isinstance(value.value, int | float)
        is_argument = isinstance(value, ast.Name) and value.id in arguments
        found[name] = found.get(name, True) and (is_number or is_argument)
    return {name for name, is_number in found.items() if is_number}


def _assigned(method: Function, owner: str = "self") -> Iterator[tuple[str, ast.expr, ast.stmt]]:
    """Yield what a method assigns to attributes of something: the name, the value, the statement."""
    for node in ast.walk(method):
        if isinstance(node, ast.Assign | ast.AugAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == owner:
                    yield target.attr, node.value, node


def _in_setters(one: KerasClass, read: set[str]) -> Iterator[Problem]:
    for name, method in one.methods.items():
        if name.startswith(_EARLY) or not read:
            continue
        arguments = {arg.arg for arg in (*method.args.args[1:], *method.args.kwonlyargs)}
        for attribute, value, statement in _assigned(method):
            given = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)} & arguments
            if attribute in read and given:
                message = f"self.{attribute} is a constant of what was traced before {name} sets it"
                yield Problem(statement, message, fix=_FIX)


def _in_callback(one: KerasClass, read: set[str]) -> Iterator[Problem]:
    for name, method in one.methods.items():
        if name.startswith("on_") and name != "on_train_begin":
            for attribute, _, statement in _assigned(method, "self.model"):
                if attribute in read:
                    message = f"model.{attribute} is a constant of the step, and {name} sets it in vain"
                    yield Problem(statement, message, fix=_FIX)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Set such numbers to another one, and see what the model would answer if it were traced again."""
    for path, layer in live.layers_of_user:
        for one in problems_in(live, layer, in_source):
            named = re.match(r"self\.(\w+) is a constant", one.message)
            value: Any = getattr(layer, named[1], None) if named else None
            if named and type(value) in (int, float) and (far := _difference(live, layer, named[1], value)):
                evidence = f"with {value + 1} instead of {value} the answer differs by {far:.3g}, if it is traced again"
                yield dataclasses.replace(one, layer=path, evidence=evidence)


def _difference(live: LiveModel, layer: Any, name: str, value: Any) -> float:
    if live.arrays is None or not live.traced:
        return 0.0
    try:
        before = live.answer(live.arrays[0], training=True)
        with live.unchanged():
            setattr(layer, name, value + 1)
            after = live.answer(live.arrays[0], training=True)
    except Exception:  # noqa: BLE001 - with another number, code of the user's may do anything
        return 0.0
    return max((float(abs(one - two).max()) for one, two in zip(before, after, strict=True)), default=0.0)
