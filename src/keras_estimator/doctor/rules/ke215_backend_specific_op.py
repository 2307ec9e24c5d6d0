"""KE215 backend-specific-op: the code calls a backend itself, so the model runs with this backend only.

What it finds:
    Functions of `tf`, `jax` or `torch` in what Keras traces of a layer, a model, a loss or a metric.

Why it matters:
    Keras 3 runs one model on TensorFlow, JAX or PyTorch, as long as it computes with `keras.ops`.

If ignored:
    Nothing, while the backend stays the same. With another one the model cannot be called.

Example:
    return x * tf.nn.sigmoid(x)

Instead:
    return x * keras.ops.sigmoid(x)

Fix:
    Unsafe if all of the functions have a counterpart with the same arguments: dtypes of integers are promoted
    otherwise.

Evidence:
    With JAX, `tf.reduce_mean(x)` and `tf.Variable` in a `call` raise.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import needs_import, replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensorflow_table import same_in_ops
from keras_estimator.doctor.tensors import Traced

SEVERITY = Severity.INFO
_BACKENDS = ("tensorflow.", "jax.", "torch.")


def in_source(source: Source) -> Iterator[Problem]:
    """Find calls of a backend; one problem for each class, or function without one."""
    found: dict[int, list[ast.Call]] = {}
    places: dict[int, ast.AST] = {}
    for traced in source.traced:
        if traced.role not in ("layer", "model", "loss", "metric", "lambda"):
            continue
        owner = source.class_of(traced.node)
        where = owner.node if owner else traced.node
        calls = [node for node in traced.nodes if isinstance(node, ast.Call) and _is_of_backend(source, node, traced)]
        if calls:
            places[id(where)] = where
            found.setdefault(id(where), []).extend(calls)
    for key, calls in found.items():
        names = list(dict.fromkeys(source.code(call.func) for call in calls))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        backends = sorted({source.dotted(call.func).partition(".")[0] for call in calls})
        message = f"{_name(places[key])} calls {', '.join(names[:3])}{more}, so it needs {' and '.join(backends)}"
        yield Problem(places[key], message, fix=_fix(source, calls))


def _name(node: ast.AST) -> str:
    return str(getattr(node, "name", "a lambda"))


def _is_of_backend(source: Source, call: ast.Call, traced: Traced) -> bool:
    if not source.dotted(call.func).startswith(_BACKENDS):
        return False
    for outer in source.around(call):
        # Code that asks for the backend first is written for several.
        if isinstance(outer, ast.If | ast.IfExp) and "backend" in ast.unparse(outer.test):
            return False
        if outer is traced.node:
            break
    return True


def _fix(source: Source, calls: list[ast.Call]) -> Fix:
    counterparts = [_counterpart(source, call) for call in calls]
    if not all(counterparts):
        return Fix("use functions of keras.ops", Applicability.DISPLAY)
    alias = source.names.alias_of("keras")
    ops = source.names.alias_of("keras.ops") or f"{alias or 'keras'}.ops"
    changes = [replace(call.func, f"{ops}.{name}") for call, name in zip(calls, counterparts, strict=True)]
    imports = [] if alias or source.names.alias_of("keras.ops") else [needs_import("keras")]
    return Fix("use functions of keras.ops", Applicability.UNSAFE, (*changes, *imports))


def _counterpart(source: Source, call: ast.Call) -> str:
    """Return the function of `keras.ops` for a call; empty if it takes other arguments."""
    # `tf.cast(x, tf.float32)` would still need TensorFlow for its second argument.
    if any(source.dotted(one).startswith(_BACKENDS) for one in call.args):
        return ""
    package, _, name = source.dotted(call.func).partition(".")
    words = [str(word.arg) for word in call.keywords]
    return (package == "tensorflow" and same_in_ops(name, len(call.args), words)) or ""
