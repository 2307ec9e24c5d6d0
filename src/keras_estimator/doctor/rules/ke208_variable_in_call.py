"""KE208 variable-in-call: a variable, or a layer with weights, is made while the model is called.

What it finds:
    `self.add_weight`, `tf.Variable`, `keras.Variable` and the constructor of a layer with weights in a `call`, a Lambda
    or a step.

Why it matters:
    Keras locks a layer before it calls it, and a graph makes variables in its first trace only. A layer that is made
    anew in each call would have new weights each time.

If ignored:
    It raises "You cannot add new elements of state to a layer that is already built" or "tf.function only supports
    singleton tf.Variables created on the first call". So does an Estimator.

Example:
    def call(self, x):
        return keras.layers.Dense(4)(x)

Instead:
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4)

    def call(self, x):
        return self.dense(x)

Fix:
    Unsafe, for an attribute that depends on the settings of the layer only: it is made in `__init__`, or in `build`.

Evidence:
    Row 25 of the zoo cannot be constructed; each of `self.add_weight`, `tf.Variable`, `Dense` and even `Dropout` in a
    `call` raised ValueError, also behind `if self.dense is None`, in a Sequential and in a subclassed model.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.moving_out import moved_out
from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.placed_problems import problems_told
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.sure_tensors import SureTensors, sure_tensors
from keras_estimator.doctor.tensors import own_attribute

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure

SEVERITY = Severity.ERROR
_VARIABLES = frozenset(
    "tensorflow.Variable keras.Variable keras.backend.Variable keras.random.SeedGenerator "
    "keras.src.backend.Variable".split()
)
# Layers that hold a variable, and be it the state of random numbers; Activation, Add and the like hold none.
_WITH_WEIGHTS = re.compile(
    r"\.((Einsum)?Dense|Embedding|\w*Conv\w*|\w*(LSTM|GRU|RNN)\w*|\w+(?<!Unit)Normalization|PReLU|\w*Dropout\w*|\w*Attention"
    r"|Gaussian\w+|Bidirectional)$"
)
_RAISED = ("cannot add new elements of state", "singleton tf.Variables created on the first call")
_MAKERS = re.compile(r"_*(build|init|create|make|setup|ensure|maybe)")
_ADVICE = Fix("make it in __init__ or build", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find variables and layers that are made in functions that are traced."""
    own = {
        one.name
        for one in source.classes
        if one.kind == "layer" and "add_weight" in "\n".join(_lines(source, one.node))
    }
    for one in sure_tensors(source):
        # Metrics make theirs when they know the shape, in a method of their own.
        if one.traced.role == "metric" or _MAKERS.match(one.traced.name):
            continue
        for node in one.traced.nodes:
            if isinstance(node, ast.Call) and (made := _made(source, node, own)):
                message = f"{made} is made while {_words(one)} runs"
                severity = Severity.WARNING if _may_hold_none(made, node) else SEVERITY
                yield Problem(node, message, fix=_fix(source, one, node), severity=severity)


def _lines(source: Source, node: ast.ClassDef) -> list[str]:
    return source.lines[node.lineno - 1 : node.end_lineno]


def _words(one: SureTensors) -> str:
    return "a lambda" if isinstance(one.traced.node, ast.Lambda) else f"`{one.traced.name}`"


def _made(source: Source, call: ast.Call, own: set[str]) -> str:
    """Say what a call makes that holds variables; empty if nothing."""
    function = call.func
    if own_attribute(function) in ("add_weight", "add_variable"):
        return "a weight"
    name = source.dotted(function)
    if name in _VARIABLES:
        return f"a {name.replace('tensorflow', 'tf')}"
    is_layer = kind_of_keras(name) == "layer" and _WITH_WEIGHTS.search(name) is not None
    is_own = isinstance(function, ast.Name) and function.id in own
    return f"a layer {name.rpartition('.')[2] or ast.unparse(function)}" if is_layer or is_own else ""


def _may_hold_none(made: str, call: ast.Call) -> bool:
    """Tell whether it may be a layer that draws nothing: with a rate of zero it holds no random numbers."""
    rate = call.args[0] if call.args else next((one.value for one in call.keywords if one.arg == "rate"), None)
    return ("Dropout" in made or "Gaussian" in made) and not isinstance(rate, ast.Constant)


def _fix(source: Source, one: SureTensors, call: ast.Call) -> Fix:
    if one.owner is None or one.owner.kind not in ("layer", "model"):
        return _ADVICE
    is_layer = not (own_attribute(call.func) or source.dotted(call.func) in _VARIABLES)
    return moved_out(source, one, call, to="__init__" if is_layer else "build") or _ADVICE


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what Keras and TensorFlow say of it."""
    if any(text in failure.innermost.text for text in _RAISED):
        otherwise = "a variable or a layer with weights is made while the model runs"
        yield from problems_told(failure, in_source, otherwise, _ADVICE)
