"""A model with several outputs is reported as `fit` and `evaluate` of Keras do: each loss and metric by its output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.hooks.reporting import read_scalars

L = keras.layers
ROWS, SIZE = 24, 8
X = np.random.RandomState(0).normal(size=(ROWS, 3)).astype("float32")
Y = {"far": X[:, :1] * 2, "sign": (X[:, 1:2] > 0).astype("float32")}
WEIGHTS = {"far": np.linspace(0, 2, ROWS).astype("float32"), "sign": np.ones(ROWS, "float32")}
LOGGED = ke.RunConfig(progress="off", log_step_count_steps=3, save_summary_steps=3)


def spread(y_true: Any, y_pred: Any) -> Any:
    """Return a metric of each example: a function as `compile` takes it."""
    return keras.ops.max(keras.ops.abs(y_true - y_pred), axis=-1)


def functional(*, is_dict: bool) -> keras.Model:
    x = keras.Input((3,), name="x")
    far, sign = L.Dense(1, name="far")(x), L.Dense(1, activation="sigmoid", name="sign")(x)
    return keras.Model(x, {"far": far, "sign": sign} if is_dict else [far, sign])


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = L.Dense(1), L.Dense(1, activation="sigmoid")

    def call(self, x: Any) -> dict[str, Any]:
        return {"far": self.one(x), "sign": self.other(x)}


MODELS: dict[str, Callable[[], keras.Model]] = {
    "functional": lambda: functional(is_dict=False),
    "functional giving a dict": lambda: functional(is_dict=True),
    "subclassed giving a dict": Subclassed,
}


def compiled(kind: str, *, run_eagerly: bool = False) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = MODELS[kind]()
    model.compile(
        keras.optimizers.SGD(0.1),
        loss={"far": "mse", "sign": "binary_crossentropy"},
        loss_weights={"far": 0.5, "sign": 2.0},
        metrics={"far": [spread], "sign": ["accuracy"]},
        weighted_metrics={"far": ["mae"]},
        run_eagerly=run_eagerly,
    )
    return model


def in_form(kind: str, by_name: dict[str, Any]) -> Any:
    """Return labels or weights as `fit` takes them for this model."""
    return list(by_name.values()) if kind == "functional" else by_name


@pytest.mark.parametrize("kind", MODELS)
def test_each_loss_and_metric_is_reported_by_its_output(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "keras_estimator")
    y, weights = in_form(kind, Y), in_form(kind, WEIGHTS)
    peer = compiled(kind, run_eagerly=True)  # which takes less time than tracing it
    fitted = peer.fit(X, y, SIZE, sample_weight=weights, shuffle=False, verbose=0).history
    measured = peer.evaluate(X, y, SIZE, sample_weight=weights, return_dict=True, verbose=0)
    names = {"loss", "far_loss", "sign_loss", "far_spread", "far_mae", "sign_accuracy"}
    assert set(measured) == set(fitted) == names

    ours = ke.model_to_estimator(compiled(kind), model_dir=tmp_path, config=LOGGED)
    data = ke.Arrays(X, y, weights, batch_size=SIZE, shuffle=False)
    logged: dict[str, Any] = {}

    class Note(ke.Hook):
        cadence = ke.Cadence(every_steps=3)

        def after_steps(self, run: ke.Run) -> None:
            logged.update(run.metrics)

    ours.train(data, [Note()], max_steps=3)
    found = ours.evaluate(data)
    assert logged == pytest.approx({name: values[0] for name, values in fitted.items()}, rel=1e-5)
    assert {name: found[name] for name in names} == pytest.approx(measured, rel=1e-5)
    assert found.keys() == {*names, "global_step"}

    trained, evaluated = read_scalars(tmp_path / "train")[3], read_scalars(tmp_path / "eval")[3]
    assert {name: trained[name] for name in names} == pytest.approx(logged)
    assert evaluated == pytest.approx(measured, rel=1e-5)  # the same tags, in a run beside the other
    assert trained.keys() - evaluated.keys() == {"learning_rate", "steps_per_sec"}
    for begin in ("step 3: ", "evaluated at step 3: "):
        (said,) = [record.message for record in caplog.records if record.message.startswith(begin)]
        assert all(f"{name} " in said for name in names), said


def test_an_output_without_a_loss_needs_no_labels(tmp_path: Path) -> None:
    model = functional(is_dict=True)
    model.compile("sgd", loss={"far": "mse"}, metrics={"far": [spread]})
    ours = ke.model_to_estimator(model, model_dir=tmp_path, config=LOGGED)
    found = ours.evaluate((X, {"far": Y["far"]}))
    apart = np.abs(model.predict(X, verbose=0)["far"] - Y["far"])
    assert found["far_spread"] == pytest.approx(float(apart.mean()), rel=1e-5)
    assert found["loss"] == pytest.approx(float((apart**2).mean()), rel=1e-5)
