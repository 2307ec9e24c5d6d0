"""One process trains in a model_dir; a second one is told who the first is; a killed one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.errors import CheckpointError, ModelDirInUseError
from keras_estimator.training_lock import FILE, training_in

HOLDS = """
import os, sys, time
from pathlib import Path
from keras_estimator.training_lock import training_in

with training_in(Path(sys.argv[1])):
    if len(sys.argv) > 2 and os.fork() == 0:  # as a process that reads data
        time.sleep(60)
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_who_the_first_is(tmp_path: Path, holder: subprocess.Popen[str]):
    with pytest.raises(ModelDirInUseError) as caught, training_in(tmp_path):
        pass
    assert f"process {holder.pid} on {socket.gethostname()} since 20" in caught.value.found
    assert str(tmp_path) in caught.value.problem
    holder.communicate("")
    assert (tmp_path / FILE).read_bytes() == b""
    with training_in(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()


def test_one_that_was_killed_is_in_nobodys_way(
    tmp_path: Path, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with training_in(tmp_path):
        pass
    assert f"the run of process {holder.pid} on {socket.gethostname()} was killed; going on" in caplog.text


def test_a_process_that_it_has_forked_does_not_keep_it(tmp_path: Path):
    command = [sys.executable, "-c", HOLDS, str(tmp_path), "forks"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "holds\n"
            process.kill()
            process.wait()
            with training_in(tmp_path):
                pass
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the one that was forked


def test_another_thread_of_this_process_is_refused_too(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    raised: list[str] = []

    def train() -> None:
        try:
            with training_in(tmp_path / "link"):
                pass
        except ModelDirInUseError as error:
            raised.append(error.found)

    with training_in(tmp_path / "run"), training_in(tmp_path / "other"):
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert raised == [f"process {os.getpid()} on {socket.gethostname()}"]
    train()
    assert len(raised) == 1


LEFT = ["", "{", "[1]", '{"host": 1}', '{"host": "a", "pid": 1e999, "since": 0}', "\0" * 9999]


@pytest.mark.parametrize("left", LEFT)
def test_whatever_the_file_says_a_free_folder_can_be_trained_in(tmp_path: Path, left: str):
    (tmp_path / FILE).write_text(left)
    with training_in(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="nothing can be written in"), training_in(tmp_path / "file" / "run"):
        pass


def test_train_is_refused_before_anything_is_read_or_written(tmp_path: Path, holder: subprocess.Popen[str]):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    made = ke.model_to_estimator(model, model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    before = model.get_weights()
    x = np.ones((8, 3), "float32")
    with pytest.raises(ModelDirInUseError, match="somebody else trains"):
        made.train((x, x[:, :1]), steps=3)
    assert os.listdir(tmp_path) == [FILE]
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    assert made.evaluate((x, x[:, :1]))["global_step"] == 0  # who only reads is let in
    holder.communicate("")
    made.train((x, x[:, :1]), steps=3)
    assert made.latest_checkpoint() is not None
