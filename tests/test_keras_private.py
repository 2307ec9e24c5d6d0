"""These fail when Keras changes what we touch of its inside."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf

from keras_estimator.model import keras_private

L = keras.layers


def test_what_compile_was_given_is_found_as_it_was():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert keras_private.compile_arguments(model) == {}
    optimizer = keras.optimizers.SGD()
    model.compile(optimizer, "mse", run_eagerly=True)
    given = keras_private.compile_arguments(model)
    assert given["optimizer"] is optimizer
    assert (given["loss"], given["run_eagerly"]) == ("mse", True)


def test_the_storage_of_a_variable_is_the_backends_variable() -> None:
    variable = keras.Variable(1.0)
    assert isinstance(keras_private.storage_of(variable), tf.Variable)


def test_all_layers_are_the_model_and_those_in_it() -> None:
    inner = keras.Sequential([L.Input((2,)), L.Dense(1)])
    model = keras.Sequential([L.Input((2,)), inner])
    assert keras_private.all_layers(model)[0] is model
    assert set(keras_private.all_layers(model)) >= {model, inner, inner.layers[0]}


def test_compile_makes_something_anew() -> None:
    model = keras.Sequential([L.Input((2,)), L.Dense(1)])
    model.compile("sgd", "mse")
    before = keras_private.compiled_as(model)
    assert keras_private.compiled_as(model) is before
    model.compile(model.optimizer, "mae")
    assert keras_private.compiled_as(model) is not before


def test_a_raw_variable_becomes_a_weight_without_a_copy() -> None:
    layer = L.Dense(1)
    model = keras.Sequential([L.Input((2,)), layer])
    raw = tf.Variable([1.0, 2.0])
    keras_private.own_as_weight(layer, raw, "raw")
    assert len(model.trainable_weights) == 3
    raw.assign([3.0, 4.0])
    np.testing.assert_array_equal(model.trainable_weights[-1].numpy(), [3.0, 4.0])


def test_a_whole_model_is_not_half_built() -> None:
    assert keras_private.shape_of_half_built(keras.Sequential([L.Input((2,)), L.Dense(1)])) is None
    assert keras_private.shape_of_half_built(keras.Sequential([L.Dense(1)])) is None


def test_the_steps_of_the_user_and_the_tracker_of_the_loss_are_found() -> None:
    class Own(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    model = keras.Sequential([L.Input((2,)), L.Dense(1)])
    assert keras_private.has_own(Own(), "test_step", "train_step")
    assert not keras_private.has_own(model, "train_step")
    model.compile("sgd", "mse")
    assert not keras_private.tracks_loss(model)
    model.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))
    assert keras_private.tracks_loss(model)
    model.reset_metrics()
    assert not keras_private.tracks_loss(model)
    assert keras_private.has_call(model)
    assert not keras_private.has_call(Own())
    model.test_step = lambda data: {}
    assert keras_private.has_own(model, "test_step")


def test_what_a_step_of_keras_asks_of_a_model() -> None:
    class Plain(keras.Model):
        def call(self, x):
            return x

        def compute_loss(self, x, y, y_pred, sample_weight):
            return keras.ops.mean(y_pred)

    assert not keras_private.takes_training(Plain())
    assert keras_private.takes_training(keras.Sequential([L.Input((2,)), L.Dropout(0.1)]))
    one = np.ones((1, 1), "float32")
    assert float(keras_private.loss_of(Plain(), x=one, y=one, y_pred=one, sample_weight=None, training=True)) == 1.0


def test_an_optimizer_says_what_it_decays() -> None:
    model = keras.Sequential([L.Input((2,)), L.Dense(1)])
    model.compile(keras.optimizers.AdamW(weight_decay=0.1), "mse")
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert [keras_private.is_decayed(model.optimizer, weight) for weight in model.trainable_weights] == [True, False]


def test_what_training_makes_is_made_as_the_first_step_would() -> None:
    def small() -> keras.Model:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([L.Input((2,)), L.Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy", "mae"])
        return model

    made, trained = small(), small()
    keras_private.build_for_training(made, keras.KerasTensor((None, 1)))
    trained.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))
    shapes = [[tuple(v.shape) for v in model.variables + model.metrics_variables] for model in (made, trained)]
    assert shapes[0] == shapes[1]
    kinds = [[type(metric) for metric in model.metrics[1].metrics] for model in (made, trained)]
    assert kinds[0] == kinds[1] == [keras.metrics.BinaryAccuracy, keras.metrics.MeanAbsoluteError]


def test_what_would_need_a_batch_is_left_to_the_first_step() -> None:
    x = keras.Input((2,))
    two = keras.Model(x, [L.Dense(1, name="a")(x), L.Dense(1, name="b")(x)])
    named = keras.Model(x, {"a": L.Dense(1)(x)})
    y = keras.Input((None,))
    open_ended = keras.Model(y, keras.layers.Activation("relu")(y))
    for model, labels in (
        (two, [keras.KerasTensor((None, 1))] * 2),
        (named, keras.KerasTensor((None, 1))),
        (named, None),
        (open_ended, keras.KerasTensor((None, 1))),
    ):
        model.compile("adam", "mse", metrics=[["mae"], ["mae"]] if model is two else ["accuracy"])
        keras_private.build_for_training(model, labels)
        assert len(model.metrics_variables) == 2  # those of the loss alone


def test_the_places_of_variables_in_files_are_those_that_keras_writes(tmp_path: Path) -> None:
    class Blocks(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [L.Dense(2), L.Dense(2, name="own")]
            self.recurrent = L.LSTM(3)
            self.inner = keras.Sequential([L.Dense(4), L.Dense(1)])

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return self.inner(self.recurrent(x[:, None]))

    model = Blocks()
    model(np.zeros((1, 2), "float32"))
    model.save_weights(tmp_path / "a.weights.h5")
    places, names = keras_private.places_in_files(model)
    with h5py.File(tmp_path / "a.weights.h5") as file:
        for weight in model.weights:
            place = places[id(keras_private.storage_of(weight))]
            np.testing.assert_array_equal(file[place], weight)
        assert names["blocks/dense_1"] == file["blocks/dense_1/vars"].attrs["name"] == "own"
