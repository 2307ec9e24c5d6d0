"""What processes compare tells models, versions and data apart, and nothing else."""

from __future__ import annotations

import keras
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.tensorflow.alike import to_compare
from keras_estimator.engines.tensorflow.state import ModelState


def compared(*layers: keras.layers.Layer, data: str = "x", **settings: object) -> dict[str, str]:
    model = keras.Sequential([keras.layers.Input((3,)), *layers, keras.layers.Dense(1, name="last")])
    model.compile("sgd", "mse")
    return to_compare(model, ModelState(model), data, ke.RunConfig(**settings))


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    assert one.keys() == other.keys()
    return {what for what in one if one[what] != other[what]}


def test_equal_models_with_other_weights_are_alike():
    assert not differing(compared(), compared())


def test_what_differs_has_a_name():
    answers = {"what the model answers", "what a step of training does"}
    assert differing(compared(), compared(data="y")) == {"the data"}
    assert (
        differing(compared(), compared(keras.layers.Dense(2, name="more"))) == {"the variables of the model"} | answers
    )
    assert differing(compared(), compared(keras.layers.ReLU(name="relu"))) >= answers


def test_settings_by_which_processes_would_part_are_compared():
    assert differing(compared(), compared(save_summary_steps=None)) == {"RunConfig.save_summary_steps"}
    assert differing(compared(), compared(eval_distribute="mirrored")) == {"RunConfig.eval_distribute"}
    assert not differing(compared(), compared(model_dir="elsewhere", progress="off"))


def test_versions_are_among_it():
    assert compared()["the version of keras"] == keras.__version__
    assert compared()["the version of tensorflow"] == tf.__version__


def test_a_model_of_which_no_copy_can_be_made_is_compared_by_its_variables(tmp_path):
    class Holding(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x

    holding = Holding(name="holding")
    with (tmp_path / "file").open("w") as file:
        holding.file = file
        found = compared(holding)
    assert found["what the model answers"] == ""
    assert "last/kernel" in found["the variables of the model"]
