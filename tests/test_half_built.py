from __future__ import annotations

import keras
import keras_estimator as ke
import numpy as np
import pytest
from keras_estimator.model import half_built, keras_private

L = keras.layers


class Stubborn(L.Layer):
    """Gives up until it may go on, as NumPy does on a tensor without values."""

    may_go_on = False

    def call(self, x):
        if not self.may_go_on:
            raise NotImplementedError
        return x


def half() -> tuple[keras.Sequential, Stubborn]:
    stubborn = Stubborn()
    return keras.Sequential([L.Input((4,)), L.Dense(3), stubborn, L.Dense(1)]), stubborn


def test_keras_still_leaves_a_sequential_half_built() -> None:
    model, _ = half()
    assert model.built
    assert [layer.built for layer in model.layers] == [True, True, False]
    assert keras_private.shape_of_half_built(model) == (None, 4)


def test_it_is_built_and_the_weights_that_were_there_stay() -> None:
    model, stubborn = half()
    before = model.get_weights()
    stubborn.may_go_on = True
    assert half_built.complete(model) == [model.name]
    assert all(layer.built for layer in model.layers)
    assert model.count_params() == 4 * 3 + 3 + 3 + 1
    for was, now in zip(before, model.get_weights(), strict=False):
        np.testing.assert_array_equal(was, now)
    assert half_built.complete(model) == []


def test_one_inside_of_another_model_is_built_too() -> None:
    model, stubborn = half()
    outer = keras.Sequential([model])
    stubborn.may_go_on = True
    assert half_built.complete(outer) == [model.name]


def test_one_that_still_gives_up_is_an_error_that_names_the_layer() -> None:
    model, stubborn = half()
    with pytest.raises(ke.ModelError, match="cannot be built") as caught:
        half_built.complete(model)
    assert stubborn.name in caught.value.fix
