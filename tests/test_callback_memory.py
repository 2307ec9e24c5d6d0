"""What Keras callbacks remember outlives a kill: the run ends as one that was not killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.hooks.callback_memory import Memory

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
EPOCHS = 12  # of five batches


class Breaks(ke.Hook):
    """Fails as a second Ctrl-C does, without another moment for the hooks."""

    def __init__(self, step: int) -> None:
        self.cadence = ke.Cadence(every_steps=step)

    def after_steps(self, run: ke.Run) -> None:
        raise KeyboardInterrupt


class BreaksAtEnd(ke.Hook):
    """Fails when a pass has ended, and the callbacks were told."""

    def after_epoch(self, run: ke.Run) -> None:
        raise KeyboardInterrupt


class Signals(Breaks):
    """Is asked to end."""

    number = signal.SIGINT

    def after_steps(self, run: ke.Run) -> None:
        if run.step == self.cadence.every_steps:
            os.kill(os.getpid(), self.number)


class Dies(Signals):
    number = signal.SIGKILL


class Counts(keras.callbacks.Callback):
    """Remembers values of every kind that a checkpoint can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.batches, self.sums, self.seen = 0, np.zeros(3), ()
        self.half = np.float16(0)
        self.losses: list[float] = []
        self.by_epoch: dict[int, Any] = {}
        self.best: list[Any] | None = None
        self.mean, self.total = keras.metrics.Mean(), keras.Variable(0.0)
        self.raw = tf.Variable(0, trainable=False)
        self.tensor = tf.constant(1.0)
        self.name: str | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        self.sums[batch % 3] += logs["loss"]
        self.losses += [logs["loss"]] * 3
        self.mean.update_state(logs["loss"])
        self.raw.assign_add(1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen += (epoch, None)
        self.half += np.float16(0.5)
        self.by_epoch[epoch] = {"loss": [logs["loss"], True]}
        self.best = self.model.get_weights()
        self.total.assign_add(logs["loss"])
        self.tensor = self.tensor * 2
        self.name = f"of epoch {epoch}"


def worse_from(first: int) -> keras.callbacks.Callback:
    return keras.callbacks.LearningRateScheduler(lambda epoch: 0.05 if epoch < first else -0.01)


def early_stopping(folder: Path) -> list[Any]:
    stops = keras.callbacks.EarlyStopping("loss", patience=5, min_delta=1e-5, restore_best_weights=True)
    return [worse_from(4), stops]


def plateau(folder: Path) -> list[Any]:
    return [keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2, cooldown=2, min_delta=10.0)]


def best_only(folder: Path) -> list[Any]:
    path = folder / "best.weights.h5"
    return [worse_from(2), keras.callbacks.ModelCheckpoint(path, "loss", save_best_only=True, save_weights_only=True)]


def stopping_and_best(folder: Path) -> list[Any]:
    return [*early_stopping(folder), best_only(folder)[1]]


def writers(folder: Path) -> list[Any]:
    new = keras.callbacks.CSVLogger(folder / "new.csv", append=False)
    every = keras.callbacks.ModelCheckpoint(folder / "{epoch}-{batch}.weights.h5", save_freq=9, save_weights_only=True)
    return [keras.callbacks.CSVLogger(folder / "log.csv", append=True), new, every]


def counts(folder: Path) -> list[Any]:
    return [Counts()]


KINDS: list[Callable[[Path], list[Any]]] = [early_stopping, plateau, best_only, writers, counts]


def estimator(folder: Path, saves: int) -> ke.Estimator:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dropout(0.1), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    config = ke.RunConfig(
        progress="off", save_summary_steps=None, log_step_count_steps=None, save_checkpoints_steps=saves
    )
    return ke.model_to_estimator(model, model_dir=folder / "model_dir", config=config)


def train(
    folder: Path, callbacks: list[Any], hooks: Any = None, *, saves: int = 5, data: Any = None, **options: Any
) -> keras.Model:
    data = data or ke.Arrays(X, Y, batch_size=8, seed=3, epochs=EPOCHS)
    return estimator(folder, saves).train(data, hooks, callbacks=callbacks, **options).model


def remembered(callback: keras.callbacks.Callback) -> dict[str, Any]:
    left_out = {"_model", "params", "csv_file", "append_header", "schedule", "filename", "filepath"}
    found = {name: value for name, value in vars(callback).items() if name not in left_out}
    for name in {"mean", "total", "raw", "tensor"} & found.keys():
        found[name] = keras.ops.convert_to_numpy(found[name].result() if name == "mean" else found[name])
    return found


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
    if isinstance(one, dict | list | tuple):
        assert len(one) == len(other)
        pairs = (
            zip(one.values(), other.values(), strict=True) if isinstance(one, dict) else zip(one, other, strict=True)
        )
        for mine, theirs in pairs:
            assert_same(mine, theirs)
    else:
        np.testing.assert_array_equal(one, other)


