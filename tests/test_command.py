"""The command `keras-estimator doctor` as a person runs it: what it prints, what it changes, how it ends."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ARTICLE = Path(__file__).with_name("data") / "article"
COUNTS = """import tensorflow as tf


class Counts(tf.keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.counter = tf.Variable(0, trainable=False)

    def call(self, x):
        self.counter.assign_add(1)
        return x
"""
SOUND = "import keras\nmodel = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\n"


def doctor(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keras_estimator.cli", "doctor", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(COUNTS, encoding="utf-8")
    (tmp_path / "sound.py").write_text(SOUND, encoding="utf-8")
    return tmp_path


def test_it_ends_with_1_if_something_was_found_and_with_0_if_not(folder: Path):
    done = doctor(folder, "net.py")
    assert done.returncode == 1
    assert "net.py:7:9 KE301 [*] self.counter is a raw tf.Variable" in done.stdout
    assert doctor(folder, "sound.py").returncode == 0
    assert doctor(folder, "net.py", "--exit-zero").returncode == 0
    assert doctor(folder, "net.py", "--select", "KE6").returncode == 0
    assert doctor(folder, "net.py", "--ignore", "KE1,KE3", "--ignore", "KE5").returncode == 0


def test_it_ends_with_2_if_it_cannot_look(folder: Path):
    for args in (("missing.py",), ("net.py", "--select", "KE9"), ("net.py", "--format", "xml")):
        done = doctor(folder, *args)
        assert (done.returncode, done.stdout) == (2, ""), args
        assert "  fix:" in done.stderr


def test_settings_of_the_project_count(folder: Path):
    (folder / "pyproject.toml").write_text('[tool.keras-estimator.doctor]\nselect = ["KE305"]\n', encoding="utf-8")
    assert doctor(folder, ".").returncode == 0


def test_a_diff_changes_nothing_and_a_fix_does(folder: Path):
    only = ("--ignore", "KE306")  # which only an unsafe fix mends
    shown = doctor(folder, ".", "--diff")
    assert shown.returncode == 1
    assert "+++ b/net.py" in shown.stdout
    assert (folder / "net.py").read_text(encoding="utf-8") == COUNTS
    mended = doctor(folder, ".", "--fix", *only)
    assert mended.returncode == 0, mended.stdout
    assert "mended net.py" in mended.stderr
    assert "self.add_weight(" in (folder / "net.py").read_text(encoding="utf-8")
    again = doctor(folder, ".", "--diff")
    assert (again.returncode, again.stdout.strip()) == (0, "")


def test_every_format_is_written_and_can_go_into_a_file(folder: Path):
    for name in ("text", "short", "json", "sarif", "github", "html"):
        done = doctor(folder, "net.py", "--format", name, "--out", f"report.{name}")
        assert (done.returncode, done.stdout.strip()) == (1, f"report.{name}"), done.stderr
        text = (folder / f"report.{name}").read_text(encoding="utf-8")
        assert "KE301" in text
        if name in ("json", "sarif"):
            json.loads(text)


@pytest.mark.slow
def test_a_model_is_made_and_tried_out(folder: Path):
    (folder / "data.py").write_text(
        "import numpy as np\ndef rows():\n    return np.ones((20, 3), 'float32'), np.ones((20, 1), 'float32')\n",
        encoding="utf-8",
    )
    done = doctor(folder, "sound.py:model", "--data", "data.py:rows")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was found" in done.stdout


@pytest.mark.slow
def test_what_cannot_be_made_is_a_finding(folder: Path):
    (folder / "broken.py").write_text("import keras\nmodel = keras.layers.Dense('ten')\n", encoding="utf-8")
    done = doctor(folder, "broken.py:model")
    assert done.returncode == 1
    assert "broken.py:2:9 KE002" in done.stdout
    assert "not looked at: the model" in done.stdout


@pytest.mark.slow
def test_a_fix_of_a_model_is_proved_first(folder: Path):
    text = COUNTS + "\n\ndef build():\n    return tf.keras.Sequential([tf.keras.Input((3,)), Counts()])\n"
    (folder / "net.py").write_text(text, encoding="utf-8")
    done = doctor(folder, "net.py:build", "--fix", "--ignore", "KE003")
    assert "the same before and after: its answers" in done.stderr
    assert "saved and loaded by Keras: now nothing is lost" in done.stderr
    assert "self.add_weight(" in (folder / "net.py").read_text(encoding="utf-8")


def test_watching_ends_with_ctrl_c(folder: Path):
    command = [sys.executable, "-m", "keras_estimator.cli", "doctor", "--watch", "."]
    # Whoever runs the tests in the background has them started with SIGINT ignored.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, preexec_fn=listening) as watching:
        try:
            assert watching.stdout is not None
            assert "net.py" in watching.stdout.readline()
            while "explain" not in watching.stdout.readline():
                pass
            (folder / "net.py").write_text(SOUND, encoding="utf-8")
            assert "nothing was found" in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            assert watching.wait(timeout=30) in (130, 1, -signal.SIGINT)
        finally:
            watching.kill()
