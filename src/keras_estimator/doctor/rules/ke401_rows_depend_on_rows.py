"""KE401 rows-depend-on-rows: a row of the answer depends on the other rows of its batch.

What it finds:
    A layer in which the answer to one row changes with the other rows, in inference; and in the source, a reduction
    over all axes, or over the first one, whose result is put together with the rows again.

Why it matters:
    Replicas and workers split a batch, servers put requests together: each then gives another answer.

If ignored:
    On several devices or workers, with another batch size, or in a server, the model answers otherwise, and Keras says
    nothing. An Estimator refuses to split such a batch unless it is told `RunConfig(dependent_rows="share")`.

Example:
    return x * ops.mean(x)

Instead:
    return x * ops.mean(x, axis=-1, keepdims=True)

Fix:
    For display: it computes something else, and only you know which one is meant.

Evidence:
    `np.sin(x) * tf.reduce_mean(x)`: the answer to two halves of a batch differs from that to the whole by 3.18 of its
    size; the gradient of a row with respect to other rows is .0090, to itself .054. `x * tf.reduce_mean(x)` of
    eight rows answers 0.762 on one device and 1.173 on two.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.reductions import Rows, is_total, place_of_reduction, reduces_rows
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import Traced

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_FIX = Fix("reduce within each row: axis=-1, keepdims=True", Applicability.DISPLAY)
_CONDITIONS = (ast.If, ast.IfExp)


def in_source(source: Source) -> Iterator[Problem]:
    """Find reductions over rows, in what a layer answers, that meet the rows again."""
    for traced in source.traced:
        is_answer = traced.name in ("call", "lambda") or (traced.role == "lambda" and traced.owner is None)
        if traced.role in ("layer", "model", "lambda") and is_answer:
            yield from _in_answer(source, traced)


def _in_answer(source: Source, traced: Traced) -> Iterator[Problem]:
    calls = [node for node in traced.nodes if isinstance(node, ast.Call) and reduces_rows(source, node)]
    found = [call for call in calls if call.args and traced.holds_tensor(call.args[0])]
    if not found:
        return
    rows = Rows(source, traced)
    for call in found:
        if not _is_for_training(source, call) and _meets_rows(source, rows, call):
            message = f"{source.code(call.func)} is of the whole batch, so a row of the answer depends on other rows"
            yield Problem(call, message, fix=_FIX)


def _is_for_training(source: Source, node: ast.AST) -> bool:
    outer = (one for one in source.around(node) if isinstance(one, _CONDITIONS))
    return any("training" in ast.unparse(one.test) or "learning" in ast.unparse(one.test) for one in outer)


def _meets_rows(source: Source, rows: Rows, call: ast.Call) -> bool:
    """Tell whether the result of a reduction, or a name for it, stands in arithmetic with rows that are answered."""
    # A first axis may have become another one than that of the rows, unless the same tensor is met.
    among = set() if is_total(source, call) else {one.id for one in ast.walk(call.args[0]) if isinstance(one, ast.Name)}
    if _stands_with_rows(source, rows, call, among):
        return True
    statement = source.statement_of(call)
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
        return False
    name = statement.targets[0].id
    if any(isinstance(one, ast.FloorDiv) for one in ast.walk(statement.value)):
        return False  # a size or an index
    uses = (node for node in rows.traced.nodes if isinstance(node, ast.Name) and node.id == name)
    return name in rows.reduced and any(
        _stands_with_rows(source, rows, use, among) for use in uses if isinstance(use.ctx, ast.Load)
    )


def _stands_with_rows(source: Source, rows: Rows, node: ast.AST, among: set[str]) -> bool:
    inner, is_met = node, False
    for outer in source.around(node):
        if isinstance(outer, ast.BinOp):
            other = outer.right if outer.left is inner else outer.left
            is_zero = isinstance(outer.op, ast.Mult) and isinstance(other, ast.Constant) and other.value == 0
            if is_zero or isinstance(outer.op, ast.FloorDiv):
                return False  # a trick to keep inputs connected; a size or an index
            is_met = is_met or rows.are_in(other, among)
        elif isinstance(outer, ast.Call) and (reduces_rows(source, outer) or not source.dotted(outer.func)):
            return False
        elif isinstance(outer, ast.Assign):
            targets = {one.id for target in outer.targets for one in ast.walk(target) if isinstance(one, ast.Name)}
            return is_met and bool(targets & rows.answered)
        elif isinstance(outer, ast.Return | ast.Lambda):
            return is_met
        elif isinstance(outer, ast.stmt | ast.Subscript | ast.Compare):
            return False
        inner = outer
    return False


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare answers to a batch and to its parts, and look at gradients between rows."""
    found = live.separability
    if found is None or found.is_separable:
        return
    far = (
        f"the answer to parts of a batch differs by {found.largest_difference:.3g}" if found.largest_difference else ""
    )
    for path in found.inference or ("the model",):
        layer = path if path in live.layers else ""
        place = place_of_reduction(live, live.inference, layer)
        message = "a row of its answer depends on other rows of the batch"
        yield Problem(place, message, layer=layer, evidence=far, fix=_FIX)