def contents(path: Path) -> Any:
    if path.suffix == ".csv":
        return path.read_text()
    model = estimator(path.parent / "empty", 1).model
    model.load_weights(path)
    return [*model.get_weights(), float(model.optimizer.learning_rate), int(model.optimizer.iterations)]


def assert_same_run(whole: tuple[Path, keras.Model, list[Any]], parts: tuple[Path, keras.Model, list[Any]]) -> None:
    (folder, model, callbacks), (other_folder, other, other_callbacks) = whole, parts
    assert_same(other.get_weights(), model.get_weights())
    assert float(other.optimizer.learning_rate) == float(model.optimizer.learning_rate)
    assert other.history.epoch == model.history.epoch
    assert_same(other.history.history, model.history.history)
    for mine, theirs in zip(other_callbacks, callbacks, strict=True):
        mine, theirs = remembered(mine), remembered(theirs)
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            assert_same(mine[name], value)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert names == sorted(path.name for path in other_folder.iterdir() if path.is_file())
    for name in names:
        assert_same(contents(other_folder / name), contents(folder / name))


def cut_short(folder: Path, kind: Callable[[Path], list[Any]], stop: ke.Hook, **options: Any) -> None:
    folder.mkdir(exist_ok=True)
    with pytest.raises(KeyboardInterrupt):
        train(folder, kind(folder), [stop], **options)


def completed(folder: Path, kind: Callable[[Path], list[Any]], **options: Any) -> Any:
    folder.mkdir(exist_ok=True)
    callbacks = kind(folder)
    return folder, train(folder, callbacks, **options), callbacks


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_cut_short_ends_as_one_that_was_not(kind: Callable[[Path], list[Any]], tmp_path: Path):
    whole = completed(tmp_path / "whole", kind)
    for saves, step in ((5, 15), (4, 22)):  # at the end of a pass, and within
        folder = tmp_path / f"saved every {saves}"
        cut_short(folder, kind, Breaks(step), saves=saves)
        cut_short(folder, kind, Signals(step + 6), saves=saves)
        assert_same_run(whole, completed(folder, kind, saves=saves))
    if kind is early_stopping:
        assert 0 < whole[2][1].best_epoch < whole[2][1].stopped_epoch == len(whole[1].history.epoch) - 1 < EPOCHS - 1


