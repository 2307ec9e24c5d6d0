"""`add_metrics`: what a function measures equals what Keras measures over all the data, and changes nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError, EstimatorWarning

L = keras.layers
RNG = np.random.RandomState(0)
X = RNG.normal(size=(50, 3)).astype("float32")
Y = (X[:, :1] + RNG.normal(size=(50, 1)) > 0).astype("float32")
DATA = ke.Arrays(X, Y, batch_size=16)  # the last batch has two rows


def classifier(*, run_eagerly: bool = False) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((3,)), L.Dense(4), L.Dropout(0.5), L.Dense(1, "sigmoid", name="out")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], run_eagerly=run_eagerly)
    return model


def estimator(model: keras.Model, folder: Path) -> ke.Estimator:
    return ke.model_to_estimator(model, model_dir=folder, config=ke.RunConfig(progress="off"))


def curve(labels: Any, predictions: Any) -> dict[str, Any]:
    metric = keras.metrics.AUC(name="another")
    metric.update_state(labels, predictions["out"])
    return {"auc": metric}


def distances(labels: Any, predictions: Any, features: Any, config: Any) -> dict[str, Any]:
    far = tf.abs(labels - predictions["out"])
    return {
        "worst": tf.reduce_max(far),
        "mean": far,
        "first": features[:, 0],
        "steps": float(config.save_summary_steps),
    }


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_metrics_and_values_are_over_all_examples_whatever_the_batches(tmp_path: Path, run_eagerly: bool):
    model = classifier(run_eagerly=run_eagerly)
    plain = estimator(model, tmp_path)
    ours = ke.add_metrics(ke.add_metrics(plain, curve), distances)
    expected = plain.evaluate(DATA)
    predicted = model.predict(X, verbose=0)
    auc = keras.metrics.AUC()
    auc.update_state(Y, predicted)
    far = np.abs(Y - predicted)[:, 0]
    worst = np.average([far[k : k + 16].max() for k in range(0, 50, 16)], weights=[16, 16, 16, 2])
    for _ in range(2):  # each evaluation begins anew
        found = ours.evaluate(DATA)
        assert found == pytest.approx(
            {**expected, "auc": float(auc.result()), "worst": worst, "mean": far.mean(), "first": X[:, 0].mean(),
             "steps": 100.0},
            rel=1e-5,
        )  # fmt: skip
        assert plain.evaluate(DATA) == expected


def test_it_is_the_same_estimator_in_all_else(tmp_path: Path):
    plain = estimator(classifier(), tmp_path)
    ours = ke.add_metrics(plain, curve)
    assert (ours.model is plain.model, ours.model_dir, type(ours)) == (True, plain.model_dir, type(plain))
    spec = ke.EvalSpec(DATA, None, every_steps=4)
    metrics, _ = ke.train_and_evaluate(ours, ke.TrainSpec(ke.Arrays(X, Y, epochs=None), 8), spec)
    assert metrics == ours.evaluate(DATA)
    assert {**plain.evaluate(DATA), "auc": metrics["auc"]} == metrics  # and it knows of the training
    assert metrics["global_step"] == 8
    ours.train(DATA, steps=1)
    assert plain.evaluate(DATA)["global_step"] == 9


def test_training_and_checkpoints_are_the_same_with_and_without(tmp_path: Path):
    states = []
    for name in ("plain", "added"):
        made = estimator(classifier(), tmp_path / name)
        made = ke.add_metrics(made, curve) if name == "added" else made
        train = ke.TrainSpec(ke.Arrays(X, Y, seed=1, epochs=None), 6)
        ke.train_and_evaluate(made, train, ke.EvalSpec(DATA, None, every_steps=2))
        states.append(Checkpoints(tmp_path / name).read(6).state)
    assert states[0].keys() == states[1].keys()
    for path, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][path])


def test_outputs_labels_and_weights_come_by_name_as_the_data_give_them(tmp_path: Path):
    x = keras.Input((3,), name="x")
    model = keras.Model(x, {"a": L.Dense(1, name="one")(x), "b": L.Dense(2, name="two")(x)})
    model.compile("adam", {"a": "mse", "b": "mse"})
    labels = {"a": Y, "b": np.hstack([Y, Y])}
    weights = {"a": np.arange(50.0, dtype="float32"), "b": np.ones(50, "float32")}

    def metric_fn(features: Any, labels: Any, predictions: Any, sample_weight: Any) -> dict[str, Any]:
        far = keras.metrics.MeanAbsoluteError()
        far.update_state(labels["a"], predictions["a"], sample_weight["a"])
        return {"far_a": far, "b": predictions["b"][:, 1] - labels["b"][:, 1] + features["x"][:, 0]}

    ours = ke.add_metrics(estimator(model, tmp_path), metric_fn)
    found = ours.evaluate(lambda: tf.data.Dataset.from_tensor_slices(({"x": X}, labels, weights)).batch(16))
    predicted = model.predict(X, verbose=0)
    assert found["far_a"] == pytest.approx(np.average(np.abs(Y - predicted["a"])[:, 0], weights=weights["a"]), rel=1e-5)
    assert found["b"] == pytest.approx((predicted["b"][:, 1] - Y[:, 0] + X[:, 0]).mean(), rel=1e-4, abs=1e-6)


class Own(keras.Model):
    """Has a test_step that tells Keras nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def test_step(self, data: Any) -> dict[str, Any]:
        return {"own": tf.reduce_mean(data[1])}


