"""KE606 unrolled-loop: a loop of Python over the steps of a tensor puts its operations into the graph for each step.

What it finds:
    `for t in range(x.shape[1])`, or a loop over `ops.unstack(x)`, in what Keras traces, with tensors in its body.

Why it matters:
    Python runs while the graph is made. A hundred steps are a hundred times the operations, each a node of its own;
    and a length that is not known when the graph is made, None, is an error.

If ignored:
    Tracing takes time in proportion to the length of the data, and so do export and compilation by XLA, which may not
    come to an end.

Example:
    for t in range(x.shape[1]):
        state = self.cell(x[:, t], state)

Instead:
    state = keras.layers.RNN(self.cell)(x)

Fix:
    For display: `keras.ops.scan`, `keras.ops.fori_loop`, `keras.layers.RNN`, or an operation on all steps at once.

Evidence:
    `state = ops.tanh(state + x[:, t])` over 10 steps: 67 operations, traced in 0.05 s; over 100: 607, 0.34 s.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import Traced

SEVERITY = Severity.INFO
_PARTS = ("keras.ops.unstack", "tensorflow.unstack")
_SHAPES = ("keras.ops.shape", "tensorflow.shape")
_FIX = Fix("use keras.ops.scan, keras.layers.RNN, or an operation on all steps at once", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find loops over the length of a tensor."""
    for traced in source.traced:
        for node in traced.nodes:
            if isinstance(node, ast.For) and _computes(traced, node):
                length = _length(source, traced, node.iter)
                if length is not None:
                    yield Problem(node.iter, f"the loop over {source.code(length)} is unrolled", fix=_FIX)


def _computes(traced: Traced, loop: ast.For) -> bool:
    """Tell whether there are operations on tensors in the body of a loop."""
    inside = (node for statement in loop.body for node in ast.walk(statement))
    return any(isinstance(node, ast.Call | ast.BinOp) and traced.holds_tensor(node) for node in inside)


def _length(source: Source, traced: Traced, over: ast.expr) -> ast.expr | None:
    """Return what says how often a loop runs, if that is the length of a tensor or its parts."""
    if not isinstance(over, ast.Call):
        return None
    if source.dotted(over.func) in _PARTS and traced.any_holds_tensor(over.args):
        return over
    if not (isinstance(over.func, ast.Name) and over.func.id == "range"):
        return None
    parts = [one for value in over.args for one in ast.walk(value) if isinstance(one, ast.expr)]
    return next((one for one in parts if _is_length(source, traced, one)), None)


def _is_length(source: Source, traced: Traced, node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return any(_gives_length(source, traced, one, node.id) for one in traced.nodes)
    if not isinstance(node, ast.Subscript) or isinstance(node.slice, ast.Slice):
        return False
    of = node.value
    if isinstance(of, ast.Attribute):
        return of.attr == "shape" and traced.holds_tensor(of.value) and not _is_array(source, traced, of.value)
    return isinstance(of, ast.Call) and source.dotted(of.func) in _SHAPES and traced.any_holds_tensor(of.args)


def _gives_length(source: Source, traced: Traced, node: ast.AST, name: str) -> bool:
    """Tell whether a statement is `name = x.shape[1]`."""
    if not isinstance(node, ast.Assign) or isinstance(node.value, ast.Name):
        return False
    is_named = any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    return is_named and _is_length(source, traced, node.value)


def _is_array(source: Source, traced: Traced, node: ast.expr) -> bool:
    """Tell whether a name is an array of NumPy: what is computed from it is no part of a graph."""
    assigned = [one for one in traced.nodes if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call)]
    values = [one.value for one in assigned if any(ast.unparse(target) == ast.unparse(node) for target in one.targets)]
    called = [source.dotted(value.func) for value in values if isinstance(value, ast.Call)]
    return any(name.startswith("numpy.") or name == "keras.ops.convert_to_numpy" for name in called)
