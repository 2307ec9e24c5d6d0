"""KE305 seeds-not-saved: Keras's own files do not hold the state of random numbers, such as a Dropout's.

What it finds:
    A `keras.random.SeedGenerator` in a model, as every Dropout has one.

Why it matters:
    `.keras`, weights files and `tf.train.Checkpoint` leave the state of seed generators out.

If ignored:
    After `load_model` training draws the masks of the first steps once more: it is another run than one that was not
    interrupted. An Estimator saves the seeds and goes on exactly.

Example:
    keras.layers.Dropout(0.5)

Instead:
    estimator = ke.model_to_estimator(model, model_dir="runs/one")

Fix:
    None in the source.

Evidence:
    Row 01 of the zoo: the state [1, 3] came back as [1, 0], and the next loss was 7.79 instead of 4.99.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find seed generators."""
    for held in live.holdings:
        if live.is_a(held.owner, "keras.random.SeedGenerator"):
            # The generator may have any name; the layer is the one that its path begins with.
            layer = live.layer_named(held.path)
            evidence = f"`{held.path}` is no weight of the model"
            yield Problem(
                None, "the state of its random numbers is in no file of Keras", layer=layer, evidence=evidence
            )
