"""KE407 replica-identical-rng: under a strategy, all replicas draw the same random numbers.

What it finds:
    A `keras.random.SeedGenerator` that the model draws from while it trains, as every Dropout has one.

Why it matters:
    The seed is one variable, mirrored: each replica has the same value, so their masks are equal, row by row.

If ignored:
    On several devices plain Keras drops the same units in every replica's rows: there is less noise than on one device
    with the whole batch. An Estimator gives each replica seeds of its own. On one device nothing happens.

Example:
    with tf.distribute.MirroredStrategy().scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])

Instead:
    config = ke.RunConfig(train_distribute="mirrored")
    estimator = ke.model_to_estimator(model, model_dir="runs/one", config=config)

Fix:
    None in the source.

Evidence:
    `Dropout(0.5)` of ones on two devices: [[0 0 0 2] [2 0 0 0]] on both, seeded or not.
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
    """Find seeds that the graph of training moves on."""
    written = list(live.training.writes()) if live.training is not None else []
    held = {one.holding.path: one.holding.owner for one, _ in written if one.holding is not None}
    seeds = [path for path, owner in held.items() if live.is_a(owner, "keras.random.SeedGenerator")]
    if seeds:
        more = f" and {len(seeds) - 1} more" if len(seeds) > 1 else ""
        message = "the replicas of a strategy would all draw the same random numbers"
        yield Problem(None, message, layer=live.layer_named(seeds[0]), evidence=f"`{seeds[0]}`{more}")