def test_a_test_step_of_the_users_and_data_without_labels(tmp_path: Path):
    model = Own()
    model.compile("adam", "mse")
    ours = ke.add_metrics(estimator(model, tmp_path), lambda predictions: {"mean": predictions["output_1"][:, 0]})
    found = ours.evaluate(DATA)
    assert found["mean"] == pytest.approx(model.predict(X, verbose=0).mean(), rel=1e-5)
    assert found.keys() == {"own", "mean", "global_step"}


def test_a_name_of_the_models_is_replaced_and_that_is_said_once(tmp_path: Path):
    model = classifier()
    plain = ke.model_to_estimator(
        model, model_dir=tmp_path, config=ke.RunConfig(progress="off"), metric_names_map={"accuracy": "right"}
    )
    ours = ke.add_metrics(plain, lambda labels: {"accuracy": 7.0 + 0 * labels[:, 0]})
    with pytest.warns(EstimatorWarning, match="reports `accuracy` as a function of add_metrics gives it") as warned:
        found = [ours.evaluate(DATA)["right"] for _ in range(2)]
    assert len(warned) == 1
    assert found == [7.0, 7.0]


def nothing() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("accuracy", "no function"),
        (nothing, "arguments none"),
        (lambda labels, logits: {}, "arguments labels, logits"),
    ],
)
def test_what_cannot_be_called_is_refused_at_once(function: Any, what: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="add_metrics cannot call") as caught:
        ke.add_metrics(estimator(classifier(), tmp_path), function)
    assert what in caught.value.found
    with pytest.raises(ConfigError, match="needs an estimator"):
        ke.add_metrics(classifier(), curve)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("returned", [[1.0], {"loss": 1.0}, {3: 1.0}, None])
def test_what_a_function_must_not_return_is_said_with_its_name(returned: Any, tmp_path: Path):
    def my_metrics(labels: Any) -> Any:
        return returned

    with pytest.raises(ConfigError, match="the metric function `my_metrics`"):
        ke.add_metrics(estimator(classifier(), tmp_path), my_metrics).evaluate(DATA)


def test_many_evaluations_call_the_function_once(tmp_path: Path):
    calls = []

    def counted(labels: Any, predictions: Any) -> dict[str, Any]:
        calls.append(1)
        return curve(labels, predictions)

    ours = ke.add_metrics(estimator(classifier(), tmp_path), counted)
    values = {ours.evaluate(DATA)["auc"] for _ in range(5)}
    assert (len(values), len(calls)) == (1, 1)
