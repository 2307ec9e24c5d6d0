"""A Sequential that Keras left half built is built; one that cannot be names the line that is in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_estimator.errors import ModelError, NumpyCallError
from keras_estimator.model.half_built import complete
from keras_estimator.model.keras_private import shape_of_half_built
from keras_estimator.model.numpy_calls import install

HERE = Path(__file__).name


class Late:
    """A function of tensors that gives up until `is_ready`, as NumPy's did before our protocols were there."""

    def __init__(self, function: Callable[[Any], Any] = keras.ops.sin) -> None:
        self.function = function
        self.is_ready = False

    def __call__(self, x: Any) -> Any:
        if not self.is_ready:
            raise NotImplementedError("not yet")
        return self.function(x)


def half_built(function: Any, name: str = "half") -> keras.Sequential:
    layers = [keras.layers.Dense(4), keras.layers.Lambda(function), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((3,)), *layers], name=name)


def test_keras_still_leaves_a_sequential_half_built():
    """If this fails, Keras raises or finishes by itself, and there is less for us to do."""
    model = half_built(Late())
    assert model.built
    assert [layer.built for layer in model.layers] == [True, True, False]
    assert shape_of_half_built(model) == (None, 3)


def test_it_is_built_and_keeps_the_weights_that_are_there():
    function = Late()
    model = half_built(function)
    kernel = model.layers[0].kernel
    kernel.assign(keras.ops.ones((3, 4)))
    function.is_ready = True
    assert complete(model) == ["half"]
    assert model.layers[0].kernel is kernel
    assert np.all(kernel.numpy() == 1)
    assert model.count_params() == 3 * 4 + 4 + 4 * 2 + 2
    assert model.output_shape == (None, 2)
    assert complete(model) == []


def test_it_is_built_when_its_last_layer_gave_up():
    function = Late()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Lambda(function)], name="last")
    function.is_ready = True
    assert complete(model) == ["last"]
    assert model.inputs[0].shape == (None, 3)


def test_it_is_found_inside_of_other_models():
    function = Late()
    inner = half_built(function, "inner")
    outer = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(1)], name="outer")

    class Holder(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.part = outer

        def call(self, x: Any) -> Any:
            return self.part(x)

    function.is_ready = True
    assert complete(Holder()) == ["inner", "outer"]
    assert outer(np.zeros((5, 3))).shape == (5, 1)


def test_a_completed_model_trains_like_one_that_was_whole_from_the_start():
    function = Late()
    late, whole = half_built(function), half_built(keras.ops.sin)
    function.is_ready = True
    complete(late)
    late.set_weights(whole.get_weights())
    x, y = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
    losses = []
    for model in (late, whole):
        model.compile("sgd", "mse")
        losses.append(model.fit(x, y[:, :2], epochs=3, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_whole_and_unbuilt_models_are_left_alone():
    deferred = keras.Sequential([keras.layers.Dense(2)])
    assert complete(half_built(keras.ops.sin)) == []
    assert complete(deferred) == []
    assert not deferred.built


def test_a_model_whose_layers_run_one_by_one_may_stay_as_it_is():
    layers = [keras.layers.Dense(4), keras.layers.Lambda(Late())]
    model = keras.Sequential([keras.Input((3,)), *layers])
    assert complete(model) == []
    assert model.built


def test_what_cannot_be_built_is_told_with_the_line():
    def wrong(x: Any) -> Any:
        return keras.ops.reshape(x, (7, 7, 7))

    with pytest.raises(ModelError) as caught:
        complete(half_built(wrong))
    number = wrong.__code__.co_firstlineno + 1
    assert f"line {number}): " in caught.value.found
    assert f"mend {HERE}:{number}" in caught.value.fix
    assert caught.value.rule == "KE203"
    assert caught.value.__cause__ is not None


def test_numpy_that_asks_for_numbers_is_told_with_the_line():
    def wrong(x: Any) -> Any:
        return np.asarray(x) + 1

    with pytest.raises(NumpyCallError, match=f"{HERE}:{wrong.__code__.co_firstlineno + 1} asks for the numbers"):
        complete(half_built(wrong))


def test_a_function_without_counterpart_is_told_as_it_is_and_not_as_keras_tells_it():
    install()

    class Between(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.is_ready = False

        def call(self, x: Any) -> Any:
            if self.is_ready:
                return np.interp(x, [0.0, 1.0], [0.0, 1.0])
            raise NotImplementedError("not yet")

    between = Between()
    model = keras.Sequential([keras.Input((3,)), between, keras.layers.Dense(2)])
    between.is_ready = True
    with pytest.raises(NumpyCallError) as caught:
        complete(model)
    assert caught.value.problem.startswith(f"np.interp on a tensor at {HERE}:")
    assert caught.value.rule == "KE201"
