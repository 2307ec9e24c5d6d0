"""KE108 python-lambda: Keras keeps a lambda as bytecode, and refuses to load it again.

What it finds:
    A Python lambda as the function of a `Lambda` layer, or as loss, metric or activation. A layer that a class makes
    for itself in its `__init__` is in no config, and passed over.

Why it matters:
    A function with a name is saved by its name. A lambda has none: its bytecode is saved, which is of one version of
    Python and may be anybody's, so Keras loads it in no safe mode.

If ignored:
    `load_model`, `clone_model` and `from_config` of Keras raise ValueError: "Requested the deserialization of a
    `Lambda` layer whose `function` is a Python lambda", or of "a Python lambda" in `compile`. An Estimator carries
    the function.

Example:
    keras.layers.Lambda(lambda x: x * 2)

Instead:
    @keras.saving.register_keras_serializable(package="my_models")
    def twice(x):
        return x * 2

    keras.layers.Lambda(twice)

Fix:
    Unsafe: a registered function with a name, above. For display if it uses values of a function around it.

Evidence:
    Row 09 of the zoo: `load_model` needs `safe_mode=False`; `clone_model` and `from_config` refuse it in Keras 3.15.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.lambdas import hoisting, lambdas_in, lambdas_of, place_of_lambda
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_ADVICE = Fix("write a layer class with what it uses as arguments", Applicability.DISPLAY)
_SAID = ("whose `function` is a Python lambda", "the deserialization of a Python lambda")


def in_source(source: Source) -> Iterator[Problem]:
    """Find lambdas that Keras is given to keep."""
    for one in lambdas_in(source):
        fix = hoisting(source, one.node, _ADVICE)
        yield Problem(one.node, _message(one.role), fix=fix)


def _message(role: str) -> str:
    what = "the function of a Lambda layer" if role == "lambda" else f"the {role}"
    return f"{what} is a Python lambda, which Keras does not load again"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find lambdas that a live model holds, and hear what Keras says of them."""
    found = list(lambdas_of(live))
    said = [outcome.failure.line for outcome in live.routes.values() if outcome.failure] if found else []
    evidence = next((line for line in said if any(text in line for text in _SAID)), "")
    for path, role, function in found:
        if live.place_of(function) is not None:
            yield Problem(place_of_lambda(live, function), _message(role), layer=path, evidence=evidence, fix=_ADVICE)


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what Keras says of a lambda that it does not load."""
    if any(text in failure.text for text in _SAID):
        message = "Keras does not load a Python lambda"
        fix = Fix("give Keras a registered function, or safe_mode=False", Applicability.DISPLAY)
        yield Problem(failure.place, message, evidence=failure.line, fix=fix, severity=Severity.ERROR)
