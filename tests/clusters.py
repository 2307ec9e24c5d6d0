"""Run a script in the processes of a cluster on this machine, by the command that users have for it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

LAUNCH = [sys.executable, "-m", "keras_estimator.cli", "launch"]
# What the scripts of tests begin with: keras_estimator first, as TensorFlow has to join before its first tensor.
START = """
import os, signal, sys, time
import keras_estimator as ke
import keras, numpy as np, tensorflow as tf
L = keras.layers
X = np.random.RandomState(0).normal(size=(200, 4)).astype("float32")
Y = X[:, :1] * 2
DATA = ke.Arrays(X, Y, batch_size=20, seed=2, epochs=None)
config = ke.RunConfig(sys.argv[1], save_checkpoints_steps=10, log_step_count_steps=10, progress="off")
IS_CHIEF = config.is_chief

def dense(*layers, units=4):
    made = keras.Sequential([L.Input((4,)), L.Dense(units), *layers, L.Dense(1)])
    made.compile("adam", "mse", metrics=["mae"])
    return made

def estimator(model, **options):
    return ke.model_to_estimator(model, config=config.replace(**options))
"""


def command(script: Path, *args: object, workers: int = 2, ps: int = 0, restarts: int = 0) -> list[str]:
    """Return the command line that launches a script."""
    numbers = {"--workers": workers, "--ps": ps, "--restarts": restarts}
    return [*LAUNCH, *(str(each) for pair in numbers.items() for each in pair), str(script), *map(str, args)]


def launch(
    folder: Path, body: str, *, workers: int = 2, ps: int = 0, timeout: float = 150
) -> subprocess.CompletedProcess[str]:
    """Write a script below `folder`, run it to its end, and return what came of it; its model_dir is folder/run."""
    script = folder / "script.py"
    script.write_text(START + textwrap.dedent(body))
    given = command(script, folder / "run", workers=workers, ps=ps)
    return subprocess.run(given, capture_output=True, text=True, timeout=timeout, check=False)


def said_by(name: str, output: str) -> str:
    """Return what one process has printed."""
    return "\n".join(re.findall(rf"^\[{re.escape(name)}\] *(.*)$", output, re.MULTILINE))
