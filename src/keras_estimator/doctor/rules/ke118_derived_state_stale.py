"""KE118 derived-state-stale: an attribute is computed from weights once, and stays when the weights change.

What it finds:
    `self.scale = ops.exp(self.gain)` in `build` or `__init__`, where `gain` is a weight; and a layer, also one of
    Keras, that holds another tensor than a copy of it that was given the same weights.

Why it matters:
    The attribute is a constant made from the first values of the weight: no gradient flows through it, training does
    not change it, and neither `set_weights` nor `load_weights` computes it anew.

If ignored:
    The layer answers with the first values of its weights, for ever; `fit` says "No gradients provided" or trains
    the rest around it. A clone of Keras's `Normalization` that gets its weights by `set_weights` normalizes nothing.
    An Estimator carries the tensor as it is.

Example:
    def build(self, shape):
        self.gain = self.add_weight(shape=(3,))
        self.scale = keras.ops.exp(self.gain)

Instead:
    def build(self, shape):
        self.gain = self.add_weight(shape=(3,))

    def call(self, x):
        return x * keras.ops.exp(self.gain)

Fix:
    For display. For `Normalization`: call its `finalize_state()` after `set_weights`; `load_weights` does so itself.

Evidence:
    Row 32 of the zoo: `Normalization` with mean 5 answers -1.25, its clone 1.0. With weights 0, `exp` of them as an
    attribute answered 2.72 instead of 1.0, also after `save` and `load_model`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.tensors import PLAIN_ATTRIBUTES

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_ONCE = ("__init__", "build")
_WEIGHTS_OF_LAYERS = ("kernel", "embeddings")
_FIX = Fix("compute it in `call`", Applicability.DISPLAY)
_FIX_OF_KERAS = Fix("call its finalize_state() after set_weights; or use load_weights", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find attributes that are computed from weights where the layer is made."""
    for one in source.classes:
        if one.kind not in ("layer", "model"):
            continue
        weights = set(_attributes_made_by(one, "add_weight"))
        anew = {name for method in one.methods.values() if method.name not in _ONCE for name, _ in _assigned(method)}
        for method in (one.methods[name] for name in _ONCE if name in one.methods):
            for name, statement in _assigned(method):
                if name not in anew and statement.value is not None and _is_computed(source, statement.value, weights):
                    yield Problem(statement, f"self.{name} is computed from weights once", fix=_FIX)


def _assigned(method: ast.AST) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign]]:
    for node in ast.walk(method):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                    yield target.attr, node


def _attributes_made_by(one: KerasClass, method: str) -> Iterator[str]:
    for inner in one.methods.values():
        for name, statement in _assigned(inner):
            value = statement.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == method:
                yield name


def _is_computed(source: Source, value: ast.expr, weights: set[str]) -> bool:
    """Tell whether an expression is a number that is made of the numbers in a weight."""
    if isinstance(value, ast.BinOp):
        sides = (value.left, value.right)
        return any(_is_weight(side, weights) or _is_computed(source, side, weights) for side in sides)
    if isinstance(value, ast.UnaryOp):
        return _is_weight(value.operand, weights) or _is_computed(source, value.operand, weights)
    if not isinstance(value, ast.Call) or not _is_function_of_numbers(source.dotted(value.func)):
        return False
    return any(_is_weight(part, weights) or _is_computed(source, part, weights) for part in value.args)


def _is_function_of_numbers(name: str) -> bool:
    package, _, function = name.rpartition(".")
    is_of_numbers = package in ("keras.ops", "keras.activations", "tensorflow", "numpy") or package.startswith(
        ("tensorflow.math", "tensorflow.nn", "tensorflow.linalg", "keras.ops.")
    )
    # `tf.Variable` and `tf.Module` are made of a weight, not computed from it; a shape is none of its numbers.
    return is_of_numbers and not function[:1].isupper() and function not in {*PLAIN_ATTRIBUTES, "function", "size"}


def _is_weight(node: ast.expr, weights: set[str]) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "self.add_weight"
    if not isinstance(node, ast.Attribute):
        return False
    if isinstance(node.value, ast.Attribute):  # `self.embedding.embeddings`
        return node.attr in _WEIGHTS_OF_LAYERS and ast.unparse(node.value.value) == "self"
    return node.attr in weights and ast.unparse(node.value) == "self"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare tensors that layers hold with those of copies that have the same weights."""
    for path, layer in live.layers.items():
        tensors = {name: value for name, value in vars(layer).items() if live.tf.is_tensor(value)}
        held = {name: value for name, value in tensors.items() if hasattr(value, "numpy")}
        other = _with_same_weights(layer) if path and held and layer.weights else None
        for name, value in held.items() if other is not None else ():
            there = getattr(other, name, value)
            if not live.tf.is_tensor(there) or _is_equal(value, there):
                continue
            place = live.place_of_attribute(layer, name)
            said = f"self.{name} is computed from weights once" if place else f"{name} does not follow set_weights"
            evidence = f"`{name}` is {_first(value)} here, and {_first(there)} in a copy with the same weights"
            fix, severity = (_FIX, None) if place else (_FIX_OF_KERAS, Severity.INFO)
            yield Problem(place, said, layer=path, evidence=evidence, fix=fix, severity=severity)


def _with_same_weights(layer: Any) -> Any:
    try:
        other = type(layer).from_config(layer.get_config())
        other.build_from_config(layer.get_build_config())
        other.set_weights(layer.get_weights())
    except Exception:  # noqa: BLE001 - a layer that Keras cannot make anew is the business of other rules
        return None
    return other


def _is_equal(one: Any, other: Any) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and bool((one.numpy() == other.numpy()).all())


def _first(value: Any) -> str:
    return f"{value.numpy().ravel()[:1].tolist()}"
