"""Weights of a class of Keras as its source shows them: where they are made, and where they are assigned."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator

from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.tensors import Traced, own_attribute

_MAKERS = frozenset({"add_weight", "add_variable"})
_ASSIGNS = frozenset({"assign", "assign_add", "assign_sub"})
_FLOATING = ("float", "bfloat", "half", "double")
# Attributes of a layer that hold the dtype of its numbers.
_OF_LAYER = frozenset({"dtype", "compute_dtype", "variable_dtype"})


@dataclasses.dataclass(frozen=True)
class Write:
    """One `self.name.assign(...)`, or `assign_add` or `assign_sub`.

    Attributes:
        attribute: The name.
        method: Which of the three.
        call: The call.
        traced: The function that it is in.
        is_of_data: Whether what is assigned comes from the arguments of the function.
    """

    attribute: str
    method: str
    call: ast.Call
    traced: Traced
    is_of_data: bool

    def reads(self, name: str) -> bool:
        """Tell whether what is assigned is computed from `self.name`."""
        return any(own_attribute(node) == name for value in self.call.args for node in ast.walk(value))


def created(one: KerasClass) -> dict[str, ast.Call]:
    """Return the calls of `self.add_weight` of a class by the names of the attributes that hold the weights."""
    found: dict[str, ast.Call] = {}
    for method in one.methods.values():
        for node in ast.walk(method):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.targets) == 1:
                name = own_attribute(node.targets[0])
                if name and own_attribute(node.value.func) in _MAKERS:
                    found[name] = node.value
    return found


def writes_of(source: Source, one: KerasClass) -> Iterator[Write]:
    """Yield what the traced functions of a class assign to attributes of `self`."""
    for traced in source.traced:
        if traced.owner is not one.node:
            continue
        for node in traced.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ASSIGNS:
                name = own_attribute(node.func.value)
                if name:
                    yield Write(name, node.func.attr, node, traced, traced.any_holds_tensor(node.args))


def dtype_of(call: ast.Call) -> str:
    """Return the dtype that a call states: `"int32"`, also of `tf.int32`; empty if it states none."""
    value = next((word.value for word in call.keywords if word.arg == "dtype"), None)
    if isinstance(value, ast.Constant):
        return str(value.value or "")
    return value.attr if isinstance(value, ast.Attribute) else ""


def is_floating(call: ast.Call) -> bool:
    """Tell whether a call of `add_weight` makes a weight of floating numbers, as far as it says."""
    stated = dtype_of(call)
    is_computed = not stated and any(word.arg in ("dtype", None) for word in call.keywords)
    has_more = len(call.args) > 2
    return not (is_computed or has_more) and (not stated or stated.startswith(_FLOATING) or stated in _OF_LAYER)
