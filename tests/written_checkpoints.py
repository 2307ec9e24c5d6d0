"""Checkpoints for tests of what looks at them: written as a run writes them, and damaged as a disk damages them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_estimator.checkpoints import Checkpoints

OLD = Path(__file__).parent / "data" / "model_dirs_of_tf_2_15"  # see test_tf_checkpoints.py


def state_of(step: int) -> dict[str, Any]:
    return {"kernel": np.full((2, 3), step, np.float32), "words": np.array([b"a"], object), "step": np.int64(step)}


def write(folder: Path, *steps: int, **run: Any) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep_max=None)
    for step in steps:
        metrics = {"loss": 1 / (step + 1), "accuracy": step / 1000}
        checkpoints.write(step, state_of(step), {"plan": "graph", "data": {"batches": step}, "metrics": metrics, **run})
    return checkpoints


def damage_state(folder: Path, step: int) -> None:
    """Change a byte, which nobody sees without reading all."""
    file = Checkpoints(folder).path_of(step) / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def damage_record(folder: Path, step: int) -> None:
    file = Checkpoints(folder).path_of(step) / "run.json"
    file.write_bytes(file.read_bytes() + b" ")


def set_aside(folder: Path, step: int) -> Path:
    """Damage a checkpoint and put it where a run puts it that goes on from an older one."""
    damage_state(folder, step)
    return Checkpoints(folder).path_of(step).rename(folder / "checkpoints" / f"damaged-step-{step}")
