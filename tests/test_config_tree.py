"""Layers that have configs of their own, and layers that other layers make for themselves."""

from __future__ import annotations

from typing import Any

import keras

from keras_estimator.doctor.config_tree import made_by_config
from keras_estimator.doctor.live import LiveModel


class Inner(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x


class Outer(keras.layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = Inner()

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Whole(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Graph(keras.Model):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class OwnGraph(keras.Model):
    def __init__(self) -> None:
        x = keras.Input((4,))
        super().__init__(x, Inner()(x))


def found(model: Any) -> set[str]:
    return set(made_by_config(LiveModel(model)))


def test_a_sequential_and_a_wrapper_have_the_configs_of_their_layers() -> None:
    inner = keras.Sequential([keras.Input((3, 4)), keras.layers.TimeDistributed(Inner()), Outer()])
    names = found(keras.Sequential([keras.Input((3, 4)), inner]))
    assert {"", "sequential", "sequential/outer", "sequential/time_distributed"} <= names
    assert any(name.startswith("sequential/time_distributed/") for name in names)
    assert not any(name.startswith("sequential/outer/") for name in names)


def test_a_model_of_the_user_has_its_own_config_only() -> None:
    assert found(Whole()) == {""}
    assert found(OwnGraph()) == {""}


def test_a_graph_that_is_handed_in_is_in_the_config() -> None:
    x = keras.Input((4,))
    assert "inner" in found(Graph(x, Inner()(x)))
