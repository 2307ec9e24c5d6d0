"""KE501 callback-exported: the answer calls back into Python, which an export does not hold.

What it finds:
    `tf.numpy_function` or `tf.py_function` in what a model answers with.

Why it matters:
    The graph holds a number by which this process finds the function. A server has no such function.

If ignored:
    `export` of plain Keras writes the model without a word, and the server fails at the first request: "Could not find
    callback with key=pyfunc_0". An Estimator refuses to export it and names the line.

Example:
    return tf.numpy_function(np.sin, [x], tf.float32)

Instead:
    return keras.ops.sin(x)

Fix:
    For display: the function has to be written with `keras.ops` or TensorFlow.

Evidence:
    Exported without an error by Keras 3.15; loaded in another process, the first call failed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.sure_tensors import is_preprocessing

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_FIX = Fix("write it with keras.ops", Applicability.DISPLAY)
_CALLS = frozenset(f"tensorflow.{name}" for name in ("numpy_function", "py_function", "py_func", "compat.v1.py_func"))
_IN_GRAPHS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def in_source(source: Source) -> Iterator[Problem]:
    """Find calls back into Python in layers, Lambdas and what a model answers."""
    for traced in source.traced:
        if traced.role not in ("layer", "lambda") and not (traced.role == "model" and traced.name == "call"):
            continue
        if is_preprocessing(source.class_of(traced.node)):
            continue
        for node in traced.nodes:
            if isinstance(node, ast.Call) and source.dotted(node.func) in _CALLS:
                message = f"{source.code(node.func)} calls Python, which no export holds"
                yield Problem(node, message, fix=_FIX)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look for calls of Python in the graph of the answer."""
    for operation in live.inference.of_kind(*_IN_GRAPHS) if live.inference is not None else ():
        message = "its answer calls Python, which no export holds"
        yield Problem(operation.place, message, layer=operation.layer, evidence=operation.kind, fix=_FIX)
