"""KE109 lambda-free-global: a lambda uses a global name, which it does not find when Keras has loaded it.

What it finds:
    A lambda of a `Lambda` layer, or as loss, metric or activation, that uses a module, function or variable of its
    file: `tf`, `keras`, `ops`.

Why it matters:
    Of a lambda, Keras saves the bytecode, the defaults and the closure. It is run among the names of Keras's own
    module `keras.src.utils.python_utils`.

If ignored:
    With `safe_mode=False` the model is loaded, and raises "NameError: name 'tf' is not defined" when it is called or
    trained. An Estimator carries the function with what it uses.

Example:
    keras.layers.Lambda(lambda x: tf.sin(x))

Instead:
    @keras.saving.register_keras_serializable(package="my_models")
    def sine(x):
        return tf.sin(x)

    keras.layers.Lambda(sine)

Fix:
    Unsafe: a registered function with a name, above.

Evidence:
    Rows 10 and 29 of the zoo: a NameError in the first call, or in the first train step, of what was loaded.
"""

from __future__ import annotations

import ast
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.config_fixes import listed
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.lambdas import from_outside, globals_of, hoisting, lambdas_in, lambdas_of
from keras_estimator.doctor.names_of_keras import FOUND_BY_LAMBDAS, HOME
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_ADVICE = Fix("write a layer class with what it uses as arguments", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find global names in lambdas that Keras is given to keep."""
    for one in lambdas_in(source):
        assert isinstance(one.node, ast.Lambda)
        names = [name for name in from_outside(source, one.node)[0] if name.id not in FOUND_BY_LAMBDAS]
        if names:
            fix = hoisting(source, one.node, _ADVICE)
            yield Problem(names[0], _message([name.id for name in names]), fix=fix)


def _message(names: list[str]) -> str:
    return f"the lambda does not find {listed(names)} when Keras has loaded it"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find global names in the bytecode of lambdas."""
    for path, _, function in lambdas_of(live):
        found = dict(reversed([one for one in globals_of(function.__code__) if one[0] not in FOUND_BY_LAMBDAS]))
        if found and live.place_of(function) is not None:
            names = list(reversed(found))
            kinds = ", ".join(f"`{name}` is a {_kind(function, name)}" for name in names)
            yield Problem(found[names[0]], _message(names), layer=path, evidence=kinds, fix=_ADVICE)


def _kind(function: Any, name: str) -> str:
    return type(function.__globals__.get(name)).__name__


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find a NameError in a lambda that Keras has loaded."""
    frames = [frame for frame, _ in traceback.walk_tb(failure.error.__traceback__)]
    loaded = any(frame.f_globals.get("__name__") == HOME and frame.f_code.co_name == "<lambda>" for frame in frames)
    if loaded and "is not defined" in failure.text and failure.kind == "NameError":
        message = "a lambda that Keras has loaded does not find a global name"
        yield Problem(failure.place, message, evidence=failure.line, severity=Severity.ERROR)
