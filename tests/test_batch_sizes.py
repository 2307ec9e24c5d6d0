"""Answers to a batch whose size is known in advance, and to one whose size is not."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_estimator.doctor.batch_sizes import difference_of_sizes
from keras_estimator.doctor.live import LiveModel


class Sized(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x * (x.shape[0] or 1)


class Draws(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x + np.random.normal() * (x.shape[0] or 1)  # noqa: NPY002 - this is what people write


def of(*layers: Any) -> str:
    return difference_of_sizes(LiveModel(keras.Sequential([keras.Input((4,)), *layers])))


def test_a_size_that_is_baked_in() -> None:
    assert "with their number known and not, differ by" in of(Sized())


@pytest.mark.parametrize(
    "layers", [[keras.layers.Dense(2)], [keras.layers.BatchNormalization()], [keras.layers.Dropout(0.5)], [Draws()]]
)
def test_equal_answers_and_those_that_differ_for_other_reasons(layers: list[Any]) -> None:
    assert of(*layers) == ""


def test_a_model_of_unknown_inputs_is_not_compared() -> None:
    assert difference_of_sizes(LiveModel(keras.Sequential([keras.layers.Dense(1)]))) == ""
