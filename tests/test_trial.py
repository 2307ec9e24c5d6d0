"""A trial says what a model holds, answers and learns, and survives as JSON."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np

from keras_estimator.model.computation.trial import Trial, TrialInputs, try_out

L = keras.layers


def inputs(x: Any, data: Any) -> TrialInputs:
    return TrialInputs((x, x + 1), data, None)


def test_it_does_what_the_model_does() -> None:
    model = keras.Sequential([L.Input((3,)), L.Dense(2, dtype="bfloat16"), L.Dense(1, dtype="float32")])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 1), "float32")
    expected = model.predict(x, verbose=0), model.predict(x + 1, verbose=0)
    trial = try_out(model, inputs(x, (x, y)))
    for place, answer in enumerate(expected):
        np.testing.assert_array_equal(trial.answers[f"batch {place}, output 0"], answer)
    assert trial.logs["log `loss`"] > 0
    assert trial.state["dense/kernel"] != trial.trained["dense/kernel"]
    assert trial.state["dense/kernel"].startswith("bfloat16 (3, 2) ")
    assert trial.not_tried == {}
    assert trial.fingerprint is not None


def test_it_survives_as_json() -> None:
    words = keras.Input((), dtype="string")
    model = keras.Model(words, [L.Lambda(lambda x: x, output_shape=())(words), L.StringLookup(vocabulary=["a"])(words)])
    trial = try_out(model, TrialInputs((np.array(["a", "b"], object), np.array(["c"], object)), None, None))
    arrived = Trial.from_json(json.loads(json.dumps(trial.to_json())))
    assert arrived.state == trial.state
    assert arrived.fingerprint == trial.fingerprint
    assert list(arrived.answers["batch 0, output 0"]) == [b"a", b"b"]
    for name, answer in trial.answers.items():
        assert arrived.answers[name].dtype == answer.dtype  # of texts, too: it is compared with what never was JSON
        np.testing.assert_array_equal(arrived.answers[name], answer)
    assert "not compiled" in trial.not_tried["train step"]


def test_each_part_of_an_answer_has_a_name() -> None:
    x = keras.Input((3,))
    trial = try_out(
        keras.Model(x, {"whole": x, "parts": {"one": x + 1, "two": [x + 2]}}), inputs(np.ones((2, 3)), None)
    )
    found = {name: answer[0, 0] for name, answer in trial.answers.items() if name.startswith("batch 0")}
    assert found == {
        "batch 0, output `whole`": 1,
        "batch 0, output `parts/one`": 2,
        "batch 0, output `parts/two/0`": 3,
    }


def test_what_cannot_be_tried_is_said() -> None:
    class Eager(keras.Model):
        def call(self, x: Any) -> Any:
            return x if float(x[0, 0]) > 0 else -x

    model = Eager()
    model.compile(run_eagerly=True)
    x = np.full((2, 3), -1.0, "float32")
    trial = try_out(model, TrialInputs((x, x), None, (x, x)))
    assert trial.fingerprint is None
    assert "test_trial.py" in trial.not_tried["fingerprint"]
    assert "give a batch" in trial.not_tried["train step"]
    np.testing.assert_array_equal(trial.answers["batch 0, output 0"], -x)
