"""KE502 no-inputs: a model does not know what it takes, so Keras cannot export it.

What it finds:
    A model that was never built, or built and never called, or a Sequential that says that it is built and has no
    inputs; and the errors of `export`.

Why it matters:
    An export is traced, and only a model that knows its inputs can be.

If ignored:
    `export` of plain Keras raises "has not yet been built", "has never called" or "has no defined inputs yet". An
    Estimator builds the model with the first batch that it trains or predicts on, and exports for features like these.

Example:
    model = keras.Sequential([keras.layers.Dense(1)])

Instead:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])

Fix:
    For display: only you know the inputs.

Evidence:
    Keras 3.15: ValueError for a model without inputs and for one that was built by `build` alone, AttributeError for a
    Sequential that was left half built by a layer that uses NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_FIX = Fix("begin it with keras.Input(shape), or call it with a batch once", Applicability.DISPLAY)
_RAISED = (
    "has no defined inputs yet",
    "It must be built before export",
    "It must be called at least once before export",
)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Ask the model what it takes."""
    model = live.model
    place = live.place_of(type(model))
    if not model.built:
        yield Problem(place, "the model was never built, so Keras cannot export it", fix=_FIX)
    elif live.is_a(model, "keras.Sequential"):
        if not getattr(model, "inputs", None):
            message = "the model says that it is built and has no inputs: it was left half built"
            yield Problem(place, message, fix=_FIX, severity=Severity.WARNING)
    elif not getattr(model, "_called", True) and not getattr(model, "inputs", None):
        yield Problem(place, "the model was never called, so Keras cannot export it", fix=_FIX)


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what Keras says when it exports such a model."""
    if any(text in failure.text for text in _RAISED):
        message = "a model that does not know its inputs is exported"
        yield Problem(failure.place, message, evidence=failure.line, fix=_FIX, severity=Severity.ERROR)
