"""Workers train on parameter servers: exact steps and metrics, and what comes of a process that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from clusters import START, command, said_by
from trained_on_servers import CASES, MODEL, TELLING

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.engines.tensorflow import parameter_servers
from keras_estimator.engines.tensorflow.parameter_servers import ParameterServerEngine
from keras_estimator.local_launcher import free_addresses


def write(folder: Path, body: str) -> Path:
    script = folder / "script.py"
    script.write_text(MODEL + textwrap.dedent(body))
    return script


class Cases:
    """What one launch with two workers and two parameter servers said."""

    def __init__(self, folder: Path) -> None:
        given = command(write(folder, CASES), folder / "run", workers=3, ps=2)
        began = time.monotonic()
        done = subprocess.run(given, capture_output=True, text=True, timeout=280, check=False)
        self.secs, self.folder, self.status = time.monotonic() - began, folder, done.returncode
        self.output, self.errors = done.stdout, done.stderr
        found = re.findall(r"CASE (.*)$", said_by("chief", done.stdout), re.MULTILINE)
        self.results: dict[str, Any] = dict(map(json.loads, found))

    def __getitem__(self, name: str) -> Any:
        assert name in self.results, self.errors[-3000:]
        return self.results[name]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    return Cases(tmp_path_factory.mktemp("cases"))


@pytest.mark.slow
def test_all_end_with_the_chief(cases: Cases):
    assert cases.status == 0, cases.errors[-3000:]
    for name in ("worker 0", "worker 1"):
        assert "served" in said_by(name, cases.output)
    for name in ("worker 0", "worker 1", "ps 0", "ps 1"):
        assert f"the chief has ended, and so does {name}" in said_by(name, cases.errors)
    assert "2 workers update the weights on 2 parameter servers" in said_by("chief", cases.errors)
    assert "results differ from run to run" in said_by("chief", cases.errors).lower()


@pytest.mark.slow
def test_steps_are_exact_and_the_loss_goes_down(cases: Cases):
    before, after = cases["rich"]["losses"]
    assert after < 0.9 * before
    # six passes of 205 rows in 11 batches, and four batches of 20
    assert cases["rich"]["counts"] == [70, 70, 6 * 205 + 4 * 20]


@pytest.mark.slow
def test_the_last_checkpoint_is_what_the_model_of_the_user_holds(cases: Cases):
    restored = Checkpoints(cases.folder / "run").newest_readable()
    assert restored is not None
    assert restored.step == 70
    assert restored.state["dense/kernel"].tolist() == cases["rich"]["kernel"]
    assert float(restored.state["counting/scale"]) == cases["rich"]["scale"] != 1.0
    assert restored.state["optimizer/iterations"] == restored.state["counting/calls"] == 70
    assert restored.state["dropout/seed_generator/state"][1] == 70  # so many masks were drawn
    body = "print('AT', estimator(rich).evaluate(ROWS, steps=11))"
    plain = subprocess.run(
        [sys.executable, str(write(cases.folder, body)), str(cases.folder / "run")],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert "'global_step': 70" in plain.stdout
    found = re.search(r"'loss': ([\d.]+)", plain.stdout)
    assert found is not None
    assert float(found[1]) == pytest.approx(cases["rich"]["losses"][1], rel=1e-6)


@pytest.mark.slow
def test_metrics_of_weights_that_stand_still_are_those_of_one_process(cases: Cases):
    ours, alone = cases["still"]
    assert [int(step) for step in ours] == [5, 10, 15, 20, 25]
    for step, metrics in alone.items():
        assert ours[step] == pytest.approx(metrics, rel=1e-6, abs=1e-6)


@pytest.mark.slow
def test_what_a_hook_sets_reaches_the_servers(cases: Cases):
    assert cases["a hook sets the learning rate, and weights"] == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("a step and optimizers of one's own", [15, 30, ["last", "mean"]]),
        ("a table of words", 15),
        ("a ragged dataset, to its end", 19),
        ("averages", 15),
    ],
)
def test_any_model_is_trained(cases: Cases, name: str, result: Any):
    assert cases[name] == result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("accumulation", "ModelError: gradients cannot be accumulated on parameter servers"),
        ("eager", "ConfigError: workers of a cluster with parameter servers run graphs only"),
        ("step", "ConfigError: workers of a cluster with parameter servers run graphs only"),
        ("Python", "ModelError: the model calls Python in each step, which a worker cannot do"),
        ("NaN", "NonFiniteLossError"),
        ("mirrored", "ConfigError: the strategy is not one for this cluster"),
    ],
)
def test_what_cannot_be_is_refused(cases: Cases, name: str, said: str):
    assert cases[name].startswith(said)
    assert "fix:" in cases[name]


def wait_for(path: Path, text: str, secs: float = 120) -> str:
    until = time.monotonic() + secs
    while time.monotonic() < until:
        if text in (found := path.read_text()):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{text!r} is not in {path.read_text()[-2000:]}")


@contextlib.contextmanager
def started(folder: Path, cluster: dict[str, list[str]], script: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start all processes of a cluster without a launcher."""
    processes = {}
    try:
        for kind, addresses in cluster.items():
            for index in range(len(addresses)):
                environment = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}
                with (folder / f"{kind}-{index}").open("w") as output:
                    processes[f"{kind} {index}"] = subprocess.Popen(
                        [sys.executable, str(script), str(folder / "run")],
                        env={**os.environ, **environment},
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_survived(tmp_path: Path):
    chief, *others = free_addresses(4)
    cluster = {"chief": [chief], "worker": others[:2], "ps": others[2:]}
    with started(tmp_path, cluster, write(tmp_path, TELLING)) as processes:
        wait_for(tmp_path / "chief-0", "training")
        processes["worker 0"].send_signal(signal.SIGKILL)
        assert processes["chief 0"].wait(150) == 0, (tmp_path / "chief-0").read_text()[-3000:]
        began = time.monotonic()
        assert processes["worker 1"].wait(30) == processes["ps 0"].wait(30) == 0
        assert time.monotonic() - began < 15
    assert "ended 60 60" in (tmp_path / "chief-0").read_text()
    assert Checkpoints(tmp_path / "run").read(60).state["optimizer/iterations"] == 60


@pytest.mark.slow
def test_a_parameter_server_that_is_killed_is_named(tmp_path: Path):
    chief, worker, server = free_addresses(3)
    cluster = {"chief": [chief], "worker": [worker], "ps": [server]}
    with started(tmp_path, cluster, write(tmp_path, TELLING)) as processes:
        wait_for(tmp_path / "chief-0", "training")
        processes["ps 0"].send_signal(signal.SIGKILL)
        assert processes["chief 0"].wait(60) == ke.WorkerLostError.exit_status
    said = (tmp_path / "chief-0").read_text()
    assert "WorkerLostError" in said
    assert "found:    ps 0" in said
    assert Checkpoints(tmp_path / "run").newest_readable() is not None


@pytest.mark.slow
def test_after_a_parameter_server_is_killed_all_go_on_from_the_newest_checkpoint(tmp_path: Path):
    given = command(write(tmp_path, TELLING), tmp_path / "run", workers=2, ps=1, restarts=2)
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as errors:
        process = subprocess.Popen(given, stdout=out, stderr=errors)
    try:
        said = wait_for(tmp_path / "out", "training")
        found = re.search(r"pid ps 0 (\d+)", said)
        assert found is not None
        os.kill(int(found[1]), signal.SIGKILL)
        assert process.wait(200) == 0, (tmp_path / "err").read_text()[-3000:]
    finally:
        process.kill()
    said = (tmp_path / "err").read_text()
    assert "ps 0 was killed by SIGKILL: restart 1 of 2" in said
    # The chief notices by itself, or is told to end by the launcher first: then it saves the step that it has.
    assert re.search(r"WorkerLostError|SIGTERM was received", said_by("chief", said))
    assert re.search(r"going on from step [1-9]\d ", said_by("chief", said))
    assert "ended 60 60" in (tmp_path / "out").read_text()


def alone(folder: Path, kind: str, script: str) -> subprocess.CompletedProcess[str]:
    chief, worker, ps = free_addresses(3)
    cluster = {"chief": [chief], "worker": [worker], "ps": [ps]}
    given = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": 0}})}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder / "run")],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_who_never_came_is_named(tmp_path: Path):
    script = START + "estimator(dense(), session_creation_timeout_secs=2).train(DATA, max_steps=5)"
    done = alone(tmp_path, "chief", script)
    assert done.returncode == ke.WorkerLostError.exit_status
    assert "WorkerLostError: the cluster is not whole" in done.stderr
    assert "no answer from worker 0, ps 0" in done.stderr


def test_a_chief_that_never_came_is_named(tmp_path: Path):
    script = START + "estimator(dense(), session_creation_timeout_secs=2).train(DATA, max_steps=5)"
    done = alone(tmp_path, "ps", script)
    assert done.returncode == ke.WorkerLostError.exit_status
    assert "WorkerLostError: the chief of the cluster did not start" in done.stderr
    assert not (tmp_path / "run").exists()


def test_tensorflow_that_had_started_before_is_an_error_that_says_so(tmp_path: Path):
    done = alone(tmp_path, "chief", "import tensorflow as tf; tf.constant(1)" + START + "estimator(dense())")
    assert done.returncode == 1
    assert "TensorFlow had started before it could join the cluster" in done.stderr


class OneWorker:
    """What makes the steps where there are no servers: this process, one call after the other."""

    devices = ("/device:CPU:0",)
    num_workers = 1

    def run(self, function: Any, calls: Any) -> Iterator[Any]:
        return (function(*arguments) for arguments in calls)

    @contextlib.contextmanager
    def losses_explained(self) -> Iterator[None]:
        yield


@pytest.fixture
def _without_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"chief": ["a:1"], "worker": ["c:1"], "ps": ["b:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}))
    monkeypatch.setattr(parameter_servers, "check_joined", lambda: None)
    monkeypatch.setattr(parameter_servers, "connect", lambda *_: OneWorker())


ROWS = np.random.RandomState(0).normal(size=(205, 4)).astype("float32")
DATA = ke.Arrays(ROWS, ROWS[:, :1], batch_size=20, seed=2, epochs=None)


def a_model(**options: Any) -> Any:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Input((4,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01, **options), "mse", metrics=["mae"])
    return model


class Noting(ke.Hook):
    cadence = ke.Cadence(every_steps=7)

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def after_steps(self, run: ke.Run) -> None:
        self.seen.append({**run.metrics, "kernel": float(run.model.layers[0].kernel[0, 0])})


def trained(folder: Path, *steps: int, **options: Any) -> tuple[Any, list[Any]]:
    noting, model = Noting(), a_model(**options)
    config = ke.RunConfig(folder, progress="off", save_checkpoints_steps=10, log_step_count_steps=21)
    estimator = ke.model_to_estimator(model, config=config)
    for step in steps:
        train_spec = ke.TrainSpec(DATA, max_steps=step, hooks=[noting])
        ke.train_and_evaluate(estimator, train_spec, ke.EvalSpec(ke.Arrays(ROWS, ROWS[:, :1]), every_steps=14))
    return model, noting.seen


@pytest.mark.usefixtures("_without_servers")
@pytest.mark.parametrize("options", [{}, {"use_ema": True}])
def test_one_worker_makes_what_one_process_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
):
    ours = trained(tmp_path / "ours", 25, 60, **options)
    monkeypatch.delenv("TF_CONFIG")
    alone = trained(tmp_path / "alone", 25, 60, **options)
    for found, expected in zip(ours[1], alone[1], strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    states = [Checkpoints(tmp_path / name).read(60).state for name in ("ours", "alone")]
    assert states[0].keys() == states[1].keys()
    for path, value in states[1].items():
        np.testing.assert_allclose(states[0][path], value, rtol=1e-3, atol=1e-5, err_msg=path)
    for found, expected in zip(ours[0].get_weights(), alone[0].get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("_without_servers")
def test_after_an_error_a_new_copy_begins_at_the_newest_checkpoint(tmp_path: Path):
    class Failing(ke.Hook):
        cadence = ke.Cadence(every_steps=25)

        def after_steps(self, run: ke.Run) -> None:
            raise ZeroDivisionError

    model = a_model()
    estimator = ke.model_to_estimator(model, config=ke.RunConfig(tmp_path, progress="off", save_checkpoints_steps=10))
    with pytest.raises(ZeroDivisionError):
        estimator.train(DATA, [Failing()], max_steps=60)
    estimator.train(DATA, max_steps=22)
    assert int(model.optimizer.iterations) == 22


def test_a_cluster_without_workers_is_refused(monkeypatch: pytest.MonkeyPatch):
    cluster = {"chief": ["a:1"], "ps": ["b:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}))
    with pytest.raises(ke.ConfigError, match="needs a worker") as caught:
        ParameterServerEngine(None, ke.RunConfig())
    assert "--ps 1" in caught.value.fix
