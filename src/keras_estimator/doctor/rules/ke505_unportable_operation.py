"""KE505 unportable-operation: the answer needs an operation that only TensorFlow's own runtime has.

What it finds:
    An operation in the graph of the answer for which XLA has no kernel: texts, lookup tables, decoders of images.

Why it matters:
    What compiles a graph, rather than running it by TensorFlow, has no such operation: `jit_compile=True`, TPUs,
    StableHLO.

If ignored:
    `compile(jit_compile=True)` of plain Keras trains with "Detected unsupported operations when trying to compile
    graph"; without it, nothing happens, and TensorFlow Serving serves it. An Estimator compiles when `compile` says so,
    and fails alike.

Example:
    return tf.strings.to_number(tf.strings.as_string(x))

Instead:
    return keras.ops.cast(x, "float32")

Fix:
    For display: do it in the input pipeline, or without jit_compile.

Evidence:
    TensorFlow 2.21 lists the kernels of each operation: AsString has one for the CPU and none for XLA. A Lambda with it
    and jit_compile=True raised InvalidArgumentError in the first step.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_FIX = Fix("do it in the input pipeline", Applicability.DISPLAY)
# They are no computation; and Python has a finding of its own.
_PASSED_OVER = frozenset(
    "Placeholder PlaceholderWithDefault NoOp Const _Arg _Retval PyFunc PyFuncStateless EagerPyFunc".split()
)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Ask TensorFlow for the kernels of each operation of the answer."""
    if live.inference is None:
        return
    by_place: dict[tuple[str, str], list[str]] = {}
    places = {}
    for operation in live.inference.operations:
        if operation.kind not in _PASSED_OVER and not _devices(operation.kind) & {"XLA_CPU_JIT", ""}:
            key = (operation.layer, str(operation.place))
            by_place.setdefault(key, []).append(operation.kind)
            places[key] = operation.place
    jit = live.compiled_parts.get("jit_compile") is True
    for key, kinds in by_place.items():
        listed = ", ".join(dict.fromkeys(kinds))
        message = f"XLA cannot compile {listed}"
        severity = Severity.WARNING if jit else Severity.INFO
        yield Problem(places[key], message, layer=key[0], evidence=f"no kernel: {listed}", fix=_FIX, severity=severity)


@functools.cache
def _devices(kind: str) -> frozenset[str]:
    """Return the kinds of devices that TensorFlow has a kernel of an operation for; `""` if it does not say."""
    try:
        kernels = importlib.import_module("tensorflow.python.framework.kernels")
        return frozenset(one.device_type for one in kernels.get_registered_kernels_for_op(kind).kernel) or frozenset(
            {""}
        )
    except (ImportError, AttributeError):  # it is private
        return frozenset({""})
