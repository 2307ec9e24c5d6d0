"""KE004 lost-by-keras: Keras's own `save` and `load_model` give another model back, or none.

What it finds:
    A variable, an answer or a train step that differs after `model.save` and `load_model`, or an error of these two.

Why it matters:
    It is how models are kept and handed over; `clone_model` and `ModelCheckpoint` go the same way.

If ignored:
    What is loaded from a `.keras` file is not this model. An Estimator carries it as it is.

Example:
    layer.scale = 9.0

Instead:
    layer = Scaled(scale=9.0)

Fix:
    See the findings about the layer that is named; if there are none, nothing is known but that it differs.

Evidence:
    The error, or the largest difference after loading.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Save and load the model as Keras does, and compare."""
    outcome = live.routes.get("save")
    if outcome is None or outcome.is_lossless:
        return
    if outcome.failure is not None:
        yield Problem(outcome.failure.place, "Keras saves the model and cannot load it", evidence=outcome.failure.line)
        return
    for path, found in live.by_layer(outcome.differences).items():
        place = live.place_of_layer(live.layers[path]) if path else None
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        message = f"it is another model after Keras has saved and loaded it: {found[0].check}: {found[0].where}{more}"
        yield Problem(place, message, layer=path, evidence=f"saved: {found[0].here}; loaded: {found[0].there}")
