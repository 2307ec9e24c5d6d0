"""KE206 static-batch-dependence: `x.shape[0]` is taken for the number of rows, and is None in most graphs.

What it finds:
    `x.shape[0]`, `rows, columns = x.shape` and `len(x)` of the input of a layer or a loss, used as a number; and models
    whose answer to a batch depends on whether its size is known while they are traced.

Why it matters:
    Keras traces a model with an open batch size. `x.shape[0]` is then None; in the first trace of a model without an
    `Input` it is the size of the first batch, and stays that number.

If ignored:
    It raises "None values not supported" or, worse, computes with the size of another batch. So does an Estimator.

Example:
    def call(self, x):
        return keras.ops.reshape(x, (x.shape[0], -1))

Instead:
    def call(self, x):
        return keras.ops.reshape(x, (keras.ops.shape(x)[0], -1))

Fix:
    Safe where it is part of a shape that is handed to keras.ops or TensorFlow: `keras.ops.shape` gives the number where
    it is known, and a tensor where it is not. For display elsewhere.

Evidence:
    `x * (x.shape[0] or 1)` answered batches of 4, 3 and 2 rows with the factors 4, 1, 1; run eagerly with 4, 3, 2.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.batch_sizes import difference_of_sizes
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.ops_path import ops_path
from keras_estimator.doctor.placed_problems import problems_around, problems_in
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.sure_tensors import SureTensors, sure_tensors

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_RAISED = re.compile(r"NoneType|None values|got None|of \(None,|\[None|partially known TensorShape|elements of \(None")
_ROLES = frozenset({"layer", "model", "lambda", "loss", "metric"})


def in_source(source: Source) -> Iterator[Problem]:
    """Find sizes of batches that are taken from the shape that is known while a function is traced."""
    for one in sure_tensors(source):
        if not one.is_entry or one.traced.role not in _ROLES:
            continue
        for node in one.traced.nodes:
            name = _batched(one, node)
            if name and (used := _use(source, one, node)):
                message = f"the number of rows of {name} is None where the size of the batch is open"
                yield Problem(node, message, fix=_fix(source, node, name, is_shape=used == "shape"))


def _batched(one: SureTensors, node: ast.AST) -> str:
    """Return the input whose number of rows `x.shape[0]`, or `rows, columns = x.shape`, is; empty if a node is not."""
    shape: ast.AST | None = None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == 0:
        shape = node.value
    elif isinstance(node, ast.Attribute) and (parent := one.source.parent(node)) is not None:
        is_unpacked = isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple | ast.List)
        shape = node if is_unpacked else None
    if not (isinstance(shape, ast.Attribute) and shape.attr == "shape" and isinstance(shape.value, ast.Name)):
        return ""
    return shape.value.id if shape.value.id in one.given & one.names else ""


def _use(source: Source, one: SureTensors, node: ast.AST) -> str:
    """Return "shape" if the number is only part of shapes, "number" if it is more; empty if None is cared for."""
    uses: list[ast.AST] = [node]
    parent = source.parent(node)
    if isinstance(parent, ast.Assign):
        target = parent.targets[0]
        names = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
        if not names or not isinstance(names[0], ast.Name):
            return ""
        loaded = [each for each in one.traced.nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)]
        uses = [each for each in loaded if each.id == names[0].id]
    if any(_cares(source, each) for each in uses) or not uses:
        return ""
    return "shape" if all(_is_in_shape(source, each) for each in uses) else "number"


def _cares(source: Source, node: ast.AST) -> bool:
    """Tell whether code asks if a number is there, or only looks at it: `is None`, `or -1`, `assert`, a text."""
    for outer in source.around(node):
        if isinstance(outer, ast.BoolOp):
            others = [value for value in outer.values if value is not node]
            return not all(isinstance(value, ast.Constant) and bool(value.value) for value in others)
        if isinstance(outer, ast.Compare | ast.Assert | ast.Raise | ast.JoinedStr | ast.IfExp | ast.stmt):
            return not isinstance(outer, ast.stmt) or isinstance(outer, ast.Assert | ast.Raise | ast.If | ast.While)
    return False


def _is_in_shape(source: Source, node: ast.AST) -> bool:
    """Tell whether a number is an argument, or in a list of an argument, of a function of keras.ops or TensorFlow."""
    outer = source.parent(node)
    outer = source.parent(outer) if isinstance(outer, ast.List | ast.Tuple) else outer
    outer = source.parent(outer) if isinstance(outer, ast.keyword) else outer
    return isinstance(outer, ast.Call) and source.dotted(outer.func).startswith(("keras.ops.", "tensorflow."))


def _fix(source: Source, node: ast.AST, name: str, *, is_shape: bool) -> Fix:
    part = "[0]" if isinstance(node, ast.Subscript) else ""
    title = f"use keras.ops.shape({name}){part}"
    if not is_shape or not isinstance(node, ast.expr):
        return Fix(title, Applicability.DISPLAY)
    path, imports = ops_path(source)
    return Fix(title, Applicability.SAFE, (replace(node, f"{path}.shape({name}){part}"), *imports))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare the answers of a graph with an open batch size and one with a known size."""
    evidence = difference_of_sizes(live)
    if not evidence:
        return
    known = [(path, one) for path, layer in live.layers.items() for one in problems_in(live, layer, in_source)]
    for path, one in known:
        yield dataclasses.replace(one, layer=path, evidence=evidence)
    if not known:
        yield Problem(
            None, "its answer depends on whether the size of the batch is known in advance", evidence=evidence
        )


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what came of a size that is None, or that a tensor does not tell."""
    told = failure.innermost
    if _RAISED.search(told.text):
        for one in problems_around(told.place, in_source):
            yield dataclasses.replace(one, evidence=failure.line, severity=Severity.ERROR)
    elif "len is not well defined" in told.text:
        fix = Fix("use keras.ops.shape(x)[0]", Applicability.DISPLAY)
        yield Problem(
            told.place, "a tensor has no len() in a graph", evidence=told.line, severity=Severity.ERROR, fix=fix
        )
