"""Names of a source file stand for one canonical name each."""

from __future__ import annotations

import ast

import pytest

from keras_estimator.doctor.names import Names, canonical, kind_of_keras


def dotted(imports: str, name: str, module: str = "", *, is_package: bool = False) -> str:
    names = Names(list(ast.walk(ast.parse(imports))), module, is_package=is_package)
    return names.dotted(ast.parse(name, mode="eval").body)


@pytest.mark.parametrize(
    ("imports", "name", "expected"),
    [
        ("import numpy as np", "np.sin", "numpy.sin"),
        ("import numpy", "numpy.linalg.norm", "numpy.linalg.norm"),
        ("import numpy.linalg", "numpy.sin", "numpy.sin"),
        ("from numpy import sin as s", "s", "numpy.sin"),
        ("import tensorflow as tf", "tf.keras.layers.Dense", "keras.layers.Dense"),
        ("import tensorflow as tf", "tf.compat.v1.keras.Model", "keras.Model"),
        ("from tensorflow import keras", "keras.Model", "keras.Model"),
        ("from tensorflow.keras import layers as L", "L.Lambda", "keras.layers.Lambda"),
        ("from tensorflow.python.keras.layers import Layer", "Layer", "keras.layers.Layer"),
        ("from keras.src.layers import Layer", "Layer", "keras.layers.Layer"),
        ("import tensorflow.compat.v2 as tf", "tf.Variable", "tensorflow.Variable"),
        ("import keras\nL = keras.layers", "L.Dense", "keras.layers.Dense"),
        ("import keras\nLayer = keras.layers.Layer", "Layer", "keras.layers.Layer"),
        ("import keras\nx = keras.Input((4,)).shape", "x", ""),
        ("import tf_keras", "tf_keras.Model", "tf_keras.Model"),
        ("", "np.sin", ""),
    ],
)
def test_what_a_name_stands_for(imports: str, name: str, expected: str):
    assert dotted(imports, name) == expected


def test_a_relative_import_is_of_the_package():
    assert dotted("from .layers import Mine", "Mine", "package.models.net") == "package.models.layers.Mine"
    assert dotted("from ..layers import Mine", "Mine", "package.models.net") == "package.layers.Mine"
    assert dotted("from .layers import Mine", "Mine", "package.models", is_package=True) == "package.models.layers.Mine"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("keras.layers.Layer", "layer"),
        ("keras.layers.Dense", "layer"),
        ("keras.Model", "model"),
        ("keras.models.Sequential", "model"),
        ("keras.losses.Loss", "loss"),
        ("keras.metrics.Mean", "metric"),
        ("keras.optimizers.schedules.CosineDecay", "schedule"),
        ("keras.callbacks.Callback", "callback"),
        ("keras.layers.serialize", ""),
        ("keras.utils.PyDataset", ""),
        ("numpy.Layer", ""),
        ("Layer", ""),
    ],
)
def test_what_kind_of_keras_class_a_name_is(name: str, kind: str):
    assert kind_of_keras(name) == kind


def test_the_alias_of_a_module_is_found():
    names = Names(list(ast.walk(ast.parse("import keras as k\nimport numpy as np\nfrom keras import ops"))))
    assert (names.alias_of("keras"), names.alias_of("numpy"), names.alias_of("keras.ops")) == ("k", "np", "ops")
    assert names.alias_of("tensorflow") == ""


def test_other_names_are_left_as_they_are():
    assert canonical("tensorflow.kerasfoo.x") == "tensorflow.kerasfoo.x"
    assert canonical("my.keras.layers") == "my.keras.layers"
