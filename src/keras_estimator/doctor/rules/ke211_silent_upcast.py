"""KE211 silent-upcast: `keras.ops` makes a float64 of a float32 tensor, as an array of NumPy is one.

What it finds:
    A tensor that becomes a float64 although nobody has written so: `ops.multiply(x, np.linspace(0, 1, 4))`,
    `ops.divide(x, np.sqrt(8))`.

Why it matters:
    NumPy makes float64 numbers. `keras.ops` takes the larger dtype of its arguments, while `*` and `tf.multiply` take
    that of the tensor: two ways of writing it give two dtypes.

If ignored:
    The layer answers in float64: twice the memory, slow or impossible on accelerators, and a following operation of
    TensorFlow with a float32 raises. An exported signature has float64, too.

Example:
    return ops.multiply(x, np.linspace(0.0, 1.0, 4))

Instead:
    return ops.multiply(x, ops.cast(np.linspace(0.0, 1.0, 4), x.dtype))

Fix:
    Unsafe: the answer becomes a float32, and is rounded to it.

Evidence:
    `ops.multiply(x, array)` and nine more functions of `keras.ops` gave float64, `x * array` and `tf.multiply` float32.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Place, Severity
from keras_estimator.doctor.rewriting import needs_import, replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import Traced

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_OPS = frozenset("add subtract multiply divide true_divide power maximum minimum matmul dot".split())
# Functions of NumPy that give float64 for whatever numbers.
_FLOAT64 = frozenset("float64 linspace sqrt exp log log2 log10 sin cos tan tanh".split())
# The same if no dtype is given.
_FLOAT64_UNTOLD = frozenset("zeros ones random.rand random.randn random.normal random.uniform".split())
_FLOATS = ("float32", "float16", "bfloat16")


def in_source(source: Source) -> Iterator[Problem]:
    """Find functions of `keras.ops` of a tensor and an array that NumPy has just made."""
    for traced in source.traced:
        for node in traced.nodes:
            if not isinstance(node, ast.Call) or len(node.args) != 2:
                continue
            module, _, name = source.dotted(node.func).rpartition(".")
            if module == "keras.ops" and name in _OPS:
                yield from _problems(source, traced, node)


def _problems(source: Source, traced: Traced, call: ast.Call) -> Iterator[Problem]:
    one, other = call.args
    for tensor, array in ((one, other), (other, one)):
        if _is_float64(source, array) and traced.holds_tensor(tensor) and not traced.holds_tensor(array):
            message = f"{source.code(call.func)} makes a float64 of a tensor, as {_short(source, array)} is one"
            yield Problem(array, message, fix=_fix(source, tensor, array))


def _short(source: Source, node: ast.expr) -> str:
    return f"{source.code(node.func)}(...)" if isinstance(node, ast.Call) else source.code(node)


def _is_float64(source: Source, node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not source.dotted(node.func).startswith("numpy."):
        return False
    name = source.dotted(node.func).removeprefix("numpy.")
    has_dtype = any(word.arg in ("dtype", None) for word in node.keywords)
    if name == "array" and not has_dtype and len(node.args) == 1:
        numbers = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
        return any(isinstance(number, float) for number in numbers)
    is_untold = name in _FLOAT64_UNTOLD and len(node.args) == 1
    return not has_dtype and (name in _FLOAT64 or is_untold)


def _fix(source: Source, tensor: ast.expr, array: ast.expr) -> Fix:
    if not isinstance(tensor, ast.Name):
        return Fix("cast it to the dtype of the tensor: keras.ops.cast(..., x.dtype)", Applicability.DISPLAY)
    alias = source.names.alias_of("keras")
    ops = source.names.alias_of("keras.ops") or f"{alias or 'keras'}.ops"
    has_ops = bool(alias or source.names.alias_of("keras.ops"))
    code = f"{ops}.cast({source.code(array)}, {tensor.id}.dtype)"
    imports = () if has_ops else (needs_import("keras"),)
    return Fix(f"cast it: {ops}.cast(..., {tensor.id}.dtype)", Applicability.UNSAFE, (replace(array, code), *imports))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find casts to float64 that stand in no line of the user."""
    found: set[object] = set()
    for one in live.inference.of_kind("Cast") if live.inference else ():
        source, result = (one.operation.get_attr(name).name for name in ("SrcT", "DstT"))
        if source not in _FLOATS or result != "float64" or one.place is None or one.place in found:
            continue
        if _is_inside_of_keras(one.operation, one.place):
            continue
        layer = live.layers.get(one.layer)
        if getattr(layer, "compute_dtype", "") == "float64":
            continue
        written = linecache.getline(one.place.file, one.place.line)
        if "float64" not in written and "double" not in written:
            found.add(one.place)
            evidence = f"a Cast from {source} to float64 in the graph"
            yield Problem(one.place, "a tensor becomes a float64 here", layer=one.layer, evidence=evidence)


def _is_inside_of_keras(operation: Any, place: Place) -> bool:
    """Tell whether a layer of Keras that is called in a line made an operation: what it does inside is its business."""
    frames = [(frame.filename, frame.lineno) for frame in operation.traceback]
    behind = frames[len(frames) - frames[::-1].index((place.file, place.line)) :]
    return any("/keras/src/layers/" in file.replace("\\", "/") for file, _ in behind)
