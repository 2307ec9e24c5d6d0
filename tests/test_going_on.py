"""A run that stopped, failed or was used in between goes on with the bits of one that was not."""

from __future__ import annotations

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

L = keras.layers
X = np.random.RandomState(0).normal(size=(50, 4)).astype("float32")
Y = X[:, :1]
LAST = 17  # of five batches in a pass


def model(*, built: bool = True, optimizer: Any = "adam", **options: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [L.Dense(6), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)]
    made = keras.Sequential([L.Input((4,)), *layers] if built else layers)
    made.compile(optimizer, "mse", metrics=["mae"], **options)
    return made


def estimator(folder: Path, made: keras.Model | None = None, **options: Any) -> ke.Estimator:
    config = ke.RunConfig(progress="off", save_summary_steps=None, log_step_count_steps=None, **options)
    return ke.model_to_estimator(made or model(), model_dir=folder, config=config)


def state(of: ke.Estimator) -> dict[str, np.ndarray]:
    return {name: of.get_variable_value(name) for name in of.get_variable_names()}


def assert_same_bits(one: ke.Estimator, other: ke.Estimator) -> None:
    mine, theirs = state(one), state(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not np.array_equal(mine[name], theirs[name])] == []


def arrays(**options: Any) -> ke.Arrays:
    return ke.Arrays(X, Y, batch_size=10, seed=2, **options)


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(X[start : start + 10], Y[start : start + 10]) for start in range(0, 50, 10)]


def pipeline() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)


class ShufflesItself(keras.utils.PyDataset):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.order, self.random = np.arange(5), np.random.RandomState(0)

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = self.order[index] * 10
        return X[start : start + 10], Y[start : start + 10]

    def on_epoch_end(self) -> None:
        self.random.shuffle(self.order)


def endless() -> Any:
    while True:
        yield from pairs()


SOURCES: dict[str, Callable[[], Any]] = {
    "list": pairs,
    "generator": lambda: lambda: endless(),
    "py_dataset": ShufflesItself,
    "repeated_pipeline": lambda: pipeline().shuffle(5, seed=1).repeat(),
}


@pytest.mark.parametrize("name", SOURCES)
def test_batches_from_anywhere_go_on_in_a_new_process_and_in_the_same(name: str, tmp_path: Path) -> None:
    whole = estimator(tmp_path / "whole").train(SOURCES[name](), max_steps=LAST)
    estimator(tmp_path / "new").train(SOURCES[name](), max_steps=7)
    assert_same_bits(estimator(tmp_path / "new").train(SOURCES[name](), max_steps=LAST), whole)
    same, data = estimator(tmp_path / "same"), SOURCES[name]()
    assert_same_bits(same.train(data, max_steps=7).train(data, max_steps=LAST), whole)


@pytest.mark.parametrize("built", [True, False])
def test_a_model_that_runs_eagerly_is_restored_before_its_first_step(built: bool, tmp_path: Path) -> None:
    def eager() -> keras.Model:
        return model(built=built, run_eagerly=True)

    whole = estimator(tmp_path / "whole", eager()).train(arrays(), max_steps=9)
    half = estimator(tmp_path / "parts", eager()).train(arrays(), max_steps=4)
    measured, predicted = half.evaluate((X, Y)), half.predictor()(X)
    again = estimator(tmp_path / "parts", eager())
    assert again.evaluate((X, Y)) == measured
    np.testing.assert_array_equal(estimator(tmp_path / "parts", eager()).predictor()(X), predicted)
    assert_same_bits(again.train(arrays(), max_steps=9), whole)
    with pytest.raises(ke.CheckpointMismatchError, match="not in the model"):
        estimator(tmp_path / "parts", model(built=built, run_eagerly=True, optimizer="sgd")).train(arrays(), steps=1)


@pytest.mark.parametrize(
    "data",
    [
        lambda: arrays(),
        pairs,
        lambda: pipeline(),
        lambda: pipeline().filter(lambda x, y: tf.size(x) > 0),  # nobody knows how many batches are left
        lambda: (batch for batch in pairs()),
    ],
)
def test_a_call_that_ended_where_the_pass_ends_is_followed_by_a_new_pass(data: Any, tmp_path: Path) -> None:
    trained = estimator(tmp_path).train(data, steps=5).train(data, steps=5).train(data)
    assert trained.evaluate((X, Y))["global_step"] == 15
    assert estimator(tmp_path).train(data).evaluate((X, Y))["global_step"] == 20


def test_a_finished_run_begins_another_pass_also_if_the_last_checkpoint_was_due_at_its_end(tmp_path: Path) -> None:
    for passes in (1, 2, 3):
        done = estimator(tmp_path, save_checkpoints_steps=5).train(pipeline)
        assert done.evaluate((X, Y))["global_step"] == 5 * passes


class Fails(ke.Hook):
    cadence = ke.Cadence(every_steps=7)

    def after_steps(self, run: ke.Run) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("saves", [5, None])
def test_after_a_hook_failed_it_goes_on_from_where_it_is_known_to_be_right(saves: int | None, tmp_path: Path) -> None:
    whole = estimator(tmp_path / "whole").train(arrays(), max_steps=LAST)
    failed = estimator(tmp_path / "failed", save_checkpoints_steps=saves, save_checkpoints_secs=None)
    with pytest.raises(ZeroDivisionError):
        failed.train(arrays(), hooks=[Fails()], max_steps=LAST)
    assert_same_bits(failed.train(arrays(), max_steps=LAST), whole)


