"""A model's weights have the names by which files call them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.model.weight_names import named_weights
from keras_estimator.weight_matching import LAYERS, PLACE, SAVED, STATE

L = keras.layers


class Scale(L.Layer):
    """Holds a raw variable."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.factor = tf.Variable(1.5, trainable=False)

    def call(self, x):
        return x * self.factor


def test_weights_have_their_names_and_nothing_else_has() -> None:
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3), L.BatchNormalization()], name="body")
    model = keras.Sequential([keras.Input((4,)), inner, L.Dropout(0.5), Scale(name="scale"), L.Dense(2, name="head")])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.zeros((2, 4)), np.zeros((2, 2)), verbose=0)
    names = named_weights(model)
    by_path = {weight.path: weight for weight in names.weights}
    assert len(by_path) == 9
    head = by_path["head/kernel"]
    assert head.names == {
        STATE: "head/kernel",
        LAYERS: f"{model.name}/head/kernel",
        PLACE: "layers/dense/vars/0",
        SAVED: "layers/head/vars/0",
    }
    assert (head.shape, head.dtype) == ((3, 2), "float32")
    np.testing.assert_array_equal(head.read(), model.layers[-1].kernel)
    assert by_path["body/dense/kernel"].names[SAVED] == "layers/body/layers/dense/vars/0"
    assert by_path["scale/factor"].names == {STATE: "scale/factor"}
    assert by_path["scale/factor"].dtype == "float32"
    assert names.models == [model.name, "body"]
    assert {"dense", "batch_normalization", "scale", "sequential"} <= set(names.automatic)
