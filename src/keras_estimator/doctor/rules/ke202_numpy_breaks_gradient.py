"""KE202 numpy-breaks-gradient: run eagerly, a NumPy function gives a constant, and the gradient through it is lost.

What it finds:
    A model with `run_eagerly=True` whose gradient differs from the slope of its answer, because of NumPy.

Why it matters:
    Run eagerly, tensors have numbers, so NumPy computes and nothing fails. What it returns is an array: all that was
    computed before it gets no gradient through it.

If ignored:
    `fit` of plain Keras trains with a wrong gradient; layers before the call learn too little or nothing. An
    Estimator runs the function of `keras.ops` with the same name, with its gradient.

Example:
    def call(self, x):
        return np.sin(x) * self.scale(x)

Instead:
    def call(self, x):
        return keras.ops.sin(x) * self.scale(x)

Fix:
    That of KE201, at the same line.

Evidence:
    `np.sin(x) * tf.reduce_mean(x)` run eagerly: 2.44, by finite difference 6.93. Each finding has both numbers of its
    model, along a random direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Place, Severity
from keras_estimator.doctor.numpy_table import equivalent_of
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.ERROR
_FAR = 1e-2  # of the true slope: finite differences in float32 are no better
_STEP = 1e-2


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare the gradient with and without NumPy, and with the slope."""
    if not getattr(live.model, "run_eagerly", False) or live.arrays is None or not live.numpy_calls:
        return
    try:
        with live.unchanged():
            as_it_is, exact, slope = _slopes(live)
    except Exception:  # noqa: BLE001 - it cannot be run eagerly, which others tell
        return
    if abs(as_it_is - exact) <= _FAR * abs(exact) or abs(as_it_is - slope) <= abs(exact - slope):
        return
    evidence = f"along a random direction the gradient is {as_it_is:.3g}, and the slope {slope:.3g}"
    for line, called in live.numpy_calls:
        name = called.removeprefix("np.")
        fix = Fix(f"use keras.ops.{other}", Applicability.DISPLAY) if (other := equivalent_of(name)) else None
        yield Problem(Place(line.file, line.number), f"the gradient ends at {called}", evidence=evidence, fix=fix)


def _slopes(live: LiveModel) -> tuple[float, float, float]:
    """Return the slope along one direction of the weights: by plain gradient, with NumPy replaced, by differences."""
    from keras_estimator.model import numpy_calls  # noqa: PLC0415 - it starts Keras

    assert live.arrays is not None
    features = live.tf.nest.map_structure(live.tf.convert_to_tensor, live.arrays[0])
    live.model(features)  # makes what is not there yet
    weights = [one.value for one in live.model.trainable_weights]
    random = live.tf.random.Generator.from_seed(0)
    directions = [random.normal(one.shape, dtype=one.dtype) for one in weights]
    as_it_is = _along(live, features, weights, directions)
    with numpy_calls.eager_too():
        exact = _along(live, features, weights, directions)
    ends = []
    for sign in (1, -2):
        for weight, direction in zip(weights, directions, strict=True):
            weight.assign_add(sign * _STEP * direction)
        ends.append(float(_value(live, features)))
    return as_it_is, exact, (ends[0] - ends[1]) / (2 * _STEP)


def _along(live: LiveModel, features: Any, weights: list[Any], directions: list[Any]) -> float:
    """Return the gradient along a direction."""
    with live.tf.GradientTape() as tape:
        value = _value(live, features)
    gradients = tape.gradient(value, weights, unconnected_gradients="zero")
    pairs = zip(gradients, directions, strict=True)
    return float(sum(live.tf.reduce_sum(live.tf.convert_to_tensor(one) * other) for one, other in pairs))


def _value(live: LiveModel, features: Any) -> Any:
    """Return one number for all that the model answers, each part with a weight of its own."""
    answers = [live.tf.convert_to_tensor(one) for one in live.tf.nest.flatten(live.model(features))]
    return sum(
        live.tf.reduce_mean(one * live.tf.reshape(live.tf.linspace(0.5, 1.5, math.prod(one.shape)), one.shape))
        for one in (live.tf.cast(one, "float32") for one in answers if one.dtype.is_floating)
    )
