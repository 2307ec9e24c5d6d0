"""Objects are taken apart by their dict and their slots, layers without what a call left in them."""

from __future__ import annotations

import array
import types
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model.blueprint import Blueprint
from keras_estimator.model.carrying import object_records as records
from keras_estimator.model.carrying.shells import NotCarriedError, Strategy, Target

HERE = Target.THIS_PROCESS


class Slotted:
    __slots__ = ("_Slotted__hidden", "empty", "filled")

    def __init__(self) -> None:
        self.filled, self.__hidden = 1, 2


def test_slots_are_read_and_empty_ones_left() -> None:
    slots = records.take_object(Slotted(), HERE).slots
    assert sorted((name, value) for _, name, value in slots) == [("_Slotted__hidden", 2), ("filled", 1)]


def test_compiled_functions_are_left_out_and_the_strategy_is_the_one_in_force() -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))
    attributes = records.take_object(model, HERE).attributes
    assert model.train_function is not None
    assert attributes["train_function"] is None
    assert attributes["_distribute_strategy"] == Strategy(none_for_default=True)


def test_losses_of_a_trace_are_left_out_and_those_with_values_kept() -> None:
    layer = keras.layers.ActivityRegularization(l2=1.0)
    layer(np.ones((2, 2), "float32"))
    assert len(records.take_object(layer, HERE).attributes["_losses"]) == len(vars(layer)["_losses"])
    tf.function(layer)(tf.ones((2, 2)))
    assert records.take_object(layer, HERE).attributes["_losses"] == []


def test_what_python_copies_is_copied_and_a_handle_is_refused() -> None:
    assert records.take_object(array.array("d", [1.0]), HERE).kind == "copied"
    assert records.take_namespace(types.SimpleNamespace(a=1), HERE).attributes == {"a": 1}
    with pytest.raises(NotCarriedError, match="keep"):
        records.take_object(memoryview(b"a"), HERE)
    with pytest.raises(NotCarriedError, match="traced call"):
        records.take_tensor(tf.Variable(1.0).handle, HERE)


def by_variable() -> keras.Model:
    """A model whose optimizer keeps a set of variables that it does not decay."""
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.5), "mse")
    model.optimizer.exclude_from_weight_decay(var_list=[model.layers[0].kernel])
    return model


def of_several_optimizers() -> keras.Model:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    optimizers = keras.optimizers.OptimizerMap(default_optimizer=keras.optimizers.SGD(0.1))
    optimizers[f".*{model.layers[0].name}/.*"] = keras.optimizers.Adam(0.1)
    model.compile(keras.optimizers.MultiOptimizer(optimizers), "mse")
    return model


@pytest.mark.parametrize("is_trained", [False, True])
@pytest.mark.parametrize("make", [by_variable, of_several_optimizers])
def test_what_an_optimizer_keeps_by_variable_is_kept_by_the_copys_variables(make: Any, is_trained: bool) -> None:
    if make is of_several_optimizers and not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    model = make()
    if is_trained:
        model.fit(x, y, verbose=0)
    blueprint = Blueprint.of(model)
    twins = [blueprint.build(), Blueprint.from_bytes(blueprint.to_bytes()).build()]
    history = model.fit(x, y, epochs=3, verbose=0).history
    for twin in twins:
        assert twin.fit(x, y, epochs=3, verbose=0).history == history
        for one, other in zip(twin.variables, model.variables, strict=True):
            np.testing.assert_array_equal(one, other)
