"""Checkpoints are written while the training goes on; what goes wrong there is raised, once and soon."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.checkpoint_writer import CheckpointWriter
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CheckpointError, EstimatorWarning
from keras_estimator.hooks.reporting import read_scalars

L = keras.layers
X = np.random.RandomState(0).normal(size=(40, 3)).astype("float32")
DATA = ke.Arrays(X, X[:, :1], batch_size=10, seed=2, epochs=None)


def begin(writer: CheckpointWriter, step: int, value: Any = 1.0, **more: Any) -> None:
    state = {"kernel": np.full(3, value)}
    writer.begin(step, state, {}, **{"protected": (), "if_it_fails": lambda: None, **more})


class Gate:
    """A state that is not there until it is let through: what is written meanwhile waits."""

    def __init__(self) -> None:
        self.is_open = threading.Event()

    def items(self) -> Any:
        self.is_open.wait(60)
        return {"kernel": np.zeros(3)}.items()


def test_it_writes_beside_whoever_asked_for_it_and_whoever_looks_waits(tmp_path: Path):
    writer, gate = CheckpointWriter(Checkpoints(tmp_path)), Gate()
    writer.begin(5, gate, {}, protected=(), if_it_fails=lambda: None)  # type: ignore[arg-type]  # what is asked of a mapping
    assert not Checkpoints(tmp_path).list()  # and this line is reached
    gate.is_open.set()
    assert [each.step for each in writer.checkpoints.list()] == [5]


def test_one_comes_after_the_other(tmp_path: Path):
    writer = CheckpointWriter(Checkpoints(tmp_path, keep_max=2))
    for step in range(20):
        begin(writer, step, step)
    restored = writer.checkpoints.newest_readable()
    assert restored is not None
    assert (restored.step, restored.state["kernel"][0]) == (19, 19)
    assert [each.step for each in writer.checkpoints.list()] == [18, 19]


def test_what_goes_wrong_is_raised_once_by_whoever_waits(tmp_path: Path):
    (tmp_path / "checkpoints").write_text("a file is in the way")
    writer, failed = CheckpointWriter(Checkpoints(tmp_path)), []
    begin(writer, 5, if_it_fails=lambda: failed.append(5))
    with pytest.raises(CheckpointError, match="step 5 cannot be written"):
        writer.wait()
    assert failed == [5]
    writer.wait()
    begin(writer, 6)
    with pytest.raises(CheckpointError, match="step 6 cannot be written"):
        begin(writer, 7)


def test_beside_another_error_it_is_a_warning(tmp_path: Path):
    (tmp_path / "checkpoints").write_text("a file is in the way")
    writer = CheckpointWriter(Checkpoints(tmp_path))

    def write(*, fails: bool) -> None:
        with writer.finished():
            begin(writer, 5)
            if fails:
                raise ZeroDivisionError

    with pytest.warns(EstimatorWarning, match="step 5 cannot"), contextlib.suppress(ZeroDivisionError):
        write(fails=True)
    with pytest.raises(CheckpointError):
        write(fails=False)


def estimator(folder: Path, **options: Any) -> ke.Estimator:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([L.Input((3,)), L.Dense(4), L.Dense(1)])
    model.compile("adam", "mse")
    config = ke.RunConfig(**{"save_checkpoints_steps": 5, "save_summary_steps": None, "progress": "off", **options})
    return ke.model_to_estimator(model, model_dir=folder, config=config)


class BreaksTheDisk(ke.Hook):
    """At step 12, puts a file in the place of the folder of the checkpoints."""

    cadence = ke.Cadence(every_steps=1)

    def __init__(self) -> None:
        self.steps: list[int] = []

    def after_steps(self, run: ke.Run) -> None:
        self.steps.append(run.step)
        if run.step == 12:
            while not (run.model_dir / "checkpoints" / "step-10").exists():
                time.sleep(0.01)  # it is being written
            (run.model_dir / "checkpoints").rename(run.model_dir / "moved")
            (run.model_dir / "checkpoints").write_text("a file is in the way")


def test_a_training_ends_soon_after_a_checkpoint_that_the_disk_did_not_take(tmp_path: Path):
    hook = BreaksTheDisk()
    with pytest.raises(CheckpointError, match="step 15 cannot be written"):
        estimator(tmp_path).train(DATA, [hook], max_steps=100_000)
    assert 15 <= hook.steps[-1] < 1_000
    assert Checkpoints(tmp_path / "moved" / "..").folder.read_text() == "a file is in the way"
    (tmp_path / "checkpoints").unlink()
    (tmp_path / "moved").rename(tmp_path / "checkpoints")
    again = estimator(tmp_path).train(DATA, max_steps=20)
    unbroken = estimator(tmp_path / "other").train(DATA, max_steps=20)
    for name in unbroken.get_variable_names():
        np.testing.assert_array_equal(again.get_variable_value(name), unbroken.get_variable_value(name))


class RemovesTheModelDir(ke.Hook):
    """Once there is a checkpoint of step 10."""

    def after_save(self, run: ke.Run, checkpoint: Path) -> None:
        if run.step == 10:
            shutil.rmtree(run.model_dir)


def test_a_model_dir_that_vanished_is_made_anew_with_the_next_checkpoint(tmp_path: Path):
    trained = estimator(tmp_path / "run", save_summary_steps=5)
    trained.train(DATA, [RemovesTheModelDir()], max_steps=18)
    assert [each.step for each in Checkpoints(tmp_path / "run").list()] == [15, 18]
    assert list(read_scalars(tmp_path / "run" / "train")) == [15, 18]
    again = estimator(tmp_path / "run").train(DATA, max_steps=25)
    undisturbed = estimator(tmp_path / "other").train(DATA, max_steps=25)
    for name in undisturbed.get_variable_names():
        np.testing.assert_array_equal(again.get_variable_value(name), undisturbed.get_variable_value(name))


class LooksAtTheCheckpoint(ke.Hook):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def after_save(self, run: ke.Run, checkpoint: Path) -> None:
        self.seen.append(float(Checkpoints(run.model_dir).read(checkpoint).step))


def test_a_hook_that_looks_at_a_checkpoint_sees_it_whole(tmp_path: Path):
    hook = LooksAtTheCheckpoint()
    estimator(tmp_path).train(DATA, [hook], max_steps=20)
    assert hook.seen == [0, 5, 10, 15, 20]


def test_a_call_that_has_returned_has_written_its_last_checkpoint(tmp_path: Path):
    trained = estimator(tmp_path).train(DATA, max_steps=12)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-0", "step-10", "step-12", "step-5"]
    assert trained.latest_checkpoint() == str(tmp_path / "checkpoints" / "step-12")


SECOND_SIGNAL = """
import os, signal, sys, threading, time
import numpy as np
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from keras_estimator.checkpoint_writer import CheckpointWriter
from keras_estimator.checkpoints import Checkpoints

writer = CheckpointWriter(Checkpoints(sys.argv[1]))
state = {str(number): np.random.rand(1_000_000) for number in range(20)}
writer.begin(1, state, {}, protected=(), if_it_fails=lambda: None)
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_program_that_is_interrupted_leaves_the_checkpoint_whole(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", SECOND_SIGNAL, str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert os.listdir(tmp_path / "checkpoints") == ["step-1"]
    assert Checkpoints(tmp_path).read(1).step == 1
