"""KE212 dead-weight: a trainable weight has no gradient, so training never changes it.

What it finds:
    A trainable weight from which no path leads to the outputs or the losses of the model along which it can be derived.

Why it matters:
    It counts as trainable, has slots in the optimizer, and stays as it was initialized.

If ignored:
    Keras says "Gradients do not exist for variables" once, and trains the others.

Example:
    return x + keras.ops.stop_gradient(self.gain) * 0.0

Instead:
    return x * self.gain

Fix:
    None: use it, set `trainable=False`, or take it away.

Evidence:
    The graph of the train step has no operation that writes to the weight: its gradient is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_STEPS = ("train_step", "compute_loss")
_FIX = Fix("use it, or set trainable=False", Applicability.DISPLAY)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find trainable weights that the train step of Keras leaves as they are."""
    # A step of the user may leave a part of the model alone on purpose, such as the teacher of a student.
    is_own = any(getattr(type(live.model), name) is not getattr(live.keras.Model, name) for name in _STEPS)
    if live.step is None or is_own:
        return
    held = {id(one.variable): one for one in live.holdings}
    weights = live.model.trainable_weights
    for one in (held[id(weight)] for weight in weights if id(weight) in held and id(weight) not in live.trained):
        place = live.place_of_attribute(one.owner, one.attribute)
        message = f"`{one.path}` has no gradient, and is never trained"
        evidence = (
            f"the train step has gradients for {len(live.trained & {id(weight) for weight in weights})} of "
            f"{len(weights)} weights"
        )
        yield Problem(place, message, layer=one.path.rpartition("/")[0], evidence=evidence, fix=_FIX)
