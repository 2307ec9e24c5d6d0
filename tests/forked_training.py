"""The training that is killed in test_kills.py and soak.py, and the process that forks it; see fork_server.py.

The model is small and hard: dropout, moving means, a moving average of all weights, and a layer that counts its calls
and how often each example was in one, in raw variables. So the examples that were consumed are a part of the state.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from failing_disk import shift_clock, strike
from fork_server import INTERVAL, PASSES, STEPS
from struck_checkpoints import check_told

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CheckpointError

# Else each training would have to import them. Not engine.py, which makes a variable: TensorFlow then has threads.
for name in ("export", "feeds", "loops", "predicting", "together", "workers"):
    importlib.import_module(f"keras_estimator.engines.tensorflow.{name}")

L = keras.layers
ROWS, BATCH_SIZE = 60, 8  # the last batch of a pass is smaller
EVERY_STEPS = 30  # an evaluation
X = np.random.RandomState(0).normal(size=(ROWS, 6)).astype("float32")
X[:, 0] = np.arange(ROWS)  # which example it is
Y = np.abs(X[:, 1:2]) * 2


class Counting(L.Layer):
    """Counts its calls in training and the examples in them, whose numbers are the first feature."""

    def build(self, shape: Any) -> None:
        self.calls = tf.Variable(0, trainable=False, name="calls")
        self.consumed = tf.Variable(tf.zeros([ROWS], tf.int64), trainable=False, name="consumed")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.calls.assign_add(1)
            numbers = tf.cast(x[:, 0], tf.int32)
            self.consumed.scatter_add(tf.IndexedSlices(tf.ones_like(numbers, tf.int64), numbers))
        return x[:, 1:]


def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    counting, batch_norm = Counting(name="counting"), L.BatchNormalization(name="norm")
    dense = [L.Dense(16, "relu", name="wide"), L.Dense(1, name="last")]
    made = keras.Sequential([L.Input((6,)), counting, dense[0], batch_norm, L.Dropout(0.3, seed=5), dense[1]])
    made.compile(keras.optimizers.Adam(0.01, clipvalue=1.0, use_ema=True), "mse", metrics=["mae"])
    return made


def pipeline() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(ROWS, seed=3).batch(BATCH_SIZE).repeat(PASSES)


def noisy(rows: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows as a batch, their numbers as they are."""
    x = X[rows] + noise.astype("float32")
    x[:, 0] = rows
    return x, Y[rows]


