"""A copy of a model is equal to it, shares nothing with it, and goes where the model's source is not."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import zoo
import zoo_unusual
from carried_in_processes import differences, made, state, train

from keras_estimator.errors import BlueprintError
from keras_estimator.model import anatomy
from keras_estimator.model.blueprint import Blueprint

L = keras.layers


def storages(model: Any) -> set[int]:
    return {id(h.variable if h.is_raw else h.variable.value) for h in anatomy.holdings(model)}


def dense(**attributes: Any) -> keras.Model:
    model = keras.Sequential([L.Input((2,)), L.Dense(1)])
    for name, value in attributes.items():
        setattr(model.layers[0], name, value)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in zoo.KINDS.items() if kind.must("copies")])
def test_a_copy_trains_beside_the_model_with_equal_bits_and_shares_nothing(name: str) -> None:
    kind = zoo.KINDS[name]
    model, batches = made(kind), list(kind.data())[:4]
    train(model, batches[0], kind.class_weight)
    twin = Blueprint.of(model).build()
    before = state(model)
    assert differences(before, state(twin)) == []
    assert not storages(model) & storages(twin)
    losses = [train(twin, batches[step % 4], kind.class_weight) for step in range(5)]
    assert differences(before, state(model)) == []
    assert [train(model, batches[step % 4], kind.class_weight) for step in range(5)] == losses
    assert differences(state(model), state(twin)) == []


@pytest.mark.slow
@pytest.mark.parametrize("functional", [False, True])
def test_a_deep_model_needs_no_recursion(functional: bool) -> None:
    if functional:
        given = x = keras.Input((2,))
        for _ in range(1000):
            x = keras.ops.negative(x)
        model = None
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(10_000)  # Keras itself recurses when it makes such a model
        try:
            model = keras.Model(given, x)
        finally:
            sys.setrecursionlimit(limit)
    else:
        model = keras.Sequential([L.Input((2,)), *(L.Dense(2) for _ in range(400))])
    for blueprint in (Blueprint.of(model), Blueprint.from_bytes(Blueprint.of(model).to_bytes())):
        twin = blueprint.build()
        np.testing.assert_array_equal(twin(np.ones((1, 2), "float32")), model(np.ones((1, 2), "float32")))


def test_a_blueprint_follows_its_model_until_it_is_pickled() -> None:
    model = dense()
    blueprint = Blueprint.of(model)
    model.layers[0].bias.assign([3.0])
    assert blueprint.build().layers[0].bias.numpy() == [3.0]
    arrived = pickle.loads(pickle.dumps(blueprint))
    model.layers[0].bias.assign([4.0])
    assert arrived.build().layers[0].bias.numpy() == [3.0]
    first, second = arrived.build(), arrived.build()
    assert not storages(first) & storages(second)


def test_no_constructor_and_no_config_is_called() -> None:
    class Touchy(L.Layer):
        def __init__(self, ready: bool) -> None:
            assert ready
            super().__init__()

        def get_config(self) -> Any:
            raise AssertionError

        def __setattr__(self, name: str, value: Any) -> None:
            assert not getattr(self, "ready", False)
            super().__setattr__(name, value)

        def call(self, x: Any) -> Any:
            return x

    layer = Touchy(True)
    model = keras.Sequential([L.Input((2,)), layer])
    layer.ready = True
    assert Blueprint.of(model).build().layers[0].ready
    assert Blueprint.from_bytes(Blueprint.of(model).to_bytes()).build().layers[0].ready


class Logs(L.Layer):
    def __init__(self, file: Any) -> None:
        super().__init__()
        self.log_file = file


def test_an_open_file_is_refused_with_its_path_and_line(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        model = keras.Sequential([L.Input((2,)), L.Dense(1), Logs(file)])
        with pytest.raises(BlueprintError, match=r"model\.layers\[1\]\.log_file") as refused:
            Blueprint.of(model)
    assert "test_blueprint.py:" in refused.value.found
    assert "model.layers[1].log_file = None" in refused.value.fix


def test_what_runs_is_refused() -> None:
    for thing in ((x for x in ()), iter(tf.data.Dataset.range(3)), sys._getframe()):  # noqa: SLF001 - it is a frame
        with pytest.raises(BlueprintError, match=r"model\.layers\[0\]\.thing"):
            Blueprint.of(dense(thing=thing))


def test_variables_of_functions_are_remarked_with_their_line() -> None:
    hidden = tf.Variable(0.5)
    remarks = Blueprint.of(keras.Sequential([L.Input((2,)), L.Lambda(lambda x: x * hidden)])).remarks
    assert len(remarks) == 1
    assert "hidden (test_blueprint.py:" in remarks[0]
    shared = Blueprint.of(zoo.KINDS["class_in_closure"].build()).remarks
    assert any("a copy in this process shares it" in remark for remark in shared)
    assert Blueprint.of(dense()).remarks == ()


def test_keys_made_of_ids_are_those_of_the_copy() -> None:
    model = dense()
    layer = model.layers[0]
    layer.by_id = {id(layer.kernel): "kernel"}
    twin = Blueprint.of(model).build().layers[0]
    assert twin.by_id == {id(twin.kernel): "kernel"}
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))
    assert Blueprint.of(model).build().get_config()["layers"]


def test_functions_of_the_model_share_what_they_shared() -> None:
    layer = zoo_unusual.NonlocalCount()
    model = keras.Sequential([L.Input((2,)), layer])
    for blueprint in (Blueprint.of(model), Blueprint.from_bytes(Blueprint.of(model).to_bytes())):
        twin = blueprint.build().layers[0]
        twin.advance()
        cells = [dict(zip(f.__code__.co_freevars, f.__closure__, strict=True)) for f in (twin.advance, twin.read)]
        assert cells[0]["count"] is cells[1]["count"]
        assert cells[0]["count"].cell_contents == 2
        assert layer.advance.__closure__[0].cell_contents == 1
