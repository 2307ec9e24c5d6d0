"""`add_metrics`: what a function measures equals what Keras measures over all the data, and changes nothing else."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import brier_score_loss

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError

L = keras.layers
QUIET = ke.RunConfig(progress="off")
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
    return ke.model_to_estimator(model, model_dir=folder, config=QUIET)


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


@pytest.mark.parametrize("plan", ["step", "eager"])  # most others here are of "graph"
def test_metrics_and_values_are_over_all_examples_whatever_the_batches(tmp_path: Path, plan: str):
    model = classifier(run_eagerly=plan == "eager")
    plain = ke.model_to_estimator(model, model_dir=tmp_path, config=QUIET.replace(plan=plan))
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


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_function_that_needs_values_runs_in_python(
    tmp_path: Path, run_eagerly: bool, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "keras_estimator")
    model = classifier(run_eagerly=run_eagerly)
    outside = keras.metrics.AUC()
    outside.update_state(Y, 1 - Y)

    def on_values(labels: Any, predictions: Any) -> dict[str, Any]:
        labels, scores = labels.numpy(), predictions["out"].numpy()
        inside, more = keras.metrics.AUC(), keras.metrics.F1Score()
        for metric in (inside, more, outside):
            metric.update_state(labels, scores)
        return {"auc": inside, "f1": more, "outside": outside, "brier": brier_score_loss(labels[:, 0], scores[:, 0])}

    ours = ke.add_metrics(estimator(model, tmp_path), on_values)
    found = [ours.evaluate(DATA) for _ in range(2)]
    scores = model.predict(X, verbose=0)
    auc, more = keras.metrics.AUC(), keras.metrics.F1Score()
    auc.update_state(Y, scores)
    more.update_state(Y, scores)
    assert found[0] == found[1]
    assert (found[0]["auc"], found[0]["outside"]) == pytest.approx((float(auc.result()),) * 2, rel=1e-5)
    assert found[0]["f1"] == pytest.approx(float(more.result()[0]), rel=1e-5)
    assert found[0]["brier"] == pytest.approx(np.mean((Y - scores) ** 2), rel=1e-5)
    said = "`on_values` runs in Python after each batch, as it cannot be traced (AttributeError: "
    assert caplog.text.count(said) == (0 if run_eagerly else 1)


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
        train = ke.TrainSpec(ke.Arrays(X, Y, seed=1, epochs=None), 4)
        ke.train_and_evaluate(made, train, ke.EvalSpec(DATA, None, every_steps=2))
        states.append(Checkpoints(tmp_path / name).read(4).state)
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


def test_columns_that_the_model_does_not_take_are_features_too(tmp_path: Path):
    x = keras.Input((3,), name="x")
    model = keras.Model(x, L.Dense(1, name="out")(x))
    model.compile("sgd", "mse")

    def weighed(labels: Any, predictions: Any, features: Any) -> dict[str, Any]:
        far = keras.metrics.MeanAbsoluteError()
        far.update_state(labels, predictions["out"], sample_weight=features["weight"])
        return {"far": far, "named": keras.ops.cast(features["name"] == b"b", "float32")}

    made = ke.model_to_estimator(model, model_dir=tmp_path, config=QUIET.replace(plan="step"))
    weight, name = np.arange(50.0, dtype="float32"), np.array([b"a", b"b", b"b", b"b", b"b"] * 10)
    found = ke.add_metrics(made, weighed).evaluate(ke.Arrays({"x": X, "weight": weight, "name": name}, Y))
    far = np.abs(Y - model.predict(X, verbose=0))[:, 0]
    assert (found["far"], found["named"]) == pytest.approx((np.average(far, weights=weight), 0.8), rel=1e-5)


class Own(keras.Model):
    """Counts its calls, and has steps that tell Keras nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.mean = L.Dense(1), keras.metrics.Mean(name="own")
        self.calls_so_far = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        self.calls_so_far.assign_add(1.0)
        return self.dense(x) + self.calls_so_far

    def test_step(self, data: Any) -> dict[str, Any]:
        self.mean.update_state(self(data[0]))
        return {"own": self.mean.result()}

    def predict_step(self, data: Any) -> Any:
        return {"doubled": 2 * self(data[0])}


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_steps_of_the_users_are_not_disturbed(tmp_path: Path, run_eagerly: bool):
    model = Own()
    model.compile("adam", "mse", run_eagerly=run_eagerly)
    plain = estimator(model, tmp_path)
    expected = plain.evaluate(DATA)
    found = ke.add_metrics(plain, lambda predictions: {"mean": predictions["doubled"][:, 0]}).evaluate(DATA)
    assert found == pytest.approx({**expected, "mean": 2 * expected["own"]}, rel=1e-5)
    assert float(model.calls_so_far) == 0


