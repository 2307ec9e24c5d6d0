"""Processes that train together come to what one process comes to: at each step, and for every variable at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import command, launch, said_by

from keras_estimator.engines.tensorflow.state import is_metric

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("lean_imports")]
SCRIPT = Path(__file__).parent / "trained_together.py"
QUICK = ("a_batch_of_one_row", "clipped_gradients", "masked_sequences")
ALL = """
    sgd_on_dense a_batch_of_one_row synchronized_normalization clipped_gradients clipped_values_and_decay
    accumulated_gradients averaged_weights sample_weights mean_by_sample_weights summed_loss loss_of_one_number
    class_weights regularized added_losses several_outputs masked_sequences raw_counter own_train_step scaled_loss
    a_seeded_pipeline parts_by_input_context parts_eagerly eagerly example_1_of_the_article
    example_2_of_the_article_over_all_rows example_3_of_the_article
""".split()
# Of three processes, those that two do not settle: shares that differ by one row, several sums in one step.
OF_THREE = ("a_batch_of_one_row", "masked_sequences", "several_outputs", "parts_by_input_context", "parts_eagerly")
OF_FOUR = ("a_batch_of_one_row", "masked_sequences", "parts_by_input_context", "averaged_weights", "eagerly")


def run(given: list[str], devices: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"} | {"DEVICES": str(devices)}
    done = subprocess.run(given, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def alone(folder: Path, names: Sequence[str], devices: int = 1) -> None:
    run([sys.executable, str(SCRIPT), str(folder), *names], devices)


def together(folder: Path, names: Sequence[str], workers: int, devices: int = 1) -> None:
    run(command(SCRIPT, folder, *names, workers=workers), devices)


def of(folder: Path, name: str, place: int) -> dict[str, Any]:
    with np.load(folder / f"{name}-{place}.npz", allow_pickle=True) as saved:
        return dict(saved)


def compare(one: Path, several: Path, name: str, workers: int) -> None:
    expected = of(one, name, 0)
    results = [of(several, name, place) for place in range(workers)]
    assert not (several / f"{name}-{workers}.npz").exists()
    for place, result in enumerate(results):
        assert result.keys() == expected.keys()
        for key, value in expected.items():
            if "seed" in key or (place and is_metric(key.removeprefix("variable "))):
                continue  # the sums of metrics are the chief's
            # In float64: what differs is only the order in which rows are added up.
            np.testing.assert_allclose(result[key].astype(float), value.astype(float), 1e-8, 1e-9, err_msg=key)
            if key.startswith("variable") and "metric" not in key and "tracker" not in key:
                np.testing.assert_array_equal(result[key], results[0][key], err_msg=key)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quick")
    for name in ("one", "two"):
        (folder / name).mkdir()
    alone(folder / "one", QUICK)
    together(folder / "two", QUICK, 2)
    return folder


@pytest.mark.parametrize("name", QUICK)
def test_two_processes_train_as_one(quick: Path, name: str):
    compare(quick / "one", quick / "two", name, 2)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    alone(folder, ALL)
    return folder


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    for name in ("two", "three", "two by two"):
        (folder / name).mkdir()
    together(folder / "two", [name for name in ALL if name not in QUICK], 2)
    together(folder / "three", OF_THREE, 3)
    together(folder / "two by two", OF_FOUR, 2, devices=2)
    return folder


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    alone(folder, ALL, devices=2)
    return folder


@pytest.mark.parametrize("name", [name for name in ALL if name not in QUICK])
def test_two_processes_train_every_model_as_one(one: Path, several: Path, name: str):
    compare(one, several / "two", name, 2)


@pytest.mark.parametrize("name", ALL)
def test_two_devices_train_every_model_as_one(one: Path, two_devices: Path, name: str):
    compare(one, two_devices, name, 1)


@pytest.mark.parametrize("name", OF_THREE)
def test_three_processes_train_as_one(one: Path, several: Path, name: str):
    compare(one, several / "three", name, 3)


@pytest.mark.parametrize("name", OF_FOUR)
def test_two_processes_with_two_devices_each_train_as_one(one: Path, several: Path, name: str):
    compare(one, several / "two by two", name, 2)


def test_each_process_draws_its_own_random_numbers_and_they_agree_on_statistics(tmp_path: Path):
    done = launch(
        tmp_path,
        """
        class Drawing(L.Layer):
            def __init__(self):
                super().__init__()
                self.kept = tf.Variable(tf.zeros(20), trainable=False)
                self.dropout = L.Dropout(0.5)
            def call(self, x, training=False):
                if training:
                    self.kept.assign(self.dropout(tf.ones(20), training=True))
                return x

        class Showing(ke.Hook):
            cadence = ke.Cadence(every_steps=1)
            def after_steps(self, run):
                if run.step == 3:
                    print("drawn", "".join(str(int(value)) for value in drawing.kept.numpy()), flush=True)
                    print("own", float(normalization.moving_mean[0]), flush=True)

        drawing, normalization = Drawing(), L.BatchNormalization()
        ours = estimator(dense(normalization, drawing))
        ours.train(DATA, [Showing()], max_steps=5)
        print("mean", float(normalization.moving_mean[0]), flush=True)
        """,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [said_by(name, done.stdout).split("\n") for name in ("chief", "worker 0")]
    values = [dict(line.split() for line in lines if line.split()[0] in ("drawn", "own", "mean")) for lines in said]
    assert values[0]["drawn"] != values[1]["drawn"]
    assert set("".join(each["drawn"] for each in values)) == {"0", "2"}
    assert values[0]["own"] != values[1]["own"]  # by rows of its own, until they are brought together
    assert values[0]["mean"] == values[1]["mean"]
    assert "normalizes by the rows of each replica" in done.stderr


CASES = """
import traceback

