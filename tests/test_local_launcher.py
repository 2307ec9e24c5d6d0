"""Real processes on this machine: what each is told, what they print, and what is started anew after a crash."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from launches import ALL_KINDS, PROGRAM, Launch, launches

from keras_estimator.cluster import read_task
from keras_estimator.errors import ConfigError
from keras_estimator.hooks.remote_evaluation import Notes
from keras_estimator.launcher import Cluster
from keras_estimator.local_launcher import LocalLauncher

pytestmark = pytest.mark.slow


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    with launches(tmp_path) as start:
        yield start


def test_each_process_gets_its_part_of_the_cluster_and_a_parameter_server_ends_with_it(launch: Launch):
    ours = launch(
        """
        print(json.dumps(tf_config), os.environ["PYTHONUNBUFFERED"], os.getsid(0) == os.getpid())
        print("input:", repr(sys.stdin.read()))
        if role == "ps":
            signal.signal(signal.SIGTERM, lambda *_: (note("signals", "TERM"), sys.exit(0)))
            note("ready", "yes")
            forever()
        if role == "chief":
            until(lambda: there("ready.ps0") and there("ready.ps1"))
        """,
        num_workers=3,
        num_ps=2,
        has_evaluator=True,
    )
    assert ours.status() == 0, ours.shown()
    clusters = []
    for name in ("chief", "worker 0", "worker 1", "ps 0", "ps 1", "evaluator"):
        line, input_ = ours.lines(name)
        text = line.removesuffix(" 1 True")
        task = read_task({"TF_CONFIG": text})
        assert f"{task.type} {task.index}".removesuffix("" if name[-1].isdigit() else " 0") == name
        assert task.is_chief == (name == "chief")
        assert input_ == "input: ''"
        clusters.append(json.loads(text)["cluster"])
    assert {key: len(addresses) for key, addresses in clusters[0].items()} == {"chief": 1, "worker": 2, "ps": 2}
    assert clusters[:-1] == clusters[:1] * 5
    assert clusters[-1].keys() == clusters[0].keys()
    addresses = [address for each in clusters[0].values() for address in each]
    assert len(set(addresses)) == 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", address) for address in addresses)
    assert ours.noted("signals.ps0") == ours.noted("signals.ps1") == ["TERM"]
    assert ours.lines("launch", "err")[0] == "chief, 2 workers, 2 ps, evaluator; restarts: 3; Ctrl-C stops all"
    assert ours.lines("launch") == []


def test_lines_stay_whole_and_what_is_on_stderr_stays_there(launch: Launch):
    ours = launch(
        """
        for number in range(1500):
            stream = sys.stderr if number % 3 == 0 else sys.stdout
            for piece in (name, " ", str(number), " ", "x" * (number % 97 * 40), "\\n"):
                os.write(stream.fileno(), piece.encode())
        os.write(1, b"10%\\r20%\\r\\n\\xff\\xfe\\n")
        os.write(1, b"not a whole line")
        """,
        num_workers=2,
    )
    assert ours.status() == 0, ours.shown()
    for name, prefix in (("chief0", "chief"), ("worker0", "worker 0")):
        expected = [f"{name} {number} {'x' * (number % 97 * 40)}" for number in range(1500)]
        assert ours.lines(prefix, "err") == expected[::3]
        rest = ["10%", "20%", b"\xff\xfe".decode(errors="surrogateescape"), "not a whole line"]
        assert ours.lines(prefix) == [line for number, line in enumerate(expected) if number % 3] + rest
    assert re.findall(rb"^\[chief\]    chief0 1 x", (ours.folder / "out").read_bytes(), re.M)  # aligned
    assert not re.findall(rb"^(?!\[)", (ours.folder / "out").read_bytes().rstrip(b"\n"), re.M)
    assert not re.search(rb"[\x1b\r]", (ours.folder / "out").read_bytes())


def test_a_crash_starts_the_group_anew_on_other_ports_and_leaves_the_evaluator_alone(launch: Launch):
    ours = launch(
        """
        note("clusters", json.dumps(tf_config["cluster"], separators=(",", ":")))
        if role == "evaluator":
            until(lambda: there("done.chief0"))
            time.sleep(0.3)
            note("done", "after the chief")
        elif start == 1:
            until(lambda: there("starts.chief0") and there("starts.ps0") and there("starts.evaluator0"))
            os._exit(3) if role == "worker" else forever()
        elif role == "ps":
            forever()
        elif role == "chief":
            until(lambda: len(there("starts.ps0")) == len(there("starts.worker0")) == 2)
            print("last words", flush=True)
            note("done", "yes")
        """,
        **ALL_KINDS,
    )
    assert ours.status() == 0, ours.shown()
    starts = {name: len(ours.noted(f"starts.{name}")) for name in ("chief0", "worker0", "ps0", "evaluator0")}
    assert starts == {"chief0": 2, "worker0": 2, "ps0": 2, "evaluator0": 1}
    first, second = (set(re.findall(r"[\d.]+:\d+", text)) for text in ours.noted("clusters.chief0"))
    assert len(first | second) == 6
    assert ours.noted("clusters.worker0") == ours.noted("clusters.chief0")
    assert ours.lines("chief") == ["last words"]
    said = ours.lines("launch", "err")
    assert said[1] == "worker 0 ended with status 3: restart 1 of 3"
    assert said[-1] == "training is over; waiting for the evaluator, which ends when all is evaluated"
    assert ours.noted("done.evaluator0")  # it was waited for


@pytest.mark.parametrize(
    ("end", "restarts", "bounds", "num_starts", "status", "why"),
    [
        ("os._exit(7)", 2, {"soon_secs": 0.0}, 3, 7, "2 of 2 restarts are used"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 1, {}, 2, 137, "1 of 1 restarts are used"),
        ("raise ValueError", 5, {}, 2, 1, "the same came before, both within 30 s of the start"),
        ("os._exit(2)", 5, {}, 1, 2, "the command line is wrong"),
        ("os._exit(9)", 0, {}, 1, 9, "0 of 0 restarts are used"),
    ],
    ids=["used", "signal", "same-error", "misuse", "none"],
)
def test_restarts_have_an_end_and_the_status_is_of_who_died_first(
    end: str, restarts: int, bounds: dict[str, float], num_starts: int, status: int, why: str, launch: Launch
):
    ours = launch(
        f"""
        if role == "worker":
            until(lambda: len(there("starts.chief0")) == start and there("starts.evaluator0"))
            {end}
        forever()
        """,
        restarts,
        num_workers=2,
        has_evaluator=True,
        **bounds,
    )
    assert ours.status() == status, ours.shown()
    assert len(ours.noted("starts.worker0")) == len(ours.noted("starts.chief0")) == num_starts
    assert len(ours.noted("starts.evaluator0")) == 1
    assert ours.lines("launch", "err")[-2].endswith(f"no restart, as {why}")
    assert ours.lines("launch", "err")[-1] == "the others: chief was killed by SIGTERM"
    assert ours.survivors() == []


@pytest.mark.parametrize(("number", "status"), [("SIGKILL", 137), ("SIGSTOP", 75)])
def test_who_ended_only_for_the_loss_of_another_is_not_to_blame_if_there_is_another(
    number: str, status: int, launch: Launch
):
    ours = launch(
        f"""
        if role == "worker":
            os.kill(os.getpid(), signal.{number})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as one that is waiting in TensorFlow
        until(lambda: there("starts.worker0"))
        until(lambda: Path(f"/proc/{{there('starts.worker0')[0]}}/stat").read_text().split()[2] in "ZT")
        time.sleep({0.0 if number == "SIGSTOP" else 0.3})
        sys.exit(75)
        """,
        0,
        num_workers=2,
        save_secs=1.0,
    )
    assert ours.status() == status, ours.shown()
    lost, killed = "chief ended with status 75 (it lost another process)", "worker 0 was killed by SIGKILL"
    first, other = (killed, lost) if number == "SIGKILL" else (lost, killed)
    said = ours.lines("launch", "err")
    assert said[1] == f"{first}: no restart, as 0 of 0 restarts are used"
    assert said[-1] == f"the others: {other}"


def test_a_chief_that_is_done_when_another_crashes_needs_no_restart(launch: Launch):
    ours = launch(
        """
        if role == "chief":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            note("ready", "yes")
            forever()
        until(lambda: there("ready.chief0"))
        sys.exit(1)
        """,
        num_workers=2,
    )
    assert ours.status() == 0, ours.shown()
    assert len(ours.noted("starts.chief0")) == 1
    assert ours.lines("launch", "err")[-1] == "the chief is done meanwhile"


def test_an_evaluator_that_crashes_is_started_anew_alone(launch: Launch):
    ours = launch(
        """
        if role == "evaluator":
            if start == 1:
                sys.exit(4)
            note("ready", "yes")
            until(lambda: there("done.chief0"))
        else:
            until(lambda: there("ready.evaluator0"))
            note("done", "yes")
        """,
        has_evaluator=True,
    )
    assert ours.status() == 0, ours.shown()
    assert (len(ours.noted("starts.evaluator0")), len(ours.noted("starts.chief0"))) == (2, 1)
    assert ours.lines("launch", "err")[1] == "evaluator ended with status 4: restart 1 of 3"


@pytest.mark.parametrize("first", ["evaluator", "chief"])
def test_an_evaluator_that_crashes_for_good_costs_the_status_and_not_the_training(first: str, launch: Launch):
    ours = launch(
        f"""
        if role == "evaluator":
            if {first!r} == "chief":
                until(lambda: there("done.chief0"))
                time.sleep(0.3)
            sys.exit(4)
        if {first!r} == "evaluator":
            until(lambda: len(there("starts.evaluator0")) == 2)
            time.sleep(0.5)
        note("done", "yes")
        """,
        1,
        has_evaluator=True,
        soon_secs=0.0,
    )
    assert ours.status() == 4, ours.shown()
    assert ours.noted("done.chief0")
    assert (len(ours.noted("starts.evaluator0")), len(ours.noted("starts.chief0"))) == (2, 1)


def test_what_was_printed_before_the_end_is_not_lost_on_a_slow_reader(tmp_path: Path):
    (tmp_path / "script.py").write_text("for n in range(1000): print(f'{n:100}')")  # more than one pipe takes
    command = [sys.executable, "-c", PROGRAM, '{"num_workers": 1}', "0", "{}"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        time.sleep(1)
        assert process.communicate(timeout=30)[0].split()[1::2] == [b"%d" % n for n in range(1000)]
        assert process.wait(30) == 0


def test_a_reader_that_goes_away_does_not_stop_the_training(tmp_path: Path):
    (tmp_path / "script.py").write_text("for n in range(20_000): print(n)\nopen('done', 'w').close()")
    command = [sys.executable, "-c", PROGRAM, '{"num_workers": 1}', "0", "{}"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_names_are_coloured_on_a_terminal_unless_that_is_not_wanted(no_color: str, is_coloured: bool, tmp_path: Path):
    (tmp_path / "script.py").write_text("print('hello')")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, '{"num_workers": 1}', "0", "{}"]
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": no_color}
    subprocess.run(command, cwd=tmp_path, stdout=theirs, env=environment, timeout=30, check=True)
    os.close(theirs)
    shown = os.read(ours, 1000)
    os.close(ours)
    assert b"hello" in shown
    assert (b"\x1b[32m[chief]" in shown) == is_coloured


def test_windows_is_refused_in_a_message(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigError, match="Linux and macOS only"):
        LocalLauncher().run(Cluster(1), ["never"])


TRAINING = """
import os, signal, sys
from pathlib import Path
import keras, numpy as np
from tensorflow import estimator as old
import keras_estimator as ke