def test_data_without_labels_and_an_evaluation_within_another(tmp_path: Path):
    model = keras.Sequential([L.Input((3,)), L.Dense(1, name="out", activity_regularizer="l2")])
    model.compile("adam")
    plain = estimator(model, tmp_path)
    within: list[float] = []

    class Evaluates(ke.Hook):
        cadence = ke.Cadence(every_steps=1)

        def after_steps(self, run: ke.Run) -> None:
            within.append(plain.evaluate(lambda: tf.data.Dataset.from_tensor_slices((X,)).batch(25))["loss"])

    ours = ke.add_metrics(plain, lambda labels, predictions: {"no_labels": float(labels is None)})
    found = ours.evaluate(ke.Arrays(X), hooks=[Evaluates()])
    assert (found["no_labels"], len(within)) == (1.0, 2)
    assert found["loss"] == pytest.approx(plain.evaluate(ke.Arrays(X))["loss"])


class Several(keras.metrics.Metric):
    def __init__(self) -> None:
        super().__init__()
        self.sum, self.count = keras.metrics.Sum(), keras.metrics.Sum()

    def update_state(self, values: Any) -> None:
        self.sum.update_state(values)
        self.count.update_state(keras.ops.ones_like(values))

    def result(self) -> dict[str, Any]:
        return {"sum": self.sum.result(), "count": self.count.result()}


def test_arguments_with_values_of_their_own_and_metrics_of_several_results(tmp_path: Path):
    def above(labels: Any, predictions: Any, threshold: float, power: int = 1) -> dict[str, Any]:
        several = Several()
        several.update_state(labels)
        return {"above": tf.cast(predictions["out"] > threshold, "float32") ** power, "labels": several}

    model = classifier()
    found = ke.add_metrics(estimator(model, tmp_path), functools.partial(above, threshold=0.3)).evaluate(DATA)
    assert found["above"] == pytest.approx((model.predict(X, verbose=0) > 0.3).mean(), rel=1e-5)
    assert (found["labels_sum"], found["labels_count"]) == (Y.sum(), 50)


@pytest.mark.parametrize("name", ["accuracy", "right", "loss", "ones"])
def test_a_name_that_something_else_has_is_refused(name: str, tmp_path: Path):
    renaming = {"accuracy": "right"} if name == "right" else None
    plain = ke.model_to_estimator(classifier(), model_dir=tmp_path, config=QUIET, metric_names_map=renaming)
    ones = ke.add_metrics(plain, lambda labels: {"ones": labels[:, 0]})
    assert ones.evaluate(DATA)["ones"] == pytest.approx(Y.mean())
    with pytest.raises(ConfigError) as caught:
        ke.add_metrics(ones, lambda labels: {name: labels[:, 0]}).evaluate(DATA)
    assert name in caught.value.found


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


@pytest.mark.parametrize(
    "returned",
    [
        lambda labels: [1.0],
        lambda labels: None,
        lambda labels: {3: 1.0},
        lambda labels: {"text": "high"},
        lambda labels: {"by_class": tf.zeros(3)},
        lambda labels: {"a_pair": (tf.reduce_mean(labels), tf.no_op())},
        lambda labels: {"so_far": keras.metrics.AUC()(labels, labels)},
    ],
)
def test_what_a_function_must_not_return_is_said_with_its_name(returned: Any, tmp_path: Path):
    def my_metrics(labels: Any) -> Any:
        return returned(labels)

    with pytest.raises(ConfigError, match="the metric function `my_metrics`"):
        ke.add_metrics(estimator(classifier(), tmp_path), my_metrics).evaluate(DATA)


def test_many_evaluations_trace_the_model_and_the_function_once(tmp_path: Path):
    calls: list[str] = []

    class Noted(L.Layer):
        def call(self, x: Any) -> Any:
            calls.append("model")
            return x

    def counted(labels: Any, predictions: Any) -> dict[str, Any]:
        calls.append("function")
        return curve(labels, predictions)

    model = keras.Sequential([L.Input((3,)), Noted(), L.Dense(1, "sigmoid", name="out")])
    model.compile("adam", "binary_crossentropy")
    plain = estimator(model, tmp_path)
    plain.evaluate(DATA)
    calls.clear()
    ours = ke.add_metrics(plain, counted)
    values = {ours.evaluate(DATA)["auc"] for _ in range(5)}
    plain.evaluate(DATA)
    assert (len(values), calls) == (1, ["model", "function"])
