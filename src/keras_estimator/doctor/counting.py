"""Write a counter of Python as a weight that the graph counts."""

from __future__ import annotations

import ast

from keras_estimator.doctor.findings import Applicability, Fix
from keras_estimator.doctor.rewriting import needs_import, replace, replace_statement
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.weight_calls import Bracketed, in_width

_OPERATIONS: dict[type, str] = {ast.Add: "assign_add", ast.Sub: "assign_sub"}


def counted_by_weight(
    source: Source, owner: KerasClass, name: str, first: ast.Constant, statement: ast.stmt
) -> Fix | None:
    """Return the fix that makes a weight of `self.n = 0`, and `assign_add` of `self.n += 1`; None if it is no count.

    Args:
        source: The file.
        owner: The class; a layer or a model.
        name: The attribute.
        first: The number that it starts with, in a method of the class itself.
        statement: What counts.
    """
    is_own = any(node is first for method in owner.methods.values() for node in ast.walk(method))
    if owner.kind not in ("layer", "model") or not is_own or not isinstance(statement, ast.AugAssign):
        return None
    # Beside another statement in one line, it cannot be told apart.
    if type(statement.op) not in _OPERATIONS or ";" in source.lines[statement.lineno - 1]:
        return None
    weight, is_constant = _weight(source, name, first.value)
    counts = f"self.{name}.{_OPERATIONS[type(statement.op)]}({source.code(statement.value)})\n"
    imports = [needs_import("keras")] if is_constant and not source.names.alias_of("keras") else []
    changes = (replace(first, in_width(source, first, weight)), replace_statement(statement, counts), *imports)
    return Fix("make it a weight, and assign to it", Applicability.UNSAFE, changes)


def _weight(source: Source, name: str, value: object) -> tuple[Bracketed, bool]:
    """Return the call that makes the weight, and whether it names the module of Keras."""
    dtype = "int32" if isinstance(value, int) else "float32"
    word = {"0": '"zeros"', "0.0": '"zeros"', "1": '"ones"', "1.0": '"ones"'}.get(str(value))
    initializer = word or f"{source.names.alias_of('keras') or 'keras'}.initializers.Constant({value!r})"
    items = (f'name="{name}"', "shape=()", f'dtype="{dtype}"', f"initializer={initializer}", "trainable=False")
    return Bracketed("self.add_weight(", (*items, 'aggregation="only_first_replica"'), ")"), word is None