class DiesOnce(ke.Hook):
    cadence = ke.Cadence(every_steps=10)

    def after_steps(self, run):
        if run.step == 30 and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

keras.utils.set_random_seed(3)
x = np.random.RandomState(0).normal(size=(40, 4)).astype("float32")
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
config = ke.RunConfig(sys.argv[1], progress="off", save_checkpoints_steps=20, keep_checkpoint_max=0)
train = old.TrainSpec(ke.Arrays(x, x[:, :1], batch_size=10, epochs=None), max_steps=60, hooks=[DiesOnce()])
spec = old.EvalSpec((x, x[:, :1]), None, throttle_secs=0, start_delay_secs=0)
ke.train_and_evaluate(ke.Estimator(model, config=config), train, spec)
print("done with", sys.argv[2:])
"""


def test_the_command_trains_goes_on_after_a_kill_evaluates_elsewhere_and_ends_by_itself(tmp_path: Path):
    (tmp_path / "old.py").write_text(TRAINING)
    options = ["--workers", "1", "--evaluator"]
    command = [sys.executable, "-m", "keras_estimator.cli", "launch", *options, "old.py", "run", "--workers", "9"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"{name} done with ['--workers', '9']" for name in ("[chief]    ", "[evaluator]")
    ]
    assert list(Notes.read(tmp_path / "run" / "eval").metrics) == [0, 20, 40, 60]
    said = [line.removeprefix("[launch]    ") for line in done.stderr.splitlines() if line.startswith("[launch]")]
    assert said[:2] == [
        "chief, evaluator; restarts: 3; Ctrl-C stops all",
        "chief was killed by SIGKILL: restart 1 of 3",
    ]
    assert re.search(r"^\[chief\] +going on from step 20", done.stderr, re.M), done.stderr
    assert re.search(r"^\[evaluator\] the training is over", done.stderr, re.M), done.stderr
