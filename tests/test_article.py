"""The three examples of the article that started it all: unchanged, and then all the way to serving."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent / "data" / "article"

# Runs an example as it is, takes its estimator, and goes on where the article ends. 160 steps, because the third
# example multiplies its output by the number of calls: its loss rises first, until the weights have become small.
GOES_ON = """
import runpy, sys, warnings
import keras, numpy as np
warnings.simplefilter("ignore")
from keras_estimator import RunConfig, drop_in, model_to_estimator
from keras_estimator.engines.tensorflow import variable_reads
from keras_estimator.model import numpy_calls

drop_in.install(), numpy_calls.install(), variable_reads.install()
path, folder = sys.argv[1:]
keras.utils.set_random_seed(0)
model = runpy.run_path(path)["estimator"].model
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 10)).astype("float32")
y = (x[:, :1] - x[:, 1:2]).astype("float32")

def converted():
    model.compile("adam", "mse")
    return model_to_estimator(model, model_dir=folder, config=RunConfig(log_step_count_steps=10, progress="off"))

estimator = converted()
before = estimator.evaluate((x, y))["loss"]
estimator.train((x, y), max_steps=160)
middle = estimator.evaluate((x, y))["loss"]
assert middle < before, (before, middle)

for variable in model.variables:
    variable.assign(keras.ops.zeros_like(variable))  # whatever goes on now comes from the checkpoint
again = converted()
assert again.evaluate((x, y)) == {"loss": middle, "global_step": 160}
again.train((x, y), max_steps=320)
assert again.evaluate((x, y))["loss"] < middle
print(again.export_saved_model(folder + "/export"))  # compared with predict in a fresh process
"""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_example_runs_unchanged(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "keras_estimator.cli", "run", str(EXAMPLES / f"example_{number}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Conversion successful."
    if number == 2:
        assert "np.sin at example_2.py:5 runs as keras.ops.sin" in done.stderr
    if number == 3:
        assert done.stderr.count("example_3.py:10: the int32 variable") == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_example_trains_goes_on_exports_and_serves_the_same(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", GOES_ON, str(EXAMPLES / f"example_{number}.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    exported = Path(done.stdout.splitlines()[-1])
    assert (exported / "saved_model.pb").is_file()
    assert exported.name.isdigit()
