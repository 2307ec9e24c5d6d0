"""A run goes on with another number of processes: as one, as four, as three; an evaluation counts each example once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import lean_processes
import numpy as np
import pytest
from clusters import START, command

from keras_estimator.checkpoints import Checkpoints

pytestmark = pytest.mark.slow
ROWS, BEGUN, AS_FOUR, AS_THREE = 997, 8, 16, 20  # a pass has ten batches, the last of 97 rows
# Arguments: model_dir and the last step, as often as the process has runs to make.
SCRIPT = (
    START
    + f"""
import json, pathlib

class Count(keras.metrics.Metric):
    def __init__(self):
        super().__init__(name="count")
        self.rows = self.add_variable((), "zeros", dtype="float64", name="rows")
    def update_state(self, labels, predictions, sample_weight=None):
        self.rows.assign_add(tf.cast(tf.shape(labels)[0], "float64"))
    def result(self):
        return self.rows

keras.config.set_floatx("float64")
X = np.random.RandomState(0).normal(size=({ROWS}, 4))
Y = np.sin(X[:, :1]) + X[:, 1:2] ** 2
for folder, last_step in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    keras.utils.set_random_seed(1)
    made = keras.Sequential([L.Input((4,)), L.Dense(16, "tanh"), L.Dense(1)])
    made.compile(keras.optimizers.Adam(0.01, use_ema=True, global_clipnorm=0.5), "mse", metrics=["mae", Count()])
    ours = estimator(made, model_dir=folder, save_checkpoints_steps=4, keep_checkpoint_max=None)
    train_spec = ke.TrainSpec(ke.Arrays(X, Y, batch_size=100, seed=2, epochs=None), max_steps=last_step)
    eval_spec = ke.EvalSpec(ke.Arrays(X, Y, batch_size=64), every_steps=4)
    metrics, _ = ke.train_and_evaluate(ours, train_spec, eval_spec)
    who = f"{{config.task_type}}-{{config.task_id}}"
    pathlib.Path(folder, f"evaluated-{{last_step}}-{{who}}.json").write_text(json.dumps(metrics))
"""
)


def run(given: list[str]) -> None:
    done = subprocess.run(
        given, capture_output=True, text=True, timeout=200, check=False, env=lean_processes.environment()
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs: `alone` was one process all the time; the other two began as two."""
    folder = tmp_path_factory.mktemp("runs")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    run(command(script, folder / "as_more", BEGUN, workers=2))
    shutil.copytree(folder / "as_more", folder / "as_one")
    by_one = (folder / "alone", AS_THREE, folder / "as_one", AS_FOUR)
    run([sys.executable, str(script), *map(str, by_one)])
    run(command(script, folder / "as_more", AS_FOUR, workers=4))
    run(command(script, folder / "as_more", AS_THREE, workers=3))
    return folder


@pytest.mark.parametrize(
    ("name", "step"), [("as_more", BEGUN), ("as_one", AS_FOUR), ("as_more", AS_FOUR), ("as_more", AS_THREE)]
)
def test_the_examples_come_in_one_order_however_many_share_them(runs: Path, name: str, step: int):
    expected, found = (Checkpoints(runs / each).read(step) for each in ("alone", name))
    assert found.state.keys() == expected.state.keys()
    for what in ("passes", "batches", "identity"):
        assert found.run["data"][what] == expected.run["data"][what]
    for path, value in expected.state.items():
        # In float64: what differs is only the order in which rows are added up.
        np.testing.assert_allclose(found.state[path].astype(float), value.astype(float), 1e-8, 1e-9, err_msg=path)
    np.testing.assert_allclose(found.run["metrics"]["loss"], expected.run["metrics"]["loss"], 1e-8)


def test_no_step_is_made_twice_or_left_out(runs: Path):
    steps = {each.name: [found.step for found in Checkpoints(each).list()] for each in runs.iterdir() if each.is_dir()}
    assert steps == {
        "alone": [0, 4, 8, 12, 16, 20],
        "as_one": [0, 4, 8, 12, 16],
        "as_more": [0, 4, 8, 12, 16, 20],
    }


@pytest.mark.parametrize(("step", "workers"), [(BEGUN, 2), (AS_FOUR, 4), (AS_THREE, 3)])
def test_an_evaluation_in_a_cluster_counts_each_example_once(runs: Path, step: int, workers: int):
    found = [json.loads(file.read_text()) for file in (runs / "as_more").glob(f"evaluated-{step}-*.json")]
    assert len(found) == workers
    for each in found:
        assert each["count"] == ROWS
        assert each["global_step"] == step
        assert each["loss"] == pytest.approx(found[0]["loss"], rel=1e-8)
    alone = json.loads(next((runs / "alone").glob("evaluated-20-*.json")).read_text())
    if step == AS_THREE:
        assert found[0] == pytest.approx(alone, rel=1e-8)
