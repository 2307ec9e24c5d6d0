"""A model is described in plain values, without calling anything of the user's."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import zoo
from reported_run import LAYERS, two_ways

from keras_estimator.model.description import backend, describe, versions


def named(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {layer["path"]: layer for layer in described["layers"]}


def edges(described: dict[str, Any]) -> set[tuple[str, str]]:
    names = [layer["name"] for layer in described["layers"]]
    return {(names[start], names[end]) for start, end in described["edges"]}


def numbers(described: dict[str, Any]) -> tuple[int, int]:
    return described["trainable_parameters"], described["other_parameters"]


class Refusing(keras.layers.Layer):
    """Every way to ask it is an error, except those that a layer must have."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = keras.layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.inner(x)

    def get_config(self) -> dict[str, Any]:
        raise AssertionError("get_config was called")

    def compute_output_shape(self, shape: Any) -> Any:
        raise AssertionError("compute_output_shape was called")

    def __repr__(self) -> str:
        raise AssertionError("__repr__ was called")

    def count_params(self) -> int:
        raise AssertionError("count_params was called")


class Nested(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="nest")
        self.encoder = keras.Sequential([keras.layers.Dense(4), keras.layers.BatchNormalization()])
        self.blocks = [Refusing(), Refusing()]

    def call(self, x: Any) -> Any:
        x = self.encoder(x)
        for block in self.blocks:
            x = block(x)
        return x


def test_a_functional_model_is_a_graph_of_layers_with_shapes_and_sizes():
    model = two_ways()
    described = describe(model)
    assert (described["name"], described["class"], described["kind"]) == ("two_ways", "Functional", "functional")
    assert sorted(layer["class"] for layer in described["layers"]) == sorted(LAYERS)
    assert {("x", "first"), ("first", "normal"), ("first", "add"), ("second", "add")} <= edges(described)
    first = named(described)["first"]
    assert first["output_shapes"] == [[None, 8]]
    assert numbers(first) == (8 * 8 + 8, 0)
    assert sum(numbers(described)) == model.count_params()


def test_operations_and_layers_that_are_called_twice_are_in_the_graph():
    x = keras.Input((4,))
    twice = keras.layers.Dense(4, name="twice")
    described = describe(keras.Model(x, keras.ops.add(twice(twice(x)), x)))
    (operation,) = [layer for layer in described["layers"] if not layer["is_layer"]]
    assert operation["class"] == "Add"
    assert ("twice", "twice") in edges(described)
    assert ("twice", operation["name"]) in edges(described)


@pytest.mark.parametrize("is_built", [True, False])
def test_a_sequential_is_a_chain_built_or_not(is_built: bool):
    layers = [
        keras.layers.Dense(3, name="one"),
        keras.layers.Dropout(0.1, name="two"),
        keras.layers.Dense(1, name="three"),
    ]
    described = describe(keras.Sequential([keras.Input((2,)), *layers] if is_built else layers))
    assert {("one", "two"), ("two", "three")} <= edges(described)
    assert described["kind"] == "sequential"
    assert described["is_built"] is is_built
    assert numbers(described) == ((3 * 2 + 3 + 4, 0) if is_built else (0, 0))
    assert named(described)["two"]["output_shapes"] == ([[None, 3]] if is_built else [])


@pytest.mark.parametrize("is_called", [True, False])
def test_a_subclassed_model_is_a_tree_by_nesting(is_called: bool):
    model = Nested()
    if is_called:
        model(np.zeros((2, 5), "float32"))
    described = describe(model)
    layers = described["layers"]
    insides = {layer["path"]: None if layer["inside"] is None else layers[layer["inside"]]["path"] for layer in layers}
    assert insides["encoder"] is None
    assert insides["encoder/dense"] == "encoder"
    assert insides["blocks/refusing_1/inner"] == "blocks/refusing_1"
    assert described["edges"] == []
    assert sum(numbers(described)) == (model.count_params() if is_called else 0)
    assert numbers(named(described)["encoder"]) == ((5 * 4 + 4 + 8, 8) if is_called else (0, 0))


def test_frozen_layers_have_no_trainable_parameters():
    model = two_ways()
    model.get_layer("first").trainable = False
    assert numbers(named(describe(model))["first"]) == (0, 72)


def test_optimizer_and_loss_are_named_with_their_plain_numbers():
    described = describe(two_ways())
    assert described["loss"] == "binary_crossentropy"
    assert described["optimizer"]["class"] == "Adam"
    assert described["optimizer"]["learning_rate"] == 0.01
    assert described["optimizer"]["beta_1"] == 0.9
    assert "optimizer" not in describe(Nested())


def test_a_learning_rate_that_changes_is_named_by_its_class_and_losses_by_name():
    model = two_ways()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(keras.optimizers.SGD(schedule), {"answer": keras.losses.Huber()})
    described = describe(model)
    assert described["optimizer"]["learning_rate"] == "ExponentialDecay"
    assert described["loss"] == {"answer": "Huber"}


def test_it_is_json_and_describing_changes_nothing():
    model = two_ways()
    model.fit(np.zeros((4, 8)), np.zeros((4, 1)), verbose=0)
    before = [np.array(variable) for variable in model.variables]
    described = describe(model)
    assert json.loads(json.dumps(described)) == described == describe(model)
    assert all(np.array_equal(*pair) for pair in zip(before, model.variables, strict=True))


def test_a_deep_graph_is_described():
    x = y = keras.Input((2,))
    for _ in range(600):
        y = keras.layers.Activation("relu")(y)
    described = describe(keras.Model(x, y))
    assert (len(described["layers"]), len(described["edges"])) == (601, 600)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(zoo.KINDS)[::4])
def test_any_model_can_be_described(name: str):
    keras.utils.set_random_seed(3)
    model = zoo.KINDS[name].build()
    described = describe(model)
    json.dumps(described, allow_nan=False)
    if model.built:
        assert sum(numbers(described)) >= model.count_params()  # and what Keras does not know of


def test_versions_are_those_that_run():
    assert versions()["keras"] == keras.__version__
    assert backend() in versions()
