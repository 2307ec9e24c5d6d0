"""Evaluations happen when their spec says so, on the weights of the moment, and change nothing in the training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.hooks.reporting import read_scalars

L = keras.layers
X = np.random.RandomState(0).normal(size=(40, 4)).astype("float32")
Y = X[:, :1] * 2
VALID = (X[:13], Y[:13])


def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    made = keras.Sequential([L.Input((4,)), L.Dense(4), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)])
    made.compile("adam", "mse", metrics=["mae"])
    return made


def estimator(folder: Path, **options: Any) -> ke.Estimator:
    options = {"save_checkpoints_steps": 10, "save_summary_steps": None, **options}
    return ke.model_to_estimator(model(), model_dir=folder, config=ke.RunConfig(progress="off", **options))


def data() -> ke.Arrays:
    return ke.Arrays(X, Y, batch_size=10, seed=2, epochs=None)


class Steps(ke.Hook):
    """Notes at which steps evaluations were told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def after_evaluation(self, run: ke.Run, evaluation: ke.Evaluation) -> None:
        assert evaluation.step == run.step == evaluation.metrics["global_step"]
        self.seen.append((evaluation.name, evaluation.step))


def run(folder: Path, spec: ke.EvalSpec, *, steps: int = 25, **options: Any) -> list[int]:
    ours, seen = estimator(folder, **options), Steps()
    ours.train(data(), [ke.EvaluationHook(ours, spec), seen], max_steps=steps)
    return [step for _, step in seen.seen]


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ({"every_steps": 10}, [10, 20, 25]),
        ({"every_steps": 25}, [25]),
        ({"every_steps": 7}, [7, 14, 21, 25]),
        ({"every_epochs": 2}, [8, 16, 24, 25]),
        ({"every_secs": 1000}, [25]),
        ({"throttle_secs": 0}, [10, 20, 25]),
        ({"throttle_secs": 1000}, [10, 25]),
    ],
)
def test_evaluation_happens_when_its_spec_says_so(clock: dict[str, Any], expected: list[int], tmp_path: Path):
    assert run(tmp_path, ke.EvalSpec(VALID, None, **clock)) == expected
    assert list(read_scalars(tmp_path / "eval")) == expected


def test_a_clock_is_independent_of_checkpoints(tmp_path: Path):
    spec = ke.EvalSpec(VALID, None, every_steps=10)
    assert run(tmp_path, spec, save_checkpoints_steps=None, save_checkpoints_secs=None) == [10, 20, 25]
    assert not (tmp_path / "checkpoints").exists()


def test_without_checkpoints_the_last_step_is_evaluated_all_the_same(tmp_path: Path):
    assert run(tmp_path, ke.EvalSpec(VALID), save_checkpoints_steps=None, save_checkpoints_secs=None) == [25]


def test_every_example_counts_once(tmp_path: Path):
    ours = estimator(tmp_path)
    hook = ke.EvaluationHook(ours, ke.EvalSpec(ke.Arrays(*VALID, batch_size=5), None, every_steps=100))
    ours.train(data(), [hook], max_steps=12)
    by_keras = ours.model.evaluate(*VALID, verbose=0, return_dict=True)
    assert hook.metrics["loss"] == pytest.approx(by_keras["loss"], rel=1e-6)
    assert hook.metrics["mae"] == pytest.approx(by_keras["mae"], rel=1e-6)


def test_the_training_is_the_same_with_and_without_evaluations(tmp_path: Path):
    spec = ke.EvalSpec(VALID, None, every_steps=3)
    measured, plain = estimator(tmp_path / "measured"), estimator(tmp_path / "plain")
    measured.train(data(), [ke.EvaluationHook(measured, spec)], max_steps=25)
    plain.train(data(), max_steps=25)
    for name in plain.get_variable_names():
        np.testing.assert_array_equal(plain.get_variable_value(name), measured.get_variable_value(name))


def test_the_plan_is_said_and_what_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "keras_estimator"):
        run(tmp_path / "1", ke.EvalSpec(VALID, name="valid", every_steps=10))
        run(tmp_path / "2", ke.EvalSpec(VALID, None, throttle_secs=500))
        run(tmp_path / "3", ke.EvalSpec(VALID, None, name="x", every_epochs=3))
    assert "evaluate `valid` on 100 batches at most every 10 steps, first at 10, last at 25" in caplog.text
    assert "evaluate the model after each checkpoint, but not within 500 s of the last time, last at 25" in caplog.text
    assert "evaluate `x` every 3 passes over the data, last at 25" in caplog.text
    assert "evaluation of the model skipped at step 20: the last one was 0 s ago, throttle_secs is 500" in caplog.text


def test_an_evaluation_that_fails_must_not_cost_steps(tmp_path: Path):
    def broken() -> Any:
        raise RuntimeError("no such table")

    ours = estimator(tmp_path)
    with pytest.raises(RuntimeError, match="no such table"):
        ours.train(data(), [ke.EvaluationHook(ours, ke.EvalSpec(broken, every_steps=7))], max_steps=25)
    assert Path(str(ours.latest_checkpoint())).name == "step-7"


def test_before_the_first_step_if_asked_for(tmp_path: Path):
    ours, seen = estimator(tmp_path), Steps()
    hook = ke.EvaluationHook(ours, ke.EvalSpec(VALID, None, every_steps=20), at_start=True)
    ours.train(data(), [hook, seen], max_steps=20)
    assert seen.seen == [("", 0), ("", 20)]


def test_a_loss_that_is_nan_is_not_evaluated(tmp_path: Path):
    ours, seen = estimator(tmp_path), Steps()
    hooks = [ke.EvaluationHook(ours, ke.EvalSpec(VALID, every_steps=1)), seen, ke.NanGuard(fail_on_nan_loss=False)]
    with pytest.warns(ke.EstimatorWarning, match="step 1 is not saved"):
        ours.train(ke.Arrays(X, Y * np.nan, batch_size=10), hooks)
    assert seen.seen == []


def test_what_was_measured_is_in_the_checkpoint_of_that_step(tmp_path: Path):
    run(tmp_path, ke.EvalSpec(VALID, None, throttle_secs=0))
    again = ke.EvaluationHook(ours := estimator(tmp_path), ke.EvalSpec(VALID, None, throttle_secs=0))
    ours.train(data(), [again], max_steps=25)  # nothing is left to do
    assert again.metrics["global_step"] == 25
    assert again.metrics == ours.evaluate(VALID)
    assert list(read_scalars(tmp_path / "eval")) == [10, 20, 25]


def test_a_run_that_was_killed_before_its_last_evaluation_makes_up_for_it(tmp_path: Path):
    ours = estimator(tmp_path)
    ours.train(data(), max_steps=25)  # all trained and saved, nothing evaluated
    seen = Steps()
    again = estimator(tmp_path)
    hook = ke.EvaluationHook(again, ke.EvalSpec(VALID, None))
    again.train(data(), [hook, seen], max_steps=25)
    assert seen.seen == [("", 25)]
    assert hook.metrics == ours.evaluate(VALID)
