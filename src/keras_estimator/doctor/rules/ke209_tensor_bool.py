"""KE209 tensor-bool: `if`, `while`, `and` or `not` asks a tensor for true or false, which it has not in a graph.

What it finds:
    A comparison, or a function of keras.ops or TensorFlow, of tensors as the condition of `if`, `while`, `assert`,
    `a if c else b`, or beside `and`, `or`, `not`, in a `call`, a Lambda, a loss, a metric or a step.

Why it matters:
    Python decides while the graph is traced, when the tensor has no value. Keras runs neither `call` nor a step of its
    own through AutoGraph, which would rewrite the condition.

If ignored:
    It raises "Using a symbolic tf.Tensor as a Python bool is not allowed" when the model is built, or in `fit`. So does
    an Estimator.

Example:
    def call(self, x):
        return x if keras.ops.sum(x) > 0 else -x

Instead:
    def call(self, x):
        return keras.ops.cond(keras.ops.sum(x) > 0, lambda: x, lambda: -x)

Fix:
    Unsafe: `keras.ops.cond` for one condition, `keras.ops.where` for one of each element. For display where more than
    a value is decided.

Evidence:
    `if ops.sum(x) > 0` in a layer, a loss and a `train_step`: OperatorNotAllowedInGraphError each time; the layer ran
    with `ops.cond`, and with its `call` under `@tf.function`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.conditions import decided_in_graph
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.placed_problems import problems_told
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.sure_tensors import SureTensors, sure_tensors

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure

SEVERITY = Severity.ERROR
_RAISED = (
    "as a Python `bool` is not allowed",
    "truth value of a KerasTensor",
    "A symbolic KerasTensor cannot be used as a boolean",
)
_ADVICE = Fix("use keras.ops.cond or keras.ops.where", Applicability.DISPLAY)
_LOGICAL = Fix("use keras.ops.logical_and, logical_or or logical_not", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find conditions that are tensors."""
    for one in sure_tensors(source):
        if _is_rewritten(source, one):
            continue
        for node in one.traced.nodes:
            for condition in _conditions(node):
                if _is_tensor(source, one, condition):
                    message = f"`{_short(source, condition)}` is a tensor, and has no truth value in a graph"
                    yield Problem(condition, message, fix=_fix(source, node))


def _is_rewritten(source: Source, one: SureTensors) -> bool:
    """Tell whether AutoGraph rewrites a function: a `tf.function` is traced with it, also inside of a graph."""
    decorators = getattr(one.traced.node, "decorator_list", [])
    called = [line.func if isinstance(line, ast.Call) else line for line in decorators]
    return any(source.dotted(line).startswith(("tensorflow.function", "tensorflow.autograph")) for line in called)


def _conditions(node: ast.AST) -> list[ast.expr]:
    """Return what a node asks for true or false."""
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
        return [node.test]
    if isinstance(node, ast.BoolOp):
        return node.values
    return [node.operand] if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) else []


def _fix(source: Source, node: ast.AST) -> Fix:
    if isinstance(node, ast.If | ast.IfExp):
        return decided_in_graph(source, node) or _ADVICE
    if isinstance(node, ast.While):
        return Fix("use keras.ops.while_loop", Applicability.DISPLAY)
    if isinstance(node, ast.Assert):
        return Fix("use tf.debugging.assert_equal and the like, or leave it out", Applicability.DISPLAY)
    return _LOGICAL


def _is_tensor(source: Source, one: SureTensors, node: ast.expr) -> bool:
    """Tell whether a condition surely is a tensor; a name alone may be a list that is asked whether it is empty."""
    if isinstance(node, ast.Call):
        return one.holds(node) and not source.dotted(node.func).startswith("numpy.")
    if not isinstance(node, ast.Compare):
        return isinstance(node, ast.BinOp) and one.holds(node)
    others = [value for value in (node.left, *node.comparators) if not one.holds(value)]
    is_of_text = any(isinstance(value, ast.Constant) and not isinstance(value.value, int | float) for value in others)
    is_of_lists = any(isinstance(value, ast.List | ast.Tuple | ast.Dict) for value in others)
    return one.holds(node) and not is_of_text and not is_of_lists


def _short(source: Source, node: ast.AST) -> str:
    text = " ".join(source.code(node).split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what TensorFlow and Keras say of it."""
    if any(text in failure.innermost.text for text in _RAISED):
        otherwise = "a tensor is asked for true or false, and has no value in a graph"
        yield from problems_told(failure, in_source, otherwise, _ADVICE)
