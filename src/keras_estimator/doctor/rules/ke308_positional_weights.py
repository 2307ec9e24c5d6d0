"""KE308 positional-weights: `set_weights` goes by the order of weights, and that is another one in another class.

What it finds:
    `b.set_weights(a.get_weights())` where `a` and `b` were made by different classes or functions.

Why it matters:
    `get_weights` is a list without names. Its order is that in which attributes were assigned and weights were made;
    two classes that compute the same may have another one.

If ignored:
    Weights of equal shapes are swapped without an error. A weights file does not help: Keras numbers layers in it by
    their places, too. An Estimator names variables by the attributes that hold them.

Example:
    student.set_weights(teacher.get_weights())

Instead:
    student.encoder.set_weights(teacher.encoder.get_weights())

Fix:
    None: copy layer by layer, by attributes.

Evidence:
    Two models with `p` and `q` assigned in another order: answers differ by 1.19 after `set_weights`, and also after
    `save_weights` and `load_weights`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

SEVERITY = Severity.WARNING
_COPIES = frozenset({"keras.models.clone_model", "copy.deepcopy", "copy.copy"})
_FIX = Fix("copy layer by layer, by the attributes that hold them", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find weights that go from an object to one that something else has made."""
    for call in source.calls:
        taker, giver = _pair(call)
        makers = [_maker(source, call, one) for one in (taker, giver)] if taker and giver else []
        if len(makers) == 2 and all(makers) and makers[0] != makers[1]:
            kinds = f"{taker} is of {makers[0]} and {giver} of {makers[1]}"
            yield Problem(call, f"weights go by their places, and {kinds}", fix=_FIX)


def _pair(call: ast.Call) -> tuple[str, str]:
    """Return the two names of `taker.set_weights(giver.get_weights())`."""
    taker = _named(call.func, "set_weights")
    given = call.args[0] if len(call.args) == 1 else None
    giver = _named(given.func, "get_weights") if isinstance(given, ast.Call) else ""
    return taker, giver


def _named(function: ast.expr, method: str) -> str:
    if not isinstance(function, ast.Attribute) or function.attr != method:
        return ""
    return function.value.id if isinstance(function.value, ast.Name) else ""


def _maker(source: Source, call: ast.Call, name: str) -> str:
    """Return the class that made what a name holds where a call stands; empty if that is not known for sure."""
    scope = source.function_of(call) or source.tree
    made = [node.value for node in ast.walk(scope) if isinstance(node, ast.Assign) and _assigns(node, name)]
    bound = [node for node in ast.walk(scope) if isinstance(node, ast.Name) and node.id == name and _is_stored(node)]
    if len(made) != 1 or len(bound) != 1 or not isinstance(made[0], ast.Call):
        return ""
    function = made[0].func
    if source.dotted(function) in _COPIES or not isinstance(function, ast.Name):
        return ""  # a copy is made as the other one was; what `keras.Sequential` makes depends on its arguments
    # A function may return what another one makes; of two classes it is plain that they are different ones.
    return function.id if any(one.name == function.id for one in source.classes) else ""


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in node.targets)


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