@pytest.mark.parametrize("name", ["arrays", "pipeline", "pipeline that does not know its length"])
def test_a_pass_that_was_over_when_its_last_step_was_saved_is_told_its_end(name: str, tmp_path: Path):
    def data() -> Any:
        rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
        known = {"arrays": ke.Arrays(X, Y, batch_size=8, shuffle=False), "pipeline": rows}
        return known.get(name) or rows.filter(lambda x, y: tf.size(x) > 0)

    def both(folder: Path) -> list[Any]:
        return [*plateau(folder), *counts(folder)]

    whole = completed(tmp_path / "whole", both, data=data)
    cut_short(tmp_path / "parts", both, BreaksAtEnd(), data=data)
    assert_same_run(whole, completed(tmp_path / "parts", both, data=data))


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path):
    killed = """
import sys; sys.path.insert(0, {tests!r})
from pathlib import Path
import test_callback_memory as tests
folder = Path({folder!r})
tests.train(folder, tests.stopping_and_best(folder), [tests.Dies({step})], saves=4)
"""
    for step in (18, 30):
        names = {"tests": str(Path(__file__).parent), "folder": str(tmp_path / "parts")}
        (tmp_path / "parts").mkdir(exist_ok=True)
        done = subprocess.run([sys.executable, "-c", killed.format(**names, step=step)], check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL
    whole = completed(tmp_path / "whole", stopping_and_best)
    assert_same_run(whole, completed(tmp_path / "parts", stopping_and_best, saves=4))


def test_settings_are_those_that_are_given_now(tmp_path: Path):
    def patient(patience: int) -> Callable[[Path], list[Any]]:
        def stopping(folder: Path) -> list[Any]:
            stops = keras.callbacks.EarlyStopping("loss", patience=patience, min_delta=1e-5 * patience)
            return [worse_from(2), stops]

        return stopping

    _, whole, _ = completed(tmp_path / "whole", patient(5))
    cut_short(tmp_path / "parts", patient(100), Breaks(27))
    _, model, [_, stopping] = completed(tmp_path / "parts", patient(5))
    assert (stopping.patience, stopping.min_delta) == (5, -5e-5)
    assert model.history.epoch == whole.history.epoch


def test_callbacks_may_come_and_go(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def checkpoint(name: str) -> keras.callbacks.ModelCheckpoint:
        path = tmp_path / f"{name}.weights.h5"
        return keras.callbacks.ModelCheckpoint(path, "loss", save_best_only=True, save_weights_only=True, mode="min")

    first, second = checkpoint("first"), checkpoint("second")
    first.monitor = "mae"
    stopping = keras.callbacks.EarlyStopping("loss", patience=100, restore_best_weights=True)
    cut_short(tmp_path, lambda folder: [worse_from(2), stopping, first, second], Breaks(22))
    best = contents(tmp_path / "second.weights.h5")
    caplog.set_level(logging.INFO, "keras_estimator")
    new, counting = checkpoint("new"), Counts()
    new.best, again = 0.0, checkpoint("second")
    cut_short(tmp_path, lambda folder: [counting, new, again, worse_from(2)], Breaks(24))
    assert (again.best, new.best, counting.batches) == (second.best, 0.0, 4)
    assert_same(contents(tmp_path / "second.weights.h5"), best)
    gone = [record.getMessage() for record in caplog.records if "no longer" in record.getMessage()]
    assert gone == [
        f"{name} is no longer among the callbacks; what it remembered is gone"
        for name in ("EarlyStopping", "ModelCheckpoint")  # the one of another quantity
    ]
    last = Counts()
    train(tmp_path, [last])  # the checkpoint of step 20 was written again, with the callbacks that there were then
    assert last.batches == 40


def test_a_new_call_begins_afresh_and_one_of_other_data_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "keras_estimator")
    completed(tmp_path, counts)
    _, model, [callback] = completed(tmp_path, counts)
    assert (callback.batches, model.history.epoch) == (60, list(range(12, 24)))
    assert "begin afresh" not in caplog.text
    cut_short(tmp_path, counts, Breaks(127))
    _, _, [callback] = completed(tmp_path, counts, data=ke.Arrays(X[:32], Y[:32], batch_size=8))
    assert callback.batches == 4
    assert "Keras callbacks begin afresh: this call does not complete the one that was cut short" in caplog.text


def test_what_a_callback_keeps_from_call_to_call_survives_too(tmp_path: Path):
    def data() -> ke.Arrays:
        return ke.Arrays(X, Y, batch_size=8, seed=3, epochs=2)

    def highest() -> keras.callbacks.ModelCheckpoint:
        return keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", "loss", save_best_only=True, mode="max")

    callback = highest()
    train(tmp_path, [callback], data=data())
    best = callback.best  # of the first epoch
    callback.verbose = False
    cut_short(tmp_path, lambda folder: [callback], Breaks(16), data=data())
    assert callback.best == best
    again = highest()
    train(tmp_path, [again], data=data())
    assert (again.best, again.verbose) == (best, 0)


class HoldsWhatItCannotKeep(keras.callbacks.Callback):
    kept = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.kept, self.layer, self.names = epoch, self.model.layers[0], {"a set"}
        self.function, self.texts = (lambda: epoch), np.array(["text"])
        self.many = [None] * 100_000
        self.variable = keras.Variable(1.0)


def test_what_cannot_be_carried_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "keras_estimator")
    cut_short(tmp_path, lambda folder: [HoldsWhatItCannotKeep()], Breaks(43))
    said = [record.getMessage() for record in caplog.records if "HoldsWhat" in record.getMessage()]
    kinds = {"names": "set", "function": "function", "texts": "ndarray", "many": "list"}
    assert said == [
        f"HoldsWhatItCannotKeep: `{name}` is not part of the checkpoints (a {kind})" for name, kind in kinds.items()
    ]
    caplog.clear()
    callback = HoldsWhatItCannotKeep()
    cut_short(tmp_path, lambda folder: [callback], Breaks(42))
    assert callback.kept == 7
    said = [record.getMessage() for record in caplog.records if "HoldsWhat" in record.getMessage()]
    assert "HoldsWhatItCannotKeep: `variable` is left as it begins: its variables are others by now" in said


def test_a_checkpoint_of_anybody_sets_no_method_and_no_path_of_a_callback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(keras.callbacks.Callback):
        best = 0.0

        @property
        def shown(self) -> str:
            return "shown"

    caplog.set_level("INFO", "keras_estimator")
    saver = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"))
    own = Own()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    Memory(saver, model).put_back({"filepath": "/elsewhere", "best": 3.0, "on_epoch_end": 1, "__class__": 1})
    Memory(own, model).put_back({"name": "a text", "best": 2.0, "shown": "b", "set_model": 1, "__dict__": {"dict": []}})
    assert (saver.filepath, saver.best, callable(saver.on_epoch_end)) == (str(tmp_path / "best.keras"), 3.0, True)
    assert (own.name, own.best, own.shown, callable(own.set_model)) == ("a text", 2.0, "shown", True)
    assert caplog.text.count("is left as it is: a checkpoint does not set that") == 6
