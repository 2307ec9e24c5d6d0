"""A fingerprint is the same in every process for the same mathematics, and says where others differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.errors import BlueprintError
from keras_estimator.model.computation.fingerprint import Fingerprint, take_fingerprints

L = keras.layers
IN_A_PROCESS = """
import keras, sys
from keras_estimator.model.computation.fingerprint import take_fingerprints
L = keras.layers
for _ in range(int(sys.argv[1])):
    L.Dense(1), L.Dropout(0.1), keras.Sequential()
model = keras.Sequential([L.Input((6,)), L.Dense(8), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
print(take_fingerprints(model, None)[0].fingerprint)
"""


def network(*between: Any, compiled: bool = True, **options: Any) -> Any:
    model = keras.Sequential([L.Input((6,)), L.Dense(8, name="first"), *between, L.Dense(1, name="last")])
    if compiled:
        model.compile(**({"optimizer": "adam", "loss": "mse"} | options))
    return model


def taken(model: Any, batch: Any = None) -> Fingerprint:
    return take_fingerprints(model, batch)[0].fingerprint


def differences(one: Any, other: Any) -> list[str]:
    return taken(one).differences(taken(other))


def test_it_is_equal_in_other_processes_whatever_was_made_before() -> None:
    def in_a_process(seed: str, made_before: int) -> str:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", IN_A_PROCESS, str(made_before)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert len({in_a_process("0", 0), in_a_process("1", 5)}) == 1


def test_values_names_and_training_do_not_matter() -> None:
    model = network(L.Dropout(0.2))
    before = taken(model)
    assert before == taken(network(L.Dropout(0.2)))
    model.fit(np.ones((8, 6)), np.ones((8, 1)), verbose=0)
    assert taken(model) == before
    assert str(before) == before.hash


def test_the_same_written_in_two_ways_is_the_same() -> None:
    two_ways = (L.Lambda(lambda x: x * tf.sigmoid(x)), L.Activation(lambda x: x * keras.ops.sigmoid(x)))
    one, other = (taken(network(layer)) for layer in two_ways)
    assert one.inference.hash == other.inference.hash


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (lambda: [L.Dropout(0.2)], lambda: [L.Dropout(0.3)], ["training: `dropout`"]),
        (lambda: [L.ReLU()], lambda: [L.ReLU(0.5)], ["inference: `re_lu`", "training: `re_lu`"]),
        (
            lambda: [L.BatchNormalization(momentum=0.9)],
            lambda: [L.BatchNormalization(momentum=0.99)],
            ["training: `batch_normalization`"],
        ),
        (
            lambda: [keras.Sequential([L.Input((8,)), L.Lambda(tf.sin)], name="inner")],
            lambda: [keras.Sequential([L.Input((8,)), L.Lambda(tf.cos)], name="inner")],
            ["inference: `inner/lambda`", "training: `inner/lambda`"],
        ),
    ],
)
def test_a_difference_names_its_layer(one: Any, other: Any, expected: list[str]) -> None:
    assert differences(network(*one()), network(*other())) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"optimizer": keras.optimizers.Adam}, {"optimizer": keras.optimizers.Adamax}, "update of the weights"),
        (
            {"optimizer": lambda: keras.optimizers.Adam(beta_1=0.8)},
            {"optimizer": lambda: keras.optimizers.Adam(beta_1=0.9)},
            "update of the weights",
        ),
        ({"loss": lambda: "mse"}, {"loss": lambda: "mae"}, "the model, outside of its layers"),
    ],
)
def test_a_difference_of_the_step_is_one_of_training_only(one: Any, other: Any, expected: str) -> None:
    models = (network(**{name: make() for name, make in options.items()}) for options in (one, other))
    found = differences(*models)
    assert f"training: {expected}" in found
    assert not any(line.startswith("inference") for line in found)


def test_a_frozen_layer_and_an_excluded_one_train_otherwise() -> None:
    frozen = network()
    frozen.get_layer("first").trainable = False
    assert "training: choice of the weights to train" in differences(network(), frozen)
    decayed, excluded = (network(optimizer=keras.optimizers.AdamW(weight_decay=0.1)) for _ in range(2))
    excluded.optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert "training: choice of the weights to train" in differences(decayed, excluded)


def test_a_gradient_of_ones_own_counts() -> None:
    def doubled(factor: float) -> Any:
        @tf.custom_gradient
        def function(x: Any) -> Any:
            return x * 2.0, lambda upstream: upstream * factor

        return L.Lambda(function)

    assert taken(network(doubled(1.0))) == taken(network(doubled(1.0)))
    one, other = taken(network(doubled(1.0))), taken(network(doubled(3.0)))
    assert one.inference == other.inference
    assert one.training.hash != other.training.hash


class OwnStep(keras.Model):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.dense, self.factor = L.Dense(1), factor

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        gradients = tape.gradient(loss, self.trainable_variables)
        scaled = [gradient * self.factor for gradient in gradients]
        self.optimizer.apply_gradients(zip(scaled, self.trainable_variables, strict=True))
        return {"loss": loss}


def test_a_train_step_of_the_user_is_hashed_whole() -> None:
    batch = np.ones((2, 3), "float32"), np.ones((2, 1), "float32")
    models = [OwnStep(1.0), OwnStep(1.0), OwnStep(2.0)]
    for model in models:
        model.compile("sgd")
    one, same, other = (taken(model, batch) for model in models)
    assert one == same
    assert one.inference == other.inference
    assert one.training.hash != other.training.hash
    assert not models[0].built  # it was built to be traced, and put back


def test_labels_are_thought_out_for_the_loss() -> None:
    def labels(loss: str, units: int) -> Any:
        model = keras.Sequential([L.Input((6,)), L.Dense(units, activation="softmax")])
        model.compile("adam", loss)
        return take_fingerprints(model, None)[0].data[1]

    assert labels("sparse_categorical_crossentropy", 5).dtype == tf.int64
    assert labels("mse", 5).shape.as_list() == [None, 5]


def test_a_model_of_several_optimizers_has_one_too() -> None:
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")

    def several(rate: float) -> Fingerprint:
        model = network(L.Dropout(0.2))
        optimizers = keras.optimizers.OptimizerMap(default_optimizer=keras.optimizers.SGD(0.1))
        optimizers[".*first/.*"] = keras.optimizers.Adam(0.1, beta_1=rate)
        model.compile(keras.optimizers.MultiOptimizer(optimizers), "mse")
        return taken(model)

    assert several(0.9) == several(0.9)
    assert several(0.9).differences(several(0.8)) == ["training: update of the weights"]


def test_a_call_that_is_not_finished_is_refused_and_a_model_without_one_has_no_inference() -> None:
    class Unfinished(keras.Model):
        def call(self, x: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(BlueprintError, match=r"test_fingerprint\.py"):
        taken(Unfinished(), np.ones((2, 3), "float32"))

    class TwoNetworks(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one = keras.Sequential([L.Input((3,)), L.Dense(3)])

        def train_step(self, data: Any) -> Any:
            return {"loss": tf.reduce_mean(self.one(data))}

    model = TwoNetworks()
    model.compile("sgd")
    found = taken(model, np.ones((2, 3), "float32"))
    assert found.inference.hash == ""
    assert found.training.parts.keys() >= {"one/dense"}


def test_it_travels_as_json() -> None:
    fingerprint = taken(network(L.Dropout(0.2)))
    assert Fingerprint.from_json(json.loads(json.dumps(fingerprint.to_json()))) == fingerprint


def test_a_model_that_nobody_can_trace_is_refused_with_its_line() -> None:
    class Branches(L.Layer):
        def call(self, x: Any) -> Any:
            return x if float(x[0, 0]) > 0 else -x

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.branches = Branches()

        def call(self, x: Any) -> Any:
            return self.branches(x)

    with pytest.raises(BlueprintError, match=r"test_fingerprint\.py.*"):
        taken(Model(), np.ones((2, 3), "float32"))
    with pytest.raises(BlueprintError, match="never called"):
        taken(Model())
