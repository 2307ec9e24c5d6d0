"""Layers of a live model, made anew from their own configs."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest

from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.rebuilding import differing, is_plain, is_same, is_users, owner_of, remade, told


class Scaled(keras.layers.Layer):
    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor


class Forgetful(Scaled):
    def get_config(self) -> Any:
        return {"name": self.name}


class Needy(keras.layers.Layer):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.luck = random.random()

    def call(self, x: Any) -> Any:
        return x * self.factor

    def get_config(self) -> Any:
        return {}


class Refused(keras.layers.Layer):
    def __init__(self, *functions: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.functions = functions

    def call(self, x: Any) -> Any:
        return self.functions[0](x)


@pytest.fixture
def live() -> LiveModel:
    layers = [Scaled(2.0), Forgetful(3.0), Needy(4.0), Refused(keras.ops.sin), keras.layers.Dense(2)]
    return LiveModel(keras.Sequential([keras.Input((4,)), *layers]))


def test_each_layer_of_the_user_is_made_anew(live: LiveModel) -> None:
    before = random.getstate()
    found = remade(live)
    assert random.getstate() == before
    assert remade(live) is found
    assert list(found) == ["scaled", "forgetful", "needy", "refused"]
    assert found["scaled"].different == {}
    assert found["scaled"].has_automatic_config
    assert found["scaled"].arguments == ["factor"]
    assert found["forgetful"].different == {"factor": (3.0, 1.0)}
    assert found["forgetful"].owner_of_config is Forgetful
    assert found["forgetful"].owner_of_init is Scaled
    assert found["needy"].missing == ["factor"]
    assert found["needy"].different == {}
    assert isinstance(found["refused"].error, NotImplementedError)
    assert found["refused"].config is None
    assert found["refused"].takes_args == "functions"


def test_what_is_different_in_words() -> None:
    assert told({"k": (1, 2)}) == "`k` is 1 here and 2 in what its config makes"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        ((1, 2), [1, 2], True),
        ({"a": [1]}, {"a": (1,)}, True),
        ({"a": 1}, {"b": 1}, False),
        (float("nan"), float("nan"), True),
        (np.ones(2), np.ones(2), True),
        (np.ones(2), np.ones(3), False),
        ("a", None, False),
    ],
)
def test_whether_values_are_the_same(one: Any, other: Any, *, same: bool) -> None:
    assert is_same(one, other) is same


def test_what_is_plain() -> None:
    assert is_plain({"a": [1, (None, "b", b"c", np.ones(2))]})
    assert not is_plain([keras.layers.Dense(1)])
    assert differing(Scaled(1.0), Scaled(2.0), ["factor", "built", "nothing"]) == {"factor": (1.0, 2.0)}


def test_whose_a_class_is() -> None:
    assert is_users(Scaled)
    assert not is_users(keras.layers.Dense)
    assert owner_of(Forgetful, "__init__") is Scaled
