"""KE213 python-callback: the graph calls back into Python, which no server, no compiler and no other machine has.

What it finds:
    `tf.numpy_function`, `tf.py_function`, `jax.pure_callback` and their like in code that Keras traces.

Why it matters:
    The graph holds a number under which this process knows the Python function, and not the function.

If ignored:
    An exported model fails in the server: "Could not find callback with key". `jit_compile=True` raises. No gradient
    flows through `tf.numpy_function`, so what is before it is not trained. An Estimator exports no such model.

Example:
    return tf.numpy_function(np.sin, [x], tf.float32)

Instead:
    return keras.ops.sin(x)

Fix:
    None: use functions of `keras.ops` or of TensorFlow.

Evidence:
    With `jit_compile=True`: "InvalidArgumentError: Detected at node PyFunc"; 1.68 ms for a step instead of 0.94; a
    server that loads it fails at the first request.
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
_FUNCTIONS = frozenset(
    """
    tensorflow.numpy_function tensorflow.py_function tensorflow.py_func tensorflow.compat.v1.py_func
    jax.pure_callback jax.experimental.io_callback
    """.split()
)
_OPERATIONS = {"PyFunc": "tf.numpy_function", "PyFuncStateless": "tf.numpy_function", "EagerPyFunc": "tf.py_function"}
_FIX = Fix("use functions of keras.ops", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find calls of such functions in functions that Keras traces."""
    for traced in source.traced:
        for node in () if is_preprocessing(source.class_of(traced.node)) else traced.nodes:
            if isinstance(node, ast.Call) and source.dotted(node.func) in _FUNCTIONS:
                yield Problem(node.func, f"{source.code(node.func)} calls Python from inside of the graph", fix=_FIX)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find the operations that such functions make."""
    found: set[object] = set()
    for graph in (live.inference, live.training, live.step):
        for one in graph.of_kind(*_OPERATIONS) if graph else ():
            where = (one.place, "" if one.place else one.layer)
            if where not in found:
                found.add(where)
                message = f"{_OPERATIONS[one.kind]} calls Python from inside of the graph"
                yield Problem(one.place, message, layer=one.layer, evidence=f"{one.kind} in the graph", fix=_FIX)
