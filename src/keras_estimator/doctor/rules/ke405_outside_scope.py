"""KE405 outside-scope: a model, or a part of it, was made outside of the scope of the strategy that trains it.

What it finds:
    Weights that are not of the strategy that the optimizer or other weights are of; `model.compile` within a scope for
    a model made before it; and the errors that Keras raises then.

Why it matters:
    A strategy can only update variables that were made in its scope, one copy for each device. Parts that were made
    before, such as a pretrained network, or a model that is built by its first call outside, are not.

If ignored:
    `fit` of plain Keras ends with an empty AssertionError, or with "Mixing different tf.distribute.Strategy objects".
    An Estimator needs no scope: it makes its replicas itself, by `RunConfig(train_distribute=...)`.

Example:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with strategy.scope():
        model.compile("sgd", "mse")

Instead:
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")

Fix:
    For display: what has to move into the scope may be in another file.

Evidence:
    Keras 3.15, with one and with two devices: `AssertionError ''` at keras/src/backend/tensorflow/optimizer.py:134 for
    a model made, a pretrained part made, or a model built outside; RuntimeError for an optimizer made outside.
"""

from __future__ import annotations

import ast
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.user_files import is_told_by_source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.ERROR
_FIX = Fix("make the model, its parts and its optimizer within `with strategy.scope():`", Applicability.DISPLAY)
_STRATEGIES = ("tensorflow.distribute.MirroredStrategy", "tensorflow.distribute.MultiWorkerMirroredStrategy")
_MIXED = "Mixing different tf.distribute.Strategy objects"


def in_source(source: Source) -> Iterator[Problem]:
    """Find models that are compiled within a scope and were made before it, in the same function."""
    for call in source.calls:
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "compile":
            continue
        scope = next((outer for outer in source.around(call) if _is_scope(source, outer)), None)
        name = call.func.value
        if scope is None or not isinstance(name, ast.Name):
            continue
        made = _made(source, name.id, source.function_of(call))
        if made and not any(_is_scope(source, outer) for one in made for outer in source.around(one)):
            yield Problem(call, f"`{name.id}` was made outside of the scope in which it is compiled", fix=_FIX)


def _is_scope(source: Source, node: ast.AST) -> bool:
    """Tell whether a node is `with strategy.scope():`, of a strategy that the file makes."""
    for item in node.items if isinstance(node, ast.With) else ():
        call = item.context_expr
        function = call.func if isinstance(call, ast.Call) and not call.args else None
        if isinstance(function, ast.Attribute) and function.attr == "scope":
            strategy = function.value
            values = [strategy] if isinstance(strategy, ast.Call) else _values(source, ast.unparse(strategy))
            return any(source.dotted(one.func) in _STRATEGIES for one in values if isinstance(one, ast.Call))
    return False


def _values(source: Source, name: str) -> list[ast.expr]:
    """Return what is assigned to a name anywhere in the file."""
    assigned = (node for node in source.nodes if isinstance(node, ast.Assign))
    return [node.value for node in assigned if any(ast.unparse(one) == name for one in node.targets)]


def _made(source: Source, name: str, function: ast.AST | None) -> list[ast.expr]:
    """Return the calls that make the model of a name in a function; none if it is made in any other way, too."""
    values = [value for value in _values(source, name) if source.function_of(value) is function]
    return values if all(_makes_model(source, value) for value in values) else []


def _makes_model(source: Source, value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    dotted = source.dotted(value.func)
    is_of_file = isinstance(value.func, ast.Name) and any(
        one.name == value.func.id and one.kind == "model" for one in source.classes
    )
    return is_of_file or kind_of_keras(dotted) == "model" or dotted.startswith("keras.applications.")


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare the strategies of weights and optimizer; nothing is run."""
    optimizer = live.compiled_parts.get("optimizer")
    weights = [held for held in live.holdings if not held.is_raw and getattr(held.variable, "trainable", False)]
    strategies = {id(one): one for one in [_strategy(held.variable) for held in weights] if one is not None}
    of_optimizer = getattr(optimizer, "_distribution_strategy", None)
    if any(live.is_a(of_optimizer, name) for name in _STRATEGIES):
        strategies[id(of_optimizer)] = of_optimizer
    outside = [held.path for held in weights if _strategy(held.variable) is None]
    if not strategies or not outside or is_told_by_source(live, in_source, SEVERITY):
        return
    kind = type(next(iter(strategies.values()))).__name__
    message = f"{len(outside)} of {len(weights)} trainable weights were made outside of the scope of {kind}"
    yield Problem(None, message, evidence=", ".join(outside[:3]), fix=_FIX)


def _strategy(variable: Any) -> Any:
    return getattr(getattr(variable, "value", variable), "distribute_strategy", None)


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find the bare assertion of TensorFlow, and the error about two strategies."""
    frames = traceback.extract_tb(failure.error.__traceback__)
    is_bare = failure.kind == "AssertionError" and not failure.text
    is_in_optimizer = any(frame.filename.endswith("keras/src/backend/tensorflow/optimizer.py") for frame in frames)
    if (is_bare and is_in_optimizer) or _MIXED in failure.text:
        message = "something that the optimizer works with was made outside of the strategy's scope"
        yield Problem(failure.place, message, evidence=failure.line, fix=_FIX)
