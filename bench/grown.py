"""One dense network in many sizes: by its batch and by its depth, to see how cost grows."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workloads import SEED, Workload

WIDTH = 64
STEPS = (1, 10, 100, 1000)
_BATCH_SIZES, _DEPTHS = (8, 32, 128, 512), (1, 2, 4, 8, 16)
_USUAL_BATCH, _USUAL_DEPTH = 32, 2
_ROWS = 4096


def _arrays() -> tuple[Any, Any]:
    x = np.random.default_rng(SEED).normal(size=(_ROWS, WIDTH)).astype("float32")
    return x, x[:, :1]


def grown(batch_size: int, depth: int) -> Workload:
    """Return the workload of one size.

    Args:
        batch_size: Rows in a batch.
        depth: Hidden layers.
    """

    def make_model(tf: Any) -> Any:
        layers = tf.keras.layers
        hidden = [layers.Dense(WIDTH, activation="relu") for _ in range(depth)]
        model = tf.keras.Sequential([layers.Input((WIDTH,)), *hidden, layers.Dense(1)])
        model.compile("adam", "mse", metrics=["mae"])
        return model

    title = f"{depth} hidden layers of {WIDTH}, batch {batch_size}"
    evaluated = min(20, _ROWS // batch_size)
    return Workload(f"dense-{batch_size}-{depth}", title, batch_size, 500, 50, _arrays, make_model, evaluated=evaluated)


# By curve the sizes, batch and depth, that it has points at.
SIZES = {
    "batch": [(batch_size, _USUAL_DEPTH) for batch_size in _BATCH_SIZES],
    "depth": [(_USUAL_BATCH, depth) for depth in _DEPTHS],
    "steps": [(_USUAL_BATCH, _USUAL_DEPTH)],
}
GROWN = {workload.name: workload for workload in (grown(*size) for sizes in SIZES.values() for size in sizes)}
