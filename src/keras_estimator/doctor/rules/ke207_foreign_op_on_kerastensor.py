"""KE207 foreign-op-on-kerastensor: a function of TensorFlow or NumPy is applied to a tensor of a functional model.

What it finds:
    `tf.nn.relu(x)` or `np.sin(x)` between the layers of a functional model, where `x` comes from `keras.Input`.

Why it matters:
    While a functional model is put together there are KerasTensors only: a shape and a dtype, and no graph of
    TensorFlow yet. Only layers and functions of `keras.ops` take them.

If ignored:
    Plain Keras raises "A KerasTensor cannot be used as input to a TensorFlow function", or "cannot convert it to a
    NumPy array". An Estimator runs NumPy's functions as those of `keras.ops`, not TensorFlow's.

Example:
    x = tf.nn.relu(keras.Input((4,)))

Instead:
    x = keras.ops.relu(keras.Input((4,)))

Fix:
    Safe if `keras.ops` has the function with the same meaning of the arguments that are used. For display otherwise:
    put it into the `call` of a layer.

Evidence:
    Rows 56 and 57 of the zoo cannot be constructed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.keras_tensors import FOREIGN_BUT_HARMLESS, functional_code
from keras_estimator.doctor.numpy_table import equivalent_of, is_same
from keras_estimator.doctor.ops_path import ops_path
from keras_estimator.doctor.placed_problems import problems_told
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensorflow_table import same_in_ops

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure

SEVERITY = Severity.ERROR
_RAISED = ("A KerasTensor cannot be used as input to a TensorFlow function", "A KerasTensor is symbolic")
_ADVICE = Fix("use keras.ops, or put it into the call of a layer", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find calls of TensorFlow and NumPy with a tensor that comes from `keras.Input`."""
    for code in functional_code(source):
        for call in code.calls:
            name = source.dotted(call.func)
            if (
                not name.startswith(("tensorflow.", "numpy."))
                or FOREIGN_BUT_HARMLESS.match(name)
                or not code.any_holds(call)
            ):
                continue
            short = name.replace("tensorflow.", "tf.").replace("numpy.", "np.")
            yield Problem(call, f"{short} is applied to a KerasTensor", fix=_fix(source, call, name))


def _fix(source: Source, call: ast.Call, name: str) -> Fix:
    package, _, function = name.partition(".")
    words = {str(word.arg) for word in call.keywords}
    if package == "numpy":
        other = equivalent_of(function) if is_same(function, len(call.args), words) else None
    else:
        other = same_in_ops(function, len(call.args), words)
    if other is None:
        return _ADVICE
    path, imports = ops_path(source)
    return Fix(f"use keras.ops.{other}", Applicability.SAFE, (replace(call.func, f"{path}.{other}"), *imports))


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what Keras says of it."""
    if any(text in failure.innermost.text for text in _RAISED):
        otherwise = "a function that is none of Keras is applied to a KerasTensor"
        yield from problems_told(failure, in_source, otherwise, _ADVICE)
