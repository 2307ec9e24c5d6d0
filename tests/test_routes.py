"""What Keras's own ways make of a model: an error, a difference, or the same."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_estimator.doctor.live import LiveModel


@keras.saving.register_keras_serializable("test_routes")
class Counts(keras.layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counter = tf.Variable(0.0, trainable=False)

    def call(self, x: Any) -> Any:
        return x + self.counter


class NoKwargs(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()

    def call(self, x: Any) -> Any:
        return x


def routes(*layers: Any) -> Any:
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("sgd", "mse")
    return model, LiveModel(model).routes


def test_a_plain_model_loses_nothing():
    _, found = routes(keras.layers.Dense(2), keras.layers.BatchNormalization())
    assert found["save"].is_lossless, str(found["save"])
    assert str(found["save"]) == "nothing is lost"


def test_a_value_that_keras_does_not_save_is_a_difference():
    model = keras.Sequential([keras.Input((3,)), Counts(name="counts")])
    model.layers[0].counter.assign(4.0)
    found = LiveModel(model).routes["save"]
    assert found.failure is None
    assert {(one.check, one.where) for one in found.differences} >= {("state", "counts/counter")}
    assert "counts/counter" in str(found)


def test_random_numbers_go_on_where_they_were():
    _, found = routes(keras.layers.Dense(2), keras.layers.Dropout(0.5))
    assert found["save"].is_lossless, str(found["save"])


def test_what_cannot_be_loaded_is_a_failure():
    _, found = routes(NoKwargs())
    assert found["save"].failure is not None
    assert not found["save"].is_lossless


def test_the_model_and_its_optimizer_are_left_alone():
    model, _ = routes(keras.layers.Dense(2), keras.layers.Dropout(0.5))
    assert int(model.optimizer.iterations) == 0
    assert not model.optimizer.built
