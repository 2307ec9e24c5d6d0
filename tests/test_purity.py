"""What Python gives while a model is traced is found: by other traces, and by what its functions read."""

from __future__ import annotations

import random
import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model.computation.fingerprint import take_fingerprints
from keras_estimator.model.computation.purity import Purity, purity_of

L = keras.layers


class Counts(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def call(self, x: Any) -> Any:
        self.count += 1
        return x * float(self.count)


def purity(layer: Any) -> Purity:
    model = keras.Sequential([L.Input((3,)), L.Dense(2), layer])
    return purity_of(model, take_fingerprints(model, None, times=3))


@pytest.mark.parametrize("make", [lambda: L.Dropout(0.5), L.BatchNormalization, lambda: L.Lambda(lambda x: x * 2)])
def test_layers_that_keep_their_state_in_variables_are_pure(make: Any) -> None:
    found = purity(make())
    assert found == Purity((), (), calls_python=False)
    assert found.is_pure


def test_numbers_of_python_differ_between_traces_and_the_line_is_named() -> None:
    for layer, read in (
        (L.Lambda(lambda x: x * random.random()), "random.random"),
        (L.Lambda(lambda x: x * np.random.rand()), "np.random.rand"),  # noqa: NPY002 - it is what users write
    ):
        found = purity(layer)
        assert found.differing == ("inference: `lambda`", "training: `lambda`")
        assert len(found.suspects) == 1
        assert found.suspects[0].endswith(f"reads {read}")
        assert "(test_purity.py:" in found.suspects[0]


def test_a_counter_in_python_is_found_and_put_back() -> None:
    layer = Counts()
    model = keras.Sequential([L.Input((3,)), layer])
    before = layer.count
    assert purity_of(model, take_fingerprints(model, None, times=3)).differing == (
        "inference: `counts`",
        "training: `counts`",
    )
    assert layer.count == before


def test_a_clock_is_a_suspect_although_all_traces_agree() -> None:
    found = purity(L.Lambda(lambda x: x + 0.0 * time.time()))
    assert [suspect.rpartition(" ")[2] for suspect in found.suspects] == ["time.time"]
    assert not found.is_pure


def test_what_calls_python_while_it_runs_is_said() -> None:
    layer = L.Lambda(lambda x: tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape))
    assert purity(layer).calls_python
