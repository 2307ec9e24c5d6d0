"""What an engine promises, beyond the numbers that tests/test_parity.py compares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.engines.engine import engine_for

L = keras.layers
X = np.random.RandomState(0).normal(size=(40, 3)).astype("float32")
QUIET = ke.RunConfig(progress="off")


def model(**options) -> keras.Model:
    keras.utils.set_random_seed(0)
    built = keras.Sequential([L.Input((3,)), L.Dense(4, activation="tanh"), L.Dense(1)])
    built.compile(optimizer="adam", loss="mse", **options)
    return built


def test_the_plan_follows_from_the_model_and_can_be_pinned() -> None:
    assert engine_for(model(), QUIET).plan == "graph"
    assert engine_for(model(jit_compile=True), QUIET).plan == "step"
    assert engine_for(model(run_eagerly=True), QUIET).plan == "eager"
    assert engine_for(model(), QUIET.replace(plan="step")).plan == "step"


def test_all_plans_train_to_the_same_weights(tmp_path: Path) -> None:
    found = {}
    for plan in ("graph", "step", "eager"):
        estimator = ke.model_to_estimator(model(), model_dir=tmp_path / plan, config=QUIET.replace(plan=plan))
        found[plan] = estimator.train((X, X[:, :1]), steps=20).model.get_weights()
    for plan in ("step", "eager"):
        for one, other in zip(found[plan], found["graph"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)  # XLA adds in another order


class Counting(L.Layer):
    """Counts how often it is called in Python: once when a model is made of it, and once for each trace."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x


@pytest.mark.parametrize("metrics", [[], ["accuracy"], [keras.metrics.MeanSquaredError()]], ids=["no", "named", "own"])
@pytest.mark.parametrize("is_sequential", [True, False])
def test_training_traces_a_built_model_once(tmp_path: Path, metrics: list, is_sequential: bool) -> None:
    counting, x = Counting(), keras.Input((3,))
    layers = [L.Dense(4), counting, L.Dense(1, activation="sigmoid")]
    given = keras.Sequential([x, *layers])
    if not is_sequential:
        given = keras.Model(x, given(x))
    given.compile("adam", "binary_crossentropy", metrics=metrics)
    estimator = ke.model_to_estimator(given, model_dir=tmp_path, config=QUIET)
    before = counting.calls
    estimator.train((X, (X[:, :1] > 0) * 1.0), steps=2)
    assert counting.calls - before == 1


def test_a_model_that_is_compiled_anew_gets_a_loop_of_its_own(tmp_path: Path) -> None:
    given = model()
    estimator = ke.model_to_estimator(given, model_dir=tmp_path, config=QUIET)
    estimator.train((X, X[:, :1]), steps=2)
    assert estimator.evaluate((X, X[:, :1]))["loss"] == pytest.approx(given.evaluate(X, X[:, :1], verbose=0))
    given.compile(given.optimizer, "mae")
    assert estimator.evaluate((X, X[:, :1]))["loss"] == pytest.approx(given.evaluate(X, X[:, :1], verbose=0))
    estimator.train((X, X[:, :1]), steps=2)


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ke.ConfigError, match="no engine for the backend `jax`"):
        engine_for(model(), QUIET)


MANY = """
import resource, sys, logging
logging.getLogger("keras_estimator").addHandler(logging.NullHandler())
import keras, numpy as np, keras_estimator as ke, tensorflow as tf

class Traced(keras.layers.Layer):
    count = 0
    def call(self, x):
        type(self).count += 1
        return x

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

x = np.random.RandomState(0).normal(size=(50, 8)).astype("float32")
model = keras.Sequential([keras.Input((8,)), Traced(), keras.layers.Dense(16), keras.layers.Dense(1)])
model.compile("adam", "mse")
estimator = ke.model_to_estimator(model, model_dir=sys.argv[1], config=ke.RunConfig(progress="off"))
estimator.train((x, x[:, :1]), steps=5)
predict = estimator.predictor()
pipeline = lambda: tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(16)

def use(times):
    for number in range(times):
        estimator.evaluate((x, x[:, :1]) if number % 2 else pipeline)
        predict(x[: 1 + number % 50])
        list(estimator.predict(x[:3]))

use(200)
before, traces = resident(), Traced.count
use(1000)
print((resident() - before) / before, Traced.count - traces)
"""


@pytest.mark.slow
def test_a_thousand_evaluations_and_predictions_keep_memory_flat_and_trace_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MANY, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    growth, traces = done.stdout.split()
    assert float(growth) < 0.02
    assert int(traces) == 0


def test_numpy_in_an_eager_model_has_its_gradient(tmp_path: Path) -> None:
    def trained(function, folder: str):
        keras.utils.set_random_seed(0)
        given = keras.Sequential([L.Input((3,)), L.Dense(4), L.Lambda(function), L.Dense(1)])
        given.compile("sgd", "mse", run_eagerly=True)
        estimator = ke.model_to_estimator(given, model_dir=tmp_path / folder, config=QUIET)
        return estimator.train((X, X[:, :1]), steps=6).model.get_weights()

    ke.numpy_on_tensors()
    for one, other in zip(trained(lambda x: np.sin(x), "numpy"), trained(keras.ops.sin, "keras"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
