"""A process of the cluster that is gone, hangs, or never came is named in bounded time; a signal to one ends all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import START, command, launch, said_by
from tensorflow.python.eager import context as eager_context

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints

pytestmark = pytest.mark.usefixtures("lean_imports")
# Trains for as long as it is left alone, and says who it is as soon as it trains.
ENDLESS = (
    START
    + """
class Telling(ke.Hook):
    cadence = ke.Cadence(every_steps=1)
    def after_steps(self, run):
        if run.step == 12:
            print("training", os.getpid(), config.task_type, flush=True)
        time.sleep(0.02)

keras.utils.set_random_seed(1)
estimator(dense(L.Dropout(0.2))).train(DATA, [Telling()], max_steps=int(sys.argv[2]))
"""
)


@contextlib.contextmanager
def start(tmp_path: Path, steps: int = 100_000, *, restarts: int = 0) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / "script.py"
    script.write_text(ENDLESS)
    given = command(script, tmp_path / "run", steps, restarts=restarts)
    with (
        (tmp_path / "err").open("w") as errors,
        subprocess.Popen(given, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def training(process: subprocess.Popen[str]) -> dict[str, int]:
    """Wait until both processes train; return their numbers by type."""
    found: dict[str, int] = {}
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(r"training (\d+) (\w+)", line):
            found[match[2]] = int(match[1])
        if len(found) == 2:
            return found
    raise AssertionError(f"only {found} trained")


@pytest.mark.slow
def test_a_worker_that_hangs_is_named_and_all_end(tmp_path: Path):
    with start(tmp_path) as process:
        pids = training(process)
        began = time.monotonic()
        os.kill(pids["worker"], signal.SIGSTOP)
        rest = process.communicate(timeout=120)[0]
    assert process.returncode == ke.WorkerLostError.exit_status
    assert time.monotonic() - began < 90
    said = (tmp_path / "err").read_text()
    assert "WorkerLostError" in said_by("chief", said), rest
    assert "found:    worker 0" in said_by("chief", said)
    assert not Path(f"/proc/{pids['worker']}").exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    with start(folder, 60) as process:
        process.communicate(timeout=120)
    assert process.returncode == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["chief", "worker"])
def test_after_a_kill_the_run_ends_with_the_bits_of_one_that_was_not_killed(
    tmp_path: Path, undisturbed: Path, killed: str
):
    with start(tmp_path, 60, restarts=2) as process:
        os.kill(training(process)[killed], signal.SIGKILL)
        process.communicate(timeout=180)
    assert process.returncode == 0, (tmp_path / "err").read_text()[-3000:]
    said = (tmp_path / "err").read_text()
    assert "was killed by SIGKILL: restart 1 of 2" in said
    other = "chief" if killed == "worker" else "worker 0"
    others = re.search(f"^the others: {other} (.*)$", said_by("launch", said), re.MULTILINE)
    assert others is not None
    if others[1] != "was killed by SIGTERM":  # the launcher's may reach it while it shows the error
        assert others[1] == "ended with status 75 (it lost another process)"
        assert "WorkerLostError" in said_by(other, said)
        assert f"found:    {'chief' if killed == 'chief' else 'worker 0'}" in said_by(other, said)
    found = [Checkpoints(folder / "run").read(60).state for folder in (tmp_path, undisturbed)]
    assert found[0].keys() == found[1].keys()
    assert all(found[0][path].tobytes() == value.tobytes() for path, value in found[1].items())


@pytest.mark.slow
def test_a_signal_to_one_process_lets_all_save_and_end(tmp_path: Path):
    with start(tmp_path) as process:
        os.kill(training(process)["worker"], signal.SIGTERM)
        process.communicate(timeout=90)
    assert process.returncode == 128 + signal.SIGTERM
    said = (tmp_path / "err").read_text()
    assert "SIGTERM was received" in said_by("worker 0", said)
    assert "another process of the cluster has stopped" in said_by("chief", said)
    newest = Checkpoints(tmp_path / "run").latest()
    assert newest is not None
    assert f"trained to step {newest.step}:" in said_by("chief", said)  # nothing was lost
    assert newest.step % 10 or newest.step > 10


@pytest.mark.slow
def test_a_hook_of_one_process_stops_all_at_one_step_and_no_step_leaves_a_thread_behind(tmp_path: Path):
    done = launch(
        tmp_path,
        """
        class Stopping(ke.Hook):
            cadence = ke.Cadence(every_steps=7)
            threads = []
            def after_steps(self, run):
                if run.step in (14, 70):
                    self.threads.append(len(os.listdir("/proc/self/task")))
                if not IS_CHIEF and run.step == 70:
                    run.stop("the worker has had enough")

        ours = estimator(dense())
        ours.train(DATA, [Stopping()], max_steps=1000)
        print("at", ours._resident.step, ours.latest_checkpoint(), flush=True)
        print("new threads:", Stopping.threads[1] - Stopping.threads[0], flush=True)
        """,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [said_by(name, done.stdout).splitlines() for name in ("chief", "worker 0")]
    assert {each[0] for each in lines} == {f"at 70 {tmp_path / 'run'}/checkpoints/step-70"}
    # TensorFlow would keep two threads for each sum until its timeout, if it had one.
    assert max(int(each[1].removeprefix("new threads: ")) for each in lines) < 20


def test_one_that_never_came_is_named(tmp_path: Path):
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two)]
    jobs = {"chief": addresses[:1], "worker": addresses[1:]}
    given = {"cluster": jobs, "task": {"type": "chief", "index": 0}}
    script = START + "estimator(dense(), session_creation_timeout_secs=3).train(DATA, max_steps=5)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "TF_CONFIG": json.dumps(given)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 75  # a plain `python script.py`
    assert "WorkerLostError: the cluster is not whole" in done.stderr
    assert "no answer from worker 0" in done.stderr
    assert not list(tmp_path.glob("checkpoints/*"))


def test_tensorflow_that_had_started_before_is_an_error_that_says_so(tmp_path: Path):
    body = """
    import tensorflow as tf
    tf.constant(1)
    import keras_estimator as ke, keras
    made = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    ke.model_to_estimator(made, model_dir="x")
    """
    jobs = {"chief": ["127.0.0.1:1"], "worker": ["127.0.0.1:2"]}
    given = {"cluster": jobs, "task": {"type": "chief", "index": 0}}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in body.splitlines())],
        env={**os.environ, "TF_CONFIG": json.dumps(given)},
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert "TensorFlow had started before it could join the cluster" in done.stderr
    assert "move `import keras_estimator` to the top of the script" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "configure_collective_ops",
        "enable_collective_ops",
        "check_collective_ops_peer_health",
        "abort_collective_ops",
        "_context_handle",
        "_collective_ops_server_def",
    ],
)
def test_tensorflow_has_what_a_cluster_is_joined_by(name: str):
    assert hasattr(eager_context.context(), name)


def test_the_errors_are_public():
    assert issubclass(ke.WorkerLostError, ke.EstimatorError)
    assert issubclass(ke.WorkersDifferError, ke.EstimatorError)
