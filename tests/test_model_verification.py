"""`verify` compares a model with its copy in a fresh process, and each kind of difference is found."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.errors import BlueprintError
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.blueprint import Blueprint
from keras_estimator.model.computation.trial import Trial
from keras_estimator.model.verification import Difference, Verification, differences, verify

L = keras.layers
CHECKS = ("state", "answers", "train step", "fingerprint")


class KnowsItsProcess(L.Layer):
    def call(self, x: Any) -> Any:
        return x * (1.0 + os.getpid() / 2.0**22)


class Hidden(L.Layer):
    """A layer without `get_config`, with a variable that Keras does not know."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by, self.seen = by, tf.Variable(2.0, trainable=False)

    def call(self, x: Any) -> Any:
        self.seen.assign_add(1.0)
        return x * self.by + self.seen


def network(*between: Any) -> Any:
    model = keras.Sequential([L.Input((6,)), L.Dense(8), *between, L.Dropout(0.2), L.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def state(model: Any) -> dict[str, bytes]:
    return {held.path: held.variable.numpy().tobytes() for held in holdings(model)}


@pytest.mark.slow
def test_a_model_that_travels_passes_and_is_left_as_it_was() -> None:
    model = network(Hidden(3.0), L.Lambda(lambda x: tf.sin(x)))
    before = state(model)
    found = Blueprint.of(model).verify()
    assert found == Verification((), CHECKS, {})
    assert found.passed
    assert str(found).splitlines() == [f"{check}: the same in a fresh process" for check in CHECKS]
    assert state(model) == before
    assert not model.optimizer.built


@pytest.mark.slow
def test_the_fresh_process_rounds_as_this_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow has read the environment long before, here; oneDNN's matrix products round otherwise."""
    here = "0" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0" else "1"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", here)
    assert Blueprint.of(network(L.Lambda(lambda x: tf.sin(x)))).verify().passed


@pytest.mark.slow
def test_what_depends_on_the_process_is_found_and_its_layer_named() -> None:
    found = Blueprint.of(network(KnowsItsProcess())).verify()
    assert {one.check for one in found.differences} == {"answers", "train step", "fingerprint"}
    layers = [one.where for one in found.differences if one.check == "fingerprint"]
    assert layers == ["inference: `knows_its_process`", "training: `knows_its_process`"]
    assert "the largest difference is" in str(found)


@pytest.mark.slow
def test_a_copy_with_other_values_is_found() -> None:
    model = network()
    data = Blueprint.of(model).to_bytes()
    model.layers[0].bias.assign_add(np.ones(8))
    found = verify(model, data, None)
    assert [one.where for one in found.differences if one.check == "state"] == ["dense/bias"]
    assert {one.check for one in found.differences} == {"state", "answers", "train step"}


@pytest.mark.slow
def test_a_copy_that_does_not_run_elsewhere_is_one_finding() -> None:
    here = os.getpid()

    class OnlyHere(L.Layer):
        def call(self, x: Any) -> Any:
            if os.getpid() != here:
                message = "not here"
                raise ValueError(message)
            return x

    found = Blueprint.of(network(OnlyHere())).verify()
    assert [one.check for one in found.differences] == ["build"]
    assert "not here" in str(found)
    assert found.checked == ()


@pytest.mark.slow
def test_a_batch_of_the_user_is_taken_and_what_was_not_compared_is_said() -> None:
    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    batch = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    model = Subclassed()
    model.compile("sgd", "mse")
    assert Blueprint.of(model, batch=batch).verify() == Verification((), CHECKS, {})
    arrived = Blueprint.of(Subclassed(), batch=batch).verify()
    assert arrived.not_checked == {"train step": "it is not compiled"}
    assert arrived.passed


def test_only_some_of_many_findings_are_printed() -> None:
    findings = tuple(Difference("state", f"variable {number}", "one", "other") for number in range(9))
    lines = str(Verification(findings, CHECKS, {})).splitlines()
    assert lines[5] == "state: and 4 more"
    assert len(lines) == 9


def test_a_model_that_does_not_run_here_is_an_error_with_its_line() -> None:
    class Broken(keras.Model):
        def call(self, x: Any) -> Any:
            tf.debugging.assert_greater(x, 2.0, message="too small")
            return x

    with pytest.raises(BlueprintError, match="cannot be tried out") as refused:
        Blueprint.of(Broken(), batch=np.ones((4, 2), "float32")).verify()
    assert "too small" in refused.value.found


def test_texts_of_other_lengths_are_a_difference() -> None:
    here, there = (Trial({}, {"output": np.array(text)}, {}, {}, None, {}) for text in ([b"ab"], [b"a"]))
    assert [one.where for one in differences(here, there)] == ["output"]
    assert list(differences(here, here)) == []
