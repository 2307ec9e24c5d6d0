"""KE201 numpy-on-symbolic: a NumPy function is applied to a tensor, which has no numbers while it is traced.

What it finds:
    `np.sin(x)` in a `call`, a Lambda, a loss, a metric or a step, where `x` comes from the arguments. Not in tokenizers
    and other preprocessing that takes the numbers of its arguments outside of the graph.

Why it matters:
    NumPy asks for the numbers of its arguments. A tensor has none while Keras builds a model and while TensorFlow
    traces it; run eagerly, NumPy's result is a constant through which no gradient flows.

If ignored:
    Plain Keras raises "Cannot convert a symbolic tf.Tensor to a numpy array", or leaves a Sequential half built. An
    Estimator runs the function of `keras.ops` with the same name.

Example:
    y = np.sin(x)

Instead:
    y = keras.ops.sin(x)

Fix:
    Safe if the function of `keras.ops` with the same name computes the same with the arguments that are used, as our
    tests compare; unsafe otherwise.

Evidence:
    Row 14 of the zoo; gradients of `np.sin(x) * tf.reduce_mean(x)` run eagerly: 2.44 instead of 6.93.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Place, Severity
from keras_estimator.doctor.numpy_table import equivalent_of, is_same
from keras_estimator.doctor.ops_path import ops_path
from keras_estimator.doctor.placed_problems import problems_at
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.sure_tensors import sure_tensors

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.ERROR
_RAISED = re.compile(r"symbolic (tf\.)?Tensor|KerasTensor is symbolic|numpy\(\) is only available|SymbolicTensor")
# They look at the shape, the dtype or the kind, or give no numbers.
_WITHOUT_NUMBERS = re.compile(r"(random\.|testing\.|(shape|ndim|iterable|isscalar|issubdtype|dtype|result_type)$)")
_NO_COUNTERPART = Fix("use functions of keras.ops", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find calls of NumPy with a tensor among their arguments."""
    for one in sure_tensors(source):
        for node in one.traced.nodes:
            name = source.dotted(node.func) if isinstance(node, ast.Call) else ""
            name = name.removeprefix("numpy.") if name.startswith("numpy.") else ""
            if name and isinstance(node, ast.Call) and not _WITHOUT_NUMBERS.match(name) and one.any_holds(node):
                yield Problem(node.func, _message(name), fix=_fix(source, node, name))


def _message(name: str) -> str:
    return f"np.{name} is applied to a tensor"


def _fix(source: Source, call: ast.Call, name: str) -> Fix:
    counterpart = equivalent_of(name)
    if counterpart is None:
        return _NO_COUNTERPART
    path, imports = ops_path(source)
    changes = (replace(call.func, f"{path}.{counterpart}"), *imports)
    is_safe = is_same(name, len(call.args), {word.arg for word in call.keywords})
    applicability = Applicability.SAFE if is_safe else Applicability.UNSAFE
    return Fix(f"use keras.ops.{counterpart}", applicability, changes)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find the calls that were made while the model was traced."""
    for line, called in live.numpy_calls:
        name = called.removeprefix("np.").removeprefix("numpy.")
        if _WITHOUT_NUMBERS.match(name):
            continue
        place = Place(line.file, line.number)
        other = equivalent_of(name)
        fix = Fix(f"use keras.ops.{other}", Applicability.DISPLAY) if other else _NO_COUNTERPART
        known = [one for one in problems_at(place, in_source) if one.message == _message(name)]
        for one in known or [Problem(place, _message(name), fix=fix)]:
            yield dataclasses.replace(one, evidence=f"called while the model was traced: {line.text}")


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what asked for the numbers of a tensor that has none."""
    if not _RAISED.search(failure.text):
        return
    known = problems_at(failure.place, in_source)
    for one in known:
        yield dataclasses.replace(one, evidence=failure.line)
    if failure.place and not known and re.search(r"\b(np|numpy)\.", failure.source_line):
        yield Problem(failure.place, "NumPy is applied to a tensor", evidence=failure.line)
