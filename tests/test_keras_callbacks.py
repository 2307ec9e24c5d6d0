"""Keras callbacks are called as `fit` calls them, at the same moments and with the same numbers."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.hooks.hook import Cadence
from keras_estimator.hooks.keras_callbacks import KerasCallbacks
from keras_estimator.hooks.stopping import NanGuard

# Keras reads its own variables in a way that NumPy 2 will refuse one day; `fit` does too.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCH_SIZE, BATCHES, EPOCHS = 8, 5, 3


class Recorder(keras.callbacks.Callback):
    """Notes every moment of an epoch, and what was told at it."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[Any, ...]] = []

    def _note(self, moment: str, number: int | None, logs: dict[str, float] | None) -> None:
        known = sorted((name, pytest.approx(value, rel=1e-5)) for name, value in (logs or {}).items())
        self.noted.append((moment, number, known))

    def on_train_begin(self, logs=None):
        self._note("train_begin", None, logs)

    def on_train_end(self, logs=None):
        self._note("train_end", None, logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._note("epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._note("epoch_end", epoch, logs)


class BatchRecorder(Recorder):
    """Notes every batch too."""

    def on_train_batch_begin(self, batch, logs=None):
        self._note("batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._note("batch_end", batch, logs)


def new_model(learning_rate: float = 0.05) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate), "mse", metrics=["mae"])
    return model


def fit(callbacks: Any, epochs: int = EPOCHS, model: keras.Model | None = None) -> keras.Model:
    model = model or new_model()
    model.fit(X, Y, batch_size=BATCH_SIZE, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def train(folder: Path, callbacks: Any, steps: int = EPOCHS * BATCHES, **more: Any) -> keras.Model:
    config = ke.RunConfig(progress="off", **more)
    estimator = ke.model_to_estimator(new_model(), model_dir=folder, config=config)
    estimator.train(data(), steps=steps, callbacks=callbacks)
    return estimator.model


def data() -> ke.Arrays:
    return ke.Arrays(X, Y, batch_size=BATCH_SIZE, shuffle=False)


def assert_same_weights(one: keras.Model, other: keras.Model) -> None:
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [Recorder, BatchRecorder])
def test_every_moment_comes_as_in_fit(kind: type[Recorder], tmp_path: Path):
    ours, theirs = kind(), kind()
    assert_same_weights(train(tmp_path, [ours]), fit([theirs]))
    assert ours.noted == theirs.noted
    assert (ours.params["epochs"], ours.params["steps"]) == (EPOCHS, BATCHES)
    assert ours.params == theirs.params


def test_only_who_asks_for_batches_makes_every_step_return(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "keras_estimator")
    quiet = [
        Recorder(),
        keras.callbacks.EarlyStopping(monitor="loss"),
        keras.callbacks.LambdaCallback(on_epoch_end=print),
        keras.callbacks.ModelCheckpoint("m.keras"),
        keras.callbacks.TerminateOnNaN(),
    ]
    assert KerasCallbacks(quiet).cadence == Cadence()
    assert caplog.records == []
    for greedy in (
        BatchRecorder(),
        keras.callbacks.LambdaCallback(on_train_batch_end=print),
        keras.callbacks.LambdaCallback(on_batch_end=print),
        keras.callbacks.ModelCheckpoint("m.keras", save_freq=3),
    ):
        assert KerasCallbacks([*quiet, greedy]).cadence == Cadence(every_steps=1)
        name = type(greedy).__name__
        assert caplog.records[-1].getMessage() == f"{name}: asks for every batch, so every step returns to Python"


def test_what_would_load_weights_over_ours_is_not_called(tmp_path: Path):
    def backups(folder: str) -> keras.callbacks.BackupAndRestore:
        return keras.callbacks.BackupAndRestore(tmp_path / folder, delete_checkpoint=False)

    fit([backups("theirs")])
    for folder in ("theirs", "ours"):
        with pytest.warns(ke.EstimatorWarning, match="BackupAndRestore is not called.*Way out: leave it out"):
            ours = train(tmp_path / "model_dir" / folder, [backups(folder), BatchRecorder()])
        assert_same_weights(ours, fit([]))
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("wrap", [list, tuple, lambda callbacks: callbacks[0], keras.callbacks.CallbackList])
def test_whatever_fit_takes_is_taken(wrap: Any):
    assert KerasCallbacks(wrap([BatchRecorder()])).cadence == Cadence(every_steps=1)


def test_the_history_is_that_of_fit(tmp_path: Path):
    ours, theirs = train(tmp_path, [Recorder()]), fit([])
    assert ours.history.epoch == theirs.history.epoch
    for name, values in theirs.history.history.items():
        assert ours.history.history[name] == pytest.approx(values, rel=1e-5)


def test_a_call_that_goes_on_counts_epochs_on(tmp_path: Path):
    first, second = BatchRecorder(), BatchRecorder()
    estimator = ke.model_to_estimator(new_model(), model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    estimator.train(data(), steps=7, callbacks=[first])
    assert [note[:2] for note in first.noted][-4:] == [
        ("batch_begin", 1),
        ("batch_end", 1),
        ("epoch_end", 1),  # the call ends in the middle of the second pass
        ("train_end", None),
    ]
    estimator.train(data(), max_steps=15, callbacks=[second])
    assert [note[:2] for note in second.noted][:4] == [
        ("train_begin", None),
        ("epoch_begin", 1),
        ("batch_begin", 2),
        ("batch_end", 2),
    ]
    assert second.params["epochs"] == 3


def test_without_a_known_length_an_epoch_ends_with_the_data(tmp_path: Path):
    recorder = BatchRecorder()
    estimator = ke.model_to_estimator(new_model(), model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    estimator.train(lambda: ((X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)), callbacks=[recorder])
    moments = [note[:2] for note in recorder.noted if note[0] != "batch_begin"]
    batches = [("batch_end", number) for number in range(5)]
    assert moments == [("train_begin", None), ("epoch_begin", 0), *batches, ("epoch_end", 0), ("train_end", None)]


def test_a_callback_can_stop_in_the_middle_of_an_epoch(tmp_path: Path):
    class StopAtBatch2(BatchRecorder):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.model.stop_training = batch == 2

    ours, theirs = StopAtBatch2(), StopAtBatch2()
    assert_same_weights(train(tmp_path, [ours]), fit([theirs]))
    assert ours.noted == theirs.noted


def test_early_stopping_stops_and_what_it_puts_back_is_saved(tmp_path: Path):
    def stopping() -> list[Any]:
        worse = keras.callbacks.LearningRateScheduler(lambda epoch: 0.05 if epoch < 3 else 1.0)
        best = keras.callbacks.EarlyStopping(monitor="loss", patience=2, restore_best_weights=True)
        return [worse, best]

    ours = train(tmp_path, stopping(), steps=20 * BATCHES, save_checkpoints_steps=BATCHES)
    theirs = fit(stopping(), epochs=20)
    assert_same_weights(ours, theirs)
    assert len(ours.history.epoch) == len(theirs.history.epoch) < 20
    restored = ke.model_to_estimator(new_model(), model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    restored.get_variable_names()  # brings the newest checkpoint into the model
    assert_same_weights(restored.model, theirs)


def test_learning_rates_follow_schedulers_and_plateaus(tmp_path: Path):
    def rates() -> list[Any]:
        return [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5 if epoch == 1 else rate),
            keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.1, patience=1, min_delta=10.0),
        ]

    ours, theirs = train(tmp_path, rates(), save_checkpoints_steps=BATCHES), fit(rates())
    assert float(ours.optimizer.learning_rate) == pytest.approx(float(theirs.optimizer.learning_rate))
    assert_same_weights(ours, theirs)
    saved = Checkpoints(tmp_path).read(EPOCHS * BATCHES).state
    [rate] = [value for path, value in saved.items() if path.endswith("learning_rate")]
    assert float(rate) == pytest.approx(float(theirs.optimizer.learning_rate))


def test_the_writers_of_keras_write(tmp_path: Path):
    def writers(folder: Path) -> list[Any]:
        folder.mkdir()
        return [
            keras.callbacks.CSVLogger(folder / "log.csv"),
            keras.callbacks.ModelCheckpoint(folder / "epoch-{epoch}.keras"),
            keras.callbacks.ModelCheckpoint(folder / "batches.weights.h5", save_weights_only=True, save_freq=4),
            keras.callbacks.TensorBoard(folder / "tensorboard"),
        ]

    train(tmp_path / "model_dir", writers(tmp_path / "ours"))
    fit(writers(tmp_path / "theirs"))
    names = [sorted(path.name for path in (tmp_path / side).iterdir()) for side in ("ours", "theirs")]
    assert names[0] == names[1]
    ours, theirs = (
        list(csv.DictReader((tmp_path / side / "log.csv").read_text().splitlines())) for side in ("ours", "theirs")
    )
    assert [row["epoch"] for row in ours] == [row["epoch"] for row in theirs]
    for name in ("loss", "mae"):
        assert [float(row[name]) for row in ours] == pytest.approx([float(row[name]) for row in theirs], rel=1e-5)
    assert_same_weights(*(keras.models.load_model(tmp_path / side / "epoch-2.keras") for side in ("ours", "theirs")))
    assert len(list((tmp_path / "ours" / "tensorboard" / "train").iterdir())) == 1


def test_terminate_on_nan_ends_the_run_in_peace_and_saves_nothing_of_it(tmp_path: Path):
    config = ke.RunConfig(progress="off", save_checkpoints_steps=1)
    estimator = ke.model_to_estimator(new_model(learning_rate=1e30), model_dir=tmp_path, config=config)
    callbacks = KerasCallbacks([keras.callbacks.TerminateOnNaN()])
    with pytest.warns(ke.EstimatorWarning, match=r"step \d+ is not saved, as its loss is"):
        estimator.train(data(), steps=40, hooks=[callbacks, NanGuard()])
    newest = Checkpoints(tmp_path).newest_readable()
    assert newest is not None
    assert math.isfinite(newest.run["metrics"].get("loss", 0.0))
    assert callbacks.history.epoch == [0]
