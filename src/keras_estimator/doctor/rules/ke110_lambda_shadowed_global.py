"""KE110 lambda-shadowed-global: a lambda finds a name of Keras in place of yours when Keras has loaded it.

What it finds:
    A lambda of a `Lambda` layer, or as loss, metric or activation, that uses a global name which
    `keras.src.utils.python_utils` has, too: `to_list`, `default`, `removeprefix`, `os`, `codecs` and so on.

Why it matters:
    Keras runs the bytecode of a lambda that it has loaded among the names of that module.

If ignored:
    With `safe_mode=False` the model is loaded and computes something else, without a word: Keras's function is called
    in place of yours. A module such as `os` is the same one, by accident. An Estimator carries the function with what
    it uses.

Example:
    keras.layers.Lambda(lambda x: to_list(x))

Instead:
    @keras.saving.register_keras_serializable(package="my_models")
    def listed(x):
        return to_list(x)

    keras.layers.Lambda(listed)

Fix:
    Unsafe: a registered function with a name, above.

Evidence:
    Row 41 of the zoo: a `to_list` of the user was Keras's own after loading, and no error was raised; row 13 for
    `os`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.lambdas import from_outside, globals_of, hoisting, lambdas_in, lambdas_of
from keras_estimator.doctor.names_of_keras import FOUND_BY_LAMBDAS, HOME, MODULES
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_ADVICE = Fix("write a layer class with what it uses as arguments", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find names of Keras's module in lambdas that Keras is given to keep."""
    for one in lambdas_in(source):
        assert isinstance(one.node, ast.Lambda)
        names = [name for name in from_outside(source, one.node)[0] if name.id in FOUND_BY_LAMBDAS]
        fix = hoisting(source, one.node, _ADVICE)
        others = [name for name in names if source.dotted(name) != MODULES.get(name.id)]
        if names:
            first = (others or names)[0]
            severity = None if others else Severity.INFO
            yield Problem(first, _message(first.id, is_same=not others), fix=fix, severity=severity)


def _message(name: str, *, is_same: bool) -> str:
    if is_same:
        return f"the lambda finds `{name}` by accident when Keras has loaded it: Keras imports it, too"
    return f"the lambda finds Keras's own `{name}` when Keras has loaded it"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find such names in the bytecode of lambdas, and compare what they stand for."""
    theirs = vars(sys.modules[HOME])
    for path, _, function in lambdas_of(live):
        known = [(name, place) for name, place in globals_of(function.__code__) if name in theirs]
        others = [one for one in known if function.__globals__.get(one[0]) is not theirs[one[0]]]
        if known and live.place_of(function) is not None:
            name, place = (others or known)[0]
            evidence = f"after loading it is `{name}` of {HOME}"
            severity = None if others else Severity.INFO
            message = _message(name, is_same=not others)
            yield Problem(place, message, layer=path, evidence=evidence, fix=_ADVICE, severity=severity)