def test_after_a_pipeline_broke_in_the_middle_of_a_stride_nothing_of_it_is_left(tmp_path: Path) -> None:
    def read(last: int) -> tf.data.Dataset:
        def batch(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.control_dependencies([tf.debugging.assert_less(number, tf.constant(last, tf.int64))]):
                return tf.identity(X[:10]), tf.identity(Y[:10])

        return tf.data.Dataset.range(100).map(batch)

    whole = estimator(tmp_path / "whole").train(read(100), max_steps=LAST)
    broken = estimator(tmp_path / "broken", save_checkpoints_steps=5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        broken.train(read(13), max_steps=LAST)
    assert_same_bits(broken.train(read(100), max_steps=LAST), whole)


def test_after_a_loss_that_was_not_a_number_the_weights_are_those_of_the_newest_checkpoint(tmp_path: Path) -> None:
    wrong = X.copy()
    wrong[25] = np.nan
    trained = estimator(tmp_path)
    with pytest.raises(ke.NonFiniteLossError, match="at step 3"):
        trained.train(ke.Arrays(wrong, Y, batch_size=10, shuffle=False), steps=20)
    assert np.isfinite(trained.train(arrays(), steps=2).evaluate((X, Y))["loss"])
    assert Path(str(trained.latest_checkpoint())).name == "step-2"


class Interrupts(ke.Hook):
    cadence = ke.Cadence(every_steps=7)

    def after_steps(self, run: ke.Run) -> None:
        if run.step == 7:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("same_process", [True, False])
def test_the_same_call_again_completes_what_was_interrupted(same_process: bool, tmp_path: Path) -> None:
    stopped = estimator(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(arrays(epochs=3), hooks=[Interrupts()])
    again = stopped if same_process else estimator(tmp_path)
    assert again.train(arrays(epochs=3)).evaluate((X, Y))["global_step"] == 15
    assert_same_bits(again, estimator(tmp_path / "whole").train(arrays(epochs=3)))
    assert again.train(arrays(epochs=3)).evaluate((X, Y))["global_step"] == 30


class Asks(ke.Hook):
    """Evaluates, predicts and reads in the middle of a run, at steps that are not saved."""

    cadence = ke.Cadence(every_steps=4)

    def __init__(self, asked: ke.Estimator) -> None:
        self.asked = asked
        self.steps: list[int] = []

    def after_steps(self, run: ke.Run) -> None:
        self.steps.append(self.asked.evaluate((X, Y))["global_step"])
        self.asked.predictor()(X)
        list(self.asked.predict(X, checkpoint_path=self.asked.latest_checkpoint()))


@pytest.mark.parametrize("averaged", [False, True])
def test_a_hook_may_evaluate_and_predict_without_changing_the_run(averaged: bool, tmp_path: Path) -> None:
    def made() -> keras.Model:
        return model(optimizer=keras.optimizers.Adam(0.01, use_ema=averaged, ema_momentum=0.5))

    whole = estimator(tmp_path / "whole", made()).train(arrays(), max_steps=LAST)
    asked = estimator(tmp_path / "asked", made(), save_checkpoints_steps=3)
    hook = Asks(asked)
    asked.train(arrays(), hooks=[hook], max_steps=LAST)
    assert hook.steps == [4, 8, 12, 16]
    assert_same_bits(asked, whole)


def test_one_model_under_two_estimators_has_the_state_of_the_one_that_is_used(tmp_path: Path) -> None:
    shared = model()
    first = estimator(tmp_path / "first", shared).train(arrays(), steps=5)
    before = first.evaluate((X, Y))
    second = estimator(tmp_path / "second", shared)
    assert second.evaluate((X, Y))["loss"] == before["loss"]
    after = second.train(arrays(), steps=6).evaluate((X, Y))
    assert first.evaluate((X, Y)) == before
    assert second.evaluate((X, Y)) == after


def test_predictions_of_an_older_checkpoint_do_not_hold_the_model_back(tmp_path: Path) -> None:
    trained = estimator(tmp_path).train(arrays(), steps=3)
    older = trained.latest_checkpoint()
    wanted = list(trained.predict(X))
    trained.train(arrays(), steps=5)
    now = state(trained)
    predictions = trained.predict(X, checkpoint_path=older)
    first = next(predictions)
    np.testing.assert_array_equal(trained.model.get_weights()[0], now["dense/kernel"])
    trained.train(arrays(), steps=1)
    for one, other in zip([first, *predictions], wanted, strict=True):
        np.testing.assert_array_equal(*(next(iter(p.values())) for p in (one, other)))
    assert trained.evaluate((X, Y))["global_step"] == 9


def test_a_checkpoint_from_elsewhere_can_be_used_by_a_model_that_is_not_built(tmp_path: Path) -> None:
    trained = estimator(tmp_path / "trained").train(arrays(), steps=3)
    other = estimator(tmp_path / "other", model(built=False))
    found = other.evaluate((X, Y), checkpoint_path=trained.latest_checkpoint())
    assert found == trained.evaluate((X, Y))
    assert other.evaluate((X, Y))["loss"] != found["loss"]
    assert other.latest_checkpoint() is None


WORKERS = """
import sys; sys.path.insert(0, {tests!r})
from pathlib import Path
from test_going_on import ShufflesItself, estimator
data = ShufflesItself(workers=2, use_multiprocessing=True)
estimator(Path({folder!r})).train(data, steps=7)
"""


@pytest.mark.slow
def test_processes_that_read_data_end_with_the_program(tmp_path: Path) -> None:
    code = WORKERS.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
