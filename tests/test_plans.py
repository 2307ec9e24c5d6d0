"""Each model is run by a plan that can run it, and where that is not the one asked for, a line says why."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.engines.tensorflow.plans import Plans

L = keras.layers
X = np.random.RandomState(0).normal(size=(40, 3)).astype("float32")
QUIET = ke.RunConfig(progress="off", save_summary_steps=None, log_step_count_steps=None)


def model(*layers: Any, **options: Any) -> Any:
    made = keras.Sequential([L.Input((3,)), *layers, L.Dense(1)])
    made.compile("sgd", "mse", **options)
    return made


def test_the_model_decides_unless_a_plan_is_asked_for() -> None:
    assert Plans(model(), "auto", is_shared=False).of() == "graph"
    assert Plans(model(jit_compile=True), "auto", is_shared=False).of() == "step"
    assert Plans(model(run_eagerly=True), "auto", is_shared=False).of() == "eager"
    assert Plans(model(), "stacked", is_shared=False).of() == "stacked"
    assert Plans(model(), "stacked", is_shared=True).of() == "graph"
    assert Plans(model(), "eager", is_shared=True).of() == "eager"


def test_what_is_refused_is_refused_for_that_mode_until_the_model_is_compiled_anew() -> None:
    made = model()
    plans = Plans(made, "stacked", is_shared=False)
    plans.refuse(ke.ModeKeys.EVAL, "a reason")
    assert (plans.of(ke.ModeKeys.TRAIN), plans.of(ke.ModeKeys.EVAL)) == ("stacked", "graph")
    made.compile("sgd", "mse")
    assert plans.of(ke.ModeKeys.EVAL) == "stacked"


@pytest.mark.parametrize("plan", ["step", "stacked"])
def test_a_model_with_python_in_it_runs_by_the_graph_and_a_line_says_why(
    tmp_path: Path, plan: Any, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def in_python(x: Any) -> Any:
        return tf.ensure_shape(tf.py_function(lambda y: calls.append(1) or y, [x], tf.float32), x.shape)

    estimator = ke.model_to_estimator(model(L.Lambda(in_python)), model_dir=tmp_path, config=QUIET.replace(plan=plan))
    with caplog.at_level(logging.INFO, "keras_estimator"):
        estimator.train(ke.Arrays(X, X[:, :1], batch_size=10), steps=3)
        estimator.evaluate((X, X[:, :1]))
    said = [record.getMessage() for record in caplog.records if "plan=" in record.getMessage()]
    why = "XLA cannot compile EagerPyFunc"
    assert said == [
        f'plan="{plan}" is not for the training, which runs by "graph": {why}',
        f'plan="{plan}" is not for the evaluation, which runs by "graph": {why}',
    ]
    assert len(calls) == 3 + 2
    assert Checkpoints(tmp_path).read(3).run["plan"] == "graph"
