"""The newest state is in the model or comes there; checkpoints learn what hooks remember, and keep what must stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import NoCheckpointError

L = keras.layers
X = np.random.RandomState(0).normal(size=(40, 3)).astype("float32")
DATA = ke.Arrays(X, X[:, :1], batch_size=10, seed=2, epochs=None)


def estimator(folder: Path, **options: Any) -> ke.Estimator:
    keras.utils.set_random_seed(3)
    made = keras.Sequential([L.Input((3,)), L.Dense(4), L.BatchNormalization(), L.Dropout(0.2), L.Dense(1)])
    made.compile("adam", "mse")
    options = {"save_checkpoints_steps": 5, "save_summary_steps": None, **options}
    return ke.model_to_estimator(made, model_dir=folder, config=ke.RunConfig(progress="off", **options))


class Counts(ke.Hook):
    cadence = ke.Cadence(every_steps=1)

    def __init__(self) -> None:
        self.count = 0
        self.noise = np.zeros(3)

    def after_steps(self, run: ke.Run) -> None:
        self.count += 1
        self.noise = np.random.RandomState(self.count).normal(size=3)

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "noise": self.noise}

    def restore(self, state: dict[str, Any]) -> None:
        self.count, self.noise = state["count"], state["noise"]

    def kept_steps(self) -> set[int]:
        return {5}


def test_what_a_hook_remembers_goes_through_a_restart_and_is_no_variable_of_the_model(tmp_path: Path):
    estimator(tmp_path).train(DATA, [Counts()], max_steps=7)
    again, counts = estimator(tmp_path), Counts()
    again.train(DATA, [counts], max_steps=12)
    assert counts.count == 12
    np.testing.assert_array_equal(counts.noise, np.random.RandomState(12).normal(size=3))
    assert not [name for name in again.get_variable_names() if "@" in name]
    evaluated = again.evaluate((X, X[:, :1]), checkpoint_path=tmp_path / "checkpoints" / "step-7")
    assert evaluated["global_step"] == 7


def test_a_checkpoint_that_a_hook_needs_stays(tmp_path: Path):
    ours = estimator(tmp_path, keep_checkpoint_max=1)
    ours.train(DATA, [Counts()], max_steps=20)
    assert [checkpoint.step for checkpoint in Checkpoints(tmp_path).list()] == [5, 20]


def test_a_hook_asks_for_a_checkpoint_and_gets_one_when_all_were_called(tmp_path: Path):
    class Wants(ke.Hook):
        cadence = ke.Cadence(every_steps=3)

        def after_steps(self, run: ke.Run) -> None:
            run.save_wanted = True

    counts = Counts()
    estimator(tmp_path, save_checkpoints_steps=100).train(DATA, [Wants(), counts], max_steps=7)
    states = {each.step: Checkpoints(tmp_path).read(each).run["hooks"] for each in Checkpoints(tmp_path).list()}
    assert sorted(states) == [0, 3, 6, 7]
    assert [states[step]["states"]["Counts"]["count"] for step in (3, 6, 7)] == [3, 6, 7]


def test_saving_again_without_a_step_writes_only_what_hooks_remember(tmp_path: Path):
    class SavesTwice(ke.Hook):
        cadence = ke.Cadence(every_steps=4)

        def __init__(self) -> None:
            self.memory: dict[str, Any] = {}

        def after_steps(self, run: ke.Run) -> None:
            path = run.save()
            before = (path / "state.safetensors").stat()
            self.memory = {"at": run.step}
            assert run.save() == path
            assert (path / "state.safetensors").stat() == before

        def state(self) -> dict[str, Any]:
            return self.memory

    estimator(tmp_path).train(DATA, [SavesTwice()], max_steps=4)
    restored = Checkpoints(tmp_path).read(4)  # verifies the file as it is now
    assert list(restored.run["hooks"]["states"].values()) == [{"at": 4}]


def test_what_a_hook_remembers_last_is_what_comes_back_arrays_too(tmp_path: Path):
    class SavesTwice(Counts):
        def after_steps(self, run: ke.Run) -> None:
            super().after_steps(run)
            run.save()
            self.noise = np.full(3, 7.0)
            run.save()

    estimator(tmp_path).train(DATA, [SavesTwice()], max_steps=2)
    again = SavesTwice()
    estimator(tmp_path).train(DATA, [again], max_steps=2)
    np.testing.assert_array_equal(again.noise, np.full(3, 7.0))


def test_the_weights_of_a_checkpoint_come_back_without_the_rest(tmp_path: Path):
    ours = estimator(tmp_path)
    ours.train(DATA, max_steps=5)
    at_5 = {name: ours.get_variable_value(name) for name in ours.get_variable_names()}

    class PutsBack(ke.Hook):
        def end(self, run: ke.Run) -> None:
            run.restore_weights(5)
            run.saved_step = None

    ours.train(DATA, [PutsBack()], max_steps=10)
    again = estimator(tmp_path)
    for name in again.get_variable_names():
        is_weight = name.startswith(("dense", "batch_normalization"))
        same = np.array_equal(again.get_variable_value(name), at_5[name])
        assert same == is_weight or name in ("optimizer/learning_rate",), name


def test_weights_of_a_step_without_a_checkpoint_are_an_error(tmp_path: Path):
    class PutsBack(ke.Hook):
        def end(self, run: ke.Run) -> None:
            run.restore_weights(3)

    with pytest.raises(NoCheckpointError, match="of step 3"):
        estimator(tmp_path).train(DATA, [PutsBack()], max_steps=10)


class AddsAVariable(ke.Hook):
    cadence = ke.Cadence(every_steps=7)

    def after_steps(self, run: ke.Run) -> None:
        run.model.layers[0].seen = tf.Variable(float(run.step), trainable=False)


def test_what_a_hook_gives_the_model_is_in_the_next_checkpoint(tmp_path: Path):
    """Variables are not looked for again at each checkpoint while nothing but compiled steps runs."""
    data = ke.Arrays(X, X[:, :1], batch_size=10, epochs=None)
    estimator(tmp_path, keep_checkpoint_max=None).train(data, [AddsAVariable()], max_steps=20)
    names = {each.step: Checkpoints(tmp_path).read(each.step).state for each in Checkpoints(tmp_path).list()}
    seen = {step: float(state["dense/seen"]) for step, state in names.items() if "dense/seen" in state}
    assert sorted(names) == [0, 5, 10, 15, 20]
    assert seen == {10: 7.0, 15: 14.0, 20: 14.0}