class Assigning(keras.Sequential):
    def train_step(self, batch):
        logs = super().train_step(batch)
        self.layers[0].bias.assign_add(tf.reduce_mean(batch[0], axis=0))
        return logs

class Counting(L.Layer):
    def __init__(self):
        super().__init__()
        self.rows = tf.Variable(0, trainable=False)

    def call(self, x, training=False):
        if training:
            self.rows.assign_add(tf.shape(x)[0])
        return x

def assigning():
    made = Assigning([L.Input((4,)), L.Dense(4), L.Dense(1)])
    made.compile("adam", "mse")
    return made

def shuffled():
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(200).batch(20).repeat()

CASES = {
    "counts": (lambda: dense(Counting()), ke.Arrays(X, Y, batch_size=21, epochs=None)),
    "data": (dense, (X + (not IS_CHIEF), Y)),
    "order": (dense, shuffled()),
    "seed": (dense, shuffled),
    "weights": (assigning, DATA),
    "model": (lambda: dense(units=4 if IS_CHIEF else 5), DATA),
}
for name, (make, data) in CASES.items():
    ours = estimator(make(), model_dir=f"{sys.argv[1]}/{name}", plan="step")  # XLA compiles no sums: it is "graph"
    try:
        ours.train(data, max_steps=5)
        print(name, "trained", flush=True)
    except ke.WorkersDifferError as error:
        print(name, error.rule or "-", "::", error.problem, "::", error.found, "::", error.fix, flush=True)
        if name == "model":
            raise
"""


@pytest.fixture(scope="module")
def differing(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What processes say that differ in one thing after the other; the last one ends them."""
    folder = tmp_path_factory.mktemp("differing")
    done = launch(folder, CASES)
    assert done.returncode == 1, done.stderr[-3000:]
    for case in ("model", "data"):  # they differ before the first step
        assert not list((folder / "run" / case).glob("checkpoints/*"))
    return done


def about(name: str, case: str, done: subprocess.CompletedProcess[str]) -> str:
    (line,) = [line for line in said_by(name, done.stdout).split("\n") if line.startswith(f"{case} ")]
    return line


@pytest.mark.parametrize("name", ["chief", "worker 0"])
def test_what_differs_is_named_before_the_first_step(differing: subprocess.CompletedProcess[str], name: str):
    assert "WorkersDifferError" in said_by(name, differing.stderr)
    assert "other than chief is at worker 0: the variables of the model" in about(name, "model", differing)
    assert about(name, "model", differing).startswith("model KE410 ::")
    assert "other than chief is at worker 0: the data" in about(name, "data", differing)
    assert about(name, "data", differing).startswith("data - ::")


def test_batches_that_are_drawn_in_another_order_are_noticed(differing: subprocess.CompletedProcess[str]):
    said = about("chief", "order", differing)
    assert "the processes read other batches from the same data" in said
    assert "dataset.shuffle(1000, seed=1)" in said
    assert about("chief", "seed", differing) == "seed trained"  # in an input_fn, all processes are given the same one


def test_weights_that_become_different_are_an_error(differing: subprocess.CompletedProcess[str]):
    said = about("chief", "weights", differing)
    assert "the weights of the replicas have become different :: dense" in said
    assert "/bias" in said


def test_counts_that_differ_are_said(differing: subprocess.CompletedProcess[str]):
    assert about("chief", "counts", differing) == "counts trained"
    assert 'the steps run with plan="graph"' in differing.stderr
    assert "counting/rows have other values in other replicas" in differing.stderr.replace("some of ", "")
    assert "(KE403: keras-estimator explain KE403)" in differing.stderr