class DrawingDataset(keras.utils.PyDataset):
    """Draws noise for each batch, from the state of the process and from its own, and counts; shuffles each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.order, self.dice, self.batches = np.arange(ROWS), np.random.default_rng(3), 0

    def __len__(self) -> int:
        return -(-ROWS // BATCH_SIZE)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.batches += 1
        rows = self.order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        scale = self.dice.random() / self.batches
        return noisy(rows, scale * np.random.normal(size=(len(rows), 6)))  # noqa: NPY002 - as old programs do

    def on_epoch_end(self) -> None:
        self.dice.shuffle(self.order)


class StatefulIterator:
    """As those of grain: it gives all passes in one, and keeps its own state."""

    def __init__(self) -> None:
        self._dice, self._order, self._given = np.random.default_rng(4), [], 0

    def __iter__(self) -> StatefulIterator:
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        if not self._order:
            self._given += 1
            if self._given > PASSES:
                raise StopIteration
            self._order = self._dice.permutation(ROWS).tolist()
        rows, self._order = np.array(self._order[:BATCH_SIZE]), self._order[BATCH_SIZE:]
        return noisy(rows, self._dice.normal(size=(len(rows), 6)))

    def get_state(self) -> dict[str, Any]:
        return {"dice": self._dice.bit_generator.state, "order": self._order, "given": self._given}

    def set_state(self, state: dict[str, Any]) -> None:
        self._dice.bit_generator.state = state["dice"]
        self._order, self._given = state["order"], state["given"]


DATA: dict[str, Callable[[], Any]] = {
    "arrays": lambda: ke.Arrays(X, Y, batch_size=BATCH_SIZE, seed=2, epochs=PASSES),
    "pipeline": pipeline,
    "py_dataset": DrawingDataset,
    "iterator": StatefulIterator,
}


class QuickToExport(ke.Estimator):
    """Does not try out what it has exported: that takes seconds, and tests of its own."""

    def export_saved_model(self, *args: Any, **options: Any) -> str:
        return super().export_saved_model(*args, **options, verify=False)


class Notes(ke.Hook):
    """Writes down the newest step, for whoever kills the process; may ask for its end by SIGTERM at a step."""

    cadence = ke.Cadence(every_steps=1)

    def __init__(self, path: Path, asked_to_end_at: int | None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT)
        self._asked_to_end_at = asked_to_end_at

    def after_steps(self, run: ke.Run) -> None:
        os.pwrite(self._file, b"%9d" % run.step, 0)
        if run.step == self._asked_to_end_at:
            os.kill(os.getpid(), signal.SIGTERM)


class DiesIn(ke.Hook):
    """Kills the process in the middle of an evaluation."""

    cadence = ke.Cadence(every_steps=2)

    def after_steps(self, run: ke.Run) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def estimator(folder: Path) -> ke.Estimator:
    config = ke.RunConfig(
        model_dir=folder, save_checkpoints_steps=INTERVAL, keep_checkpoint_max=3, tf_random_seed=1, plan="graph",
        save_summary_steps=20, progress="off",
    )  # fmt: skip
    return QuickToExport(model(), folder, config)


def train(
    folder: Path,
    *,
    data: str = "arrays",
    evaluates: bool = False,
    dies_in_evaluation: bool = False,
    asked_to_end_at: int | None = None,
) -> None:
    """Train to the end, or go on to there.

    Args:
        folder: The model_dir.
        data: A key of `DATA`.
        evaluates: Whether it evaluates and exports.
        dies_in_evaluation: Whether it kills itself in the first evaluation.
        asked_to_end_at: The step at which it gets SIGTERM.
    """
    notes = Notes(folder.with_suffix(".step"), asked_to_end_at)
    if not evaluates:
        estimator(folder).train(DATA[data](), [notes], max_steps=STEPS)
        return
    exporters = (ke.BestExporter("best"), ke.FinalExporter("final"))
    hooks = [DiesIn()] if dies_in_evaluation else []
    spec = ke.EvalSpec(ke.Arrays(X, Y, batch_size=20), None, every_steps=EVERY_STEPS, exporters=exporters, hooks=hooks)
    ke.train_and_evaluate(estimator(folder), ke.TrainSpec(DATA[data](), STEPS, [notes]), spec)


def train_while_calls_fail(folder: Path, error: int) -> None:
    """Train on and on, and let another call to the disk fail each time, until there is none left to fail."""
    data, checkpoints = ke.Arrays(X, Y, batch_size=BATCH_SIZE, seed=2), Checkpoints(folder)
    trained, at, is_struck, ends = estimator(folder), 0, True, Counter[str]()
    trained.train(data, max_steps=INTERVAL)
    while is_struck:
        at += 1
        before = {each.step: checkpoints.read(each).state for each in checkpoints.list()}
        with strike(f"* {folder}/*", at, error=error) as matched:
            try:
                trained.train(data, steps=2 * INTERVAL)
                ends["nothing"] += 1
            except CheckpointError as failure:
                check_told(failure, error)
                ends[type(failure).__name__] += 1
            is_struck = matched() >= at
        for each in checkpoints.list():
            state = checkpoints.read(each).state
            assert all(state[path].tobytes() == array.tobytes() for path, array in before.get(each.step, {}).items())
    trained.train(data, steps=INTERVAL)
    steps = max(each.step for each in checkpoints.list())
    estimator(folder.with_suffix(".unbroken")).train(data, max_steps=steps)
    found, expected = (Checkpoints(each).read(steps).state for each in (folder, folder.with_suffix(".unbroken")))
    assert [path for path in expected if found[path].tobytes() != expected[path].tobytes()] == []
    sys.stderr.write(f"{at - 1} calls failed, {dict(ends)}, {steps} steps\n")


def run_once(
    folder: str, log: str, *, strikes: dict[str, Any] | None = None, clock: int = 0, fails: int = 0, **options: Any
) -> None:
    """Train in this process, which was forked for it.

    Args:
        folder: The model_dir.
        log: The file for what it writes.
        strikes: What is given to `failing_disk.strike`.
        clock: How many seconds its clock is ahead.
        fails: By this error one call to the disk after another fails (see `train_while_calls_fail`).
        options: Those of `train`.
    """
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    shift_clock(clock)
    if fails:
        train_while_calls_fail(Path(folder), fails)
        return
    with strike(**strikes) if strikes else contextlib.nullcontext():
        train(Path(folder), **options)


def serve() -> None:
    """Fork a training for each line of stdin, kill it when that says so, and answer how it ended."""
    assert len(os.listdir("/proc/self/task")) == 1, "what has threads cannot be forked"
    for line in sys.stdin:
        asked = json.loads(line)
        waits_for_a_step, kill_after = asked.pop("waits_for_a_step"), asked.pop("kill_after")
        child = os.fork()
        if not child:
            run_once(**asked)
            return
        ending, noted = select.poll(), Path(asked["folder"]).with_suffix(".step")
        ending.register(os.pidfd_open(child), select.POLLIN)
        while waits_for_a_step and not (noted.exists() and noted.stat().st_size) and not ending.poll(10):
            pass
        since = time.time()
        if not ending.poll(None if kill_after is None else 1000 * kill_after):
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        secs = noted.stat().st_mtime - since if noted.exists() else 0.0
        print(json.dumps([status, secs]), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    serve()
