"""KE504 serving-mutates: an answer changes the model, so the next answer of the same server is another one.

What it finds:
    A variable that is assigned in what a model answers with, in inference too.

Why it matters:
    An export keeps variables and what is assigned to them. Requests of one client then change the answers to others,
    and two servers of one model drift apart.

If ignored:
    A model exported by plain Keras goes on writing in the server, and `predict` and `evaluate` write, too. An Estimator
    exports it with a warning that names the variable and the line.

Example:
    def call(self, x):
        self.seen.assign_add(1.0)

Instead:
    def call(self, x, training=False):
        if training:
            self.seen.assign_add(1.0)

Fix:
    Unsafe: it is written in training only; answers in inference do not count any more.

Evidence:
    A counter that is added to the answer: three requests to one exported model got 1, 2 and 3.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import Change, add_parameter, replace_statement
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.state_writes import Write, attribute_of_self, created, writes_of

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_TITLE = "write only while it trains: if training:"
_VARIABLES = frozenset({"tensorflow.Variable", "keras.Variable"})


def in_source(source: Source) -> Iterator[Problem]:
    """Find writes in `call` that nothing keeps from inference."""
    for one in source.classes:
        if one.kind not in ("layer", "model"):
            continue
        state = {*created(one), *_variables(source, one)}
        for write in writes_of(source, one) if state else ():
            if write.attribute in state and write.traced.name == "call" and not _is_guarded(source, write):
                message = f"self.{write.attribute} is written by every answer, in inference too"
                yield Problem(write.call, message, fix=_fix(source, write))


def _variables(source: Source, one: KerasClass) -> Iterator[str]:
    for method in one.methods.values():
        for node in ast.walk(method):
            is_made = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            if is_made and source.dotted(node.value.func) in _VARIABLES:  # type: ignore[attr-defined]  # it is a call
                yield from (attribute_of_self(target) for target in node.targets)  # type: ignore[attr-defined]  # it assigns


def _is_guarded(source: Source, write: Write) -> bool:
    """Tell whether a write is under a condition, or behind one that returns."""
    outer = list(source.around(write.call))
    if any(isinstance(one, ast.If | ast.IfExp | ast.While | ast.Lambda) for one in outer):
        return True  # under whatever condition: it may be one about training by another name
    nodes = (node for node in write.traced.nodes if isinstance(node, ast.If) and node.lineno < write.call.lineno)
    return any(isinstance(inner, ast.Return) for node in nodes for inner in ast.walk(node))


def _fix(source: Source, write: Write) -> Fix:
    statement, call = source.statement_of(write.call), write.traced.node
    lines = source.lines[statement.lineno - 1 : statement.end_lineno]
    before = lines[0][: statement.col_offset]
    is_alone = isinstance(statement, ast.Expr) and not before.strip() and ";" not in "".join(lines)
    is_simple = is_alone and '"""' not in "".join(lines) and all(line.startswith(before) for line in lines)
    if not is_simple or not isinstance(call, ast.FunctionDef) or call.args.kwarg:
        return Fix(_TITLE, Applicability.DISPLAY)
    code = "\n".join(f"    {line.removeprefix(before)}" for line in lines)
    changes: list[Change] = [replace_statement(statement, f"if training:\n{code}\n")]
    if "training" not in write.traced.parameters:
        changes.append(add_parameter(call, "training=False"))
    return Fix(_TITLE, Applicability.UNSAFE, tuple(changes))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look at what the graph of the answer writes."""
    seen: set[int] = set()
    for captured, operation in live.inference.writes() if live.inference is not None else ():
        owner = captured.holding.owner if captured.holding is not None else None
        is_meant = live.is_a(owner, "keras.random.SeedGenerator")
        if id(captured.resource) in seen or is_meant:
            continue
        seen.add(id(captured.resource))
        stateful = getattr(owner, "stateful", False) is True
        message = f"`{captured.name}` is written by every answer, in inference too"
        severity = Severity.INFO if stateful else None  # it was asked for
        evidence = f"{operation.kind} in the graph of the answer"
        yield Problem(operation.place, message, layer=operation.layer, evidence=evidence, severity=severity)
