"""KE603 callback-under-xla: a layer calls Python from the graph, and Keras compiles the graph with XLA, which cannot.

What it finds:
    `tf.numpy_function`, `tf.py_function` or `tf.compat.v1.py_func` in what Keras traces, in a model whose layers do
    not say `self.supports_jit = False`.

Why it matters:
    On a machine with a GPU, `compile` chooses XLA unless a layer says that it cannot be used. Each call also waits
    for the lock of Python, and for the copy from the device and back.

If ignored:
    It trains on a CPU, and raises InvalidArgumentError in `fit` on a machine with a GPU, or with `jit_compile=True`.

Example:
    class Sine(keras.layers.Layer):
        def call(self, x):
            return tf.numpy_function(np.sin, [x], tf.float32)

Instead:
    class Sine(keras.layers.Layer):
        def call(self, x):
            return keras.ops.sin(x)

Fix:
    Safe: `self.supports_jit = False` behind `super().__init__()`, so that Keras does not choose XLA; better is a
    function of `keras.ops`. For display where there is no `__init__`: `compile(jit_compile=False)`.

Evidence:
    `fit` with `jit_compile=True`, on a CPU: InvalidArgumentError "tf2xla conversion failed", "Detected at node
    .../PyFunc"; `compile` of Keras 3.15 sets it where TensorFlow sees anything but CPUs. A call took 1.68 ms with
    `tf.numpy_function` and .94 ms without.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import insert_after
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_CALLS = ("tensorflow.numpy_function", "tensorflow.py_function", "tensorflow.compat.v1.py_func")
_OPERATIONS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
_SETTING, _OFF = "supports_jit", "jit_compile=False"
_PREPARES = ("Preprocess", "Converter", "Tokenizer", "Augment")
_MESSAGE = "it calls Python from the graph, which XLA cannot"
_ADVICE = Fix(f"use keras.ops, or compile(..., {_OFF})", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find the calls in functions that Keras traces."""
    if "py_func" not in source.text and "numpy_function" not in source.text:
        return
    if _OFF in source.text.replace(" ", ""):
        return
    for traced in source.traced:
        for node in traced.nodes:
            is_callback = isinstance(node, ast.Call) and source.dotted(node.func) in _CALLS
            if is_callback and not (traced.owner and (_says_so(traced.owner) or _is_of_pipeline(traced.owner))):
                is_layer = traced.role in ("layer", "model")
                yield Problem(node, _MESSAGE, fix=_fix(traced.owner) if is_layer and traced.owner else _ADVICE)


def _is_of_pipeline(owner: ast.ClassDef) -> bool:
    # What prepares data is a layer, too, and runs in the input pipeline, where no XLA is.
    return any(word in name for name in (owner.name, *map(ast.unparse, owner.bases)) for word in _PREPARES)


def _says_so(owner: ast.ClassDef) -> bool:
    # As an attribute of the class it does not help: `Layer.__init__` sets that of the object.
    return any(isinstance(node, ast.Attribute) and node.attr == _SETTING for node in ast.walk(owner))


def _fix(owner: ast.ClassDef) -> Fix:
    init = next((one for one in owner.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    for statement in init.body if init else ():
        if isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("super().__init__("):
            setting = f"self.{_SETTING} = False"
            return Fix(f"say {setting}", Applicability.SAFE, (insert_after(statement, setting + "\n"),))
    return _ADVICE


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find the operations in the graph, if nothing keeps Keras from XLA."""
    graph = live.training or live.inference
    called = graph.of_kind(*_OPERATIONS) if graph else []
    if not called or not all(layer.supports_jit for layer in live.layers.values()) or _is_off(live):
        return
    for operation in {(one.layer, one.place): one for one in called}.values():
        evidence = f"{operation.kind} in the graph, at each batch"
        yield Problem(operation.place, _MESSAGE, layer=operation.layer, evidence=evidence, fix=_ADVICE)


def _is_off(live: LiveModel) -> bool:
    # What `compile` was told is not kept: on a machine without a GPU "auto" is False, too.
    return any(_OFF in "".join(linecache.getlines(file)).replace(" ", "") for file in live.files)
