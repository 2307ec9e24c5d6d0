"""Exports are tried out in a process that stays, is alone with TensorFlow, and ends when nobody needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import serve_check, serving_process
from keras_estimator.errors import ExportError


def scaling(folder: Path, factor: float) -> Path:
    """Save a model whose table of words is called the same whatever it holds."""
    root = tf.Module()
    initializer = tf.lookup.KeyValueTensorInitializer(["a"], [factor])
    root.table = tf.lookup.StaticHashTable(initializer, 0.0, name="the_same")
    scale = tf.function(
        lambda x: {"y": x * root.table.lookup(tf.constant("a"))}, input_signature=[tf.TensorSpec([None], name="x")]
    )
    tf.saved_model.save(root, str(folder), signatures={"scale": scale})
    return folder


def served(folder: Path) -> list[float]:
    [outputs] = serving_process.serve(folder, [("scale", {"x": tf.constant([1.0, 2.0])})])
    found: list[float] = outputs["y"].numpy().tolist()
    return found


def test_one_process_serves_export_after_export_and_mixes_nothing_up(tmp_path: Path):
    assert served(scaling(tmp_path / "two", 2.0)) == [2.0, 4.0]
    first = serving_process.server()
    assert served(scaling(tmp_path / "three", 3.0)) == [3.0, 6.0]
    with pytest.raises(ExportError, match="cannot be served") as caught:
        serving_process.serve(tmp_path, [])
    assert "SavedModel file does not exist" in caught.value.found
    assert served(tmp_path / "two") == [2.0, 4.0]
    assert (serving_process.server() is first) == serve_check.FORKS


def test_a_process_that_was_ended_is_followed_by_another(tmp_path: Path):
    folder = scaling(tmp_path / "two", 2.0)
    assert served(folder) == [2.0, 4.0]
    first = serving_process.server()
    os.kill(first.process.pid, signal.SIGKILL)  # and it is asked before anybody has noticed
    assert served(folder) == [2.0, 4.0]
    assert serving_process.server() is not first


def test_no_answer_in_time_is_said_and_nothing_is_left_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = scaling(tmp_path / "two", 2.0)
    served(folder)
    first = serving_process.server()
    monkeypatch.setattr(serving_process, "_TIMEOUT_SECS", 0.5)
    os.kill(first.process.pid, signal.SIGSTOP)
    first.has_answered = False  # the next one would be asked, too, and in time
    with pytest.raises(ExportError, match="ended without a word"):
        served(folder)
    assert not first.is_alive


def test_it_ends_with_the_process_that_started_it_even_if_that_is_killed():
    program = textwrap.dedent(
        """
        import time
        from keras_estimator.engines.tensorflow import serving_process
        serving_process.start()
        print(serving_process.server().process.pid, flush=True)
        time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = int(owner.stdout.readline())
        owner.kill()
    until = time.monotonic() + 120
    while is_running(server):
        assert time.monotonic() < until, "it goes on although nobody can ask it any more"
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # the parent is gone: nobody may reap it
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
