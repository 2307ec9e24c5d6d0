"""KE306 inference-mutates: the model changes a variable also when it only answers.

What it finds:
    An assignment to a variable of a layer that runs in `predict` and `evaluate`, too.

Why it matters:
    Answers then depend on how often and what was asked before; a server counts requests as training steps, and replicas
    of it drift apart.

If ignored:
    `evaluate` and `predict` move the variable, so a model is another one after it was evaluated; an exported one
    answers one question otherwise each time. `evaluate` of an Estimator leaves the model as it is; of a model that it
    exports, it says which variables a request writes.

Example:
    self.counter.assign_add(1)

Instead:
    if training:
        self.counter.assign_add(1)

Fix:
    Unsafe: the variable then stays as it is in inference.

Evidence:
    A counter was 4 after four steps of `fit` and 8 after an `evaluate` of four batches; the exported model answered 1,
    2, 3 to the same question.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import Change, add_parameter, replace_statement
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Function, Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_ASSIGNS = frozenset({"assign", "assign_add", "assign_sub"})
_FIX = Fix("do it only if training", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find assignments in a `call` that no condition on `training` guards."""
    for one in source.classes:
        call = one.methods.get("call")
        if call is None or one.kind not in ("layer", "model") or _returns_early(call):
            continue
        parameter: list[Change] = []  # one for all assignments of a `call`
        for node in ast.walk(call):
            name = _assigned(node)
            if name and source.function_of(node) is call and not _is_guarded(source, node, call):
                message = f"self.{name} is changed also in predict and evaluate"
                yield Problem(source.statement_of(node), message, fix=_fix(source, node, call, parameter))


def _assigned(node: ast.AST) -> str:
    """Return the attribute of `self` whose value a call changes; empty if it is no such call."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _ASSIGNS:
        return ""
    variable = node.func.value
    is_own = (
        isinstance(variable, ast.Attribute) and isinstance(variable.value, ast.Name) and variable.value.id == "self"
    )
    return variable.attr if is_own else ""  # type: ignore[attr-defined]  # it is an Attribute


def _is_guarded(source: Source, node: ast.AST, call: Function) -> bool:
    for outer in source.around(node):
        if outer is call:
            return False
        test = getattr(outer, "test", None)
        # Whatever the condition is: the author has thought of when to do it.
        if isinstance(outer, ast.If | ast.IfExp | ast.While) and not isinstance(test, ast.Constant):
            return True
    return False


def _returns_early(call: Function) -> bool:
    tests = [node for node in ast.walk(call) if isinstance(node, ast.If) and "training" in ast.unparse(node.test)]
    return any(isinstance(inner, ast.Return) for test in tests for inner in ast.walk(test))


def _fix(source: Source, node: ast.AST, call: Function, parameter: list[Change]) -> Fix:
    statement = source.statement_of(node)
    if not isinstance(statement, ast.Expr) or statement.value is not node or not isinstance(call, ast.FunctionDef):
        return _FIX
    given = {one.arg for one in (*call.args.args, *call.args.kwonlyargs)}
    if "training" not in given and not parameter:
        parameter.append(add_parameter(call, "training=None"))
    # The comment behind the statement goes with it.
    last = source.lines[(statement.end_lineno or statement.lineno) - 1].encode()
    comment = last[statement.end_col_offset :].decode()
    if comment.strip() and not comment.strip().startswith("#"):
        return _FIX
    code = source.code(statement).replace("\n" + " " * statement.col_offset, "\n    ")
    guarded = replace_statement(statement, f"if training:\n    {code}{comment.rstrip()}\n")
    return Fix(_FIX.title, Applicability.UNSAFE, (guarded, *parameter))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find variables of the user's parts that the graph of the answer writes."""
    for captured, operation in live.inference.writes() if live.inference else ():
        held = captured.holding
        if held is None or live.is_a(held.owner, "keras.random.SeedGenerator"):
            continue  # random numbers are drawn on purpose; a variable of nobody is KE304
        if live.place_of(type(held.owner)) is not None:
            evidence = f"{operation.kind} to `{held.path}` in the graph of the answer"
            message = f"self.{held.attribute} is changed also in predict and evaluate"
            yield Problem(operation.place, message, layer=operation.layer, evidence=evidence, fix=_FIX)
