"""What has to be the same in all processes before they train one model together, as text that can be compared."""

from __future__ import annotations

import platform
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.engines.tensorflow.state import ModelState
from keras_estimator.errors import BlueprintError
from keras_estimator.model.computation.fingerprint import take_fingerprints
from keras_estimator.run_config import RunConfig, strategy_of

# What decides how many hooks there are and when, which rows are read, and what is computed.
_SETTINGS = (
    "tf_random_seed save_summary_steps save_checkpoints_steps save_checkpoints_secs log_step_count_steps "
    "plan data_position dependent_rows"
).split()
# What differs of a model itself, if processes with equal programs do not compute the same.
COMPUTATION = ("what the model answers", "what a step of training does")


def to_compare(model: Any, state: ModelState, data: str, config: RunConfig) -> dict[str, str]:
    """Return what it is, and a version, a list or a hash.

    Args:
        model: A model that is built.
        state: Its variables.
        data: What it trains on.
        config: How it runs.
    """
    listed = (f"{path} {tuple(v.shape)} {v.dtype.name}" for path, v in state.variables().items())
    variables = {"the variables of the model": "\n".join(sorted(listed))}
    settings = {f"RunConfig.{name}": repr(getattr(config, name)) for name in _SETTINGS}
    for name in ("train_distribute", "eval_distribute"):
        settings[f"RunConfig.{name}"] = str(strategy_of(getattr(config, name))[0])
    return _versions() | settings | variables | {"the data": data} | _computation(model)


def _versions() -> dict[str, str]:
    modules = {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
    return {f"the version of {name}": text for name, text in {**modules, "Python": platform.python_version()}.items()}


def _computation(model: Any) -> dict[str, str]:
    """Return hashes of what a model computes; empty ones of a model of which no copy can be made."""
    try:
        found = take_fingerprints(model, None)[0].fingerprint
        hashes = found.inference.hash, found.training.hash
    except BlueprintError:
        hashes = "", ""
    return dict(zip(COMPUTATION, hashes, strict=True))
