"""Every variable of a model is found, under the same path in every process."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model import anatomy

L = keras.layers
GLOBAL = tf.Variable(3.0)


class Holder(L.Layer):
    def __init__(self, captured):
        super().__init__()
        self.counter = tf.Variable(0, trainable=False)
        self.box = [tf.Variable(1.0), {"k": tf.Variable(2.0)}]
        self.read = lambda x: x * captured

    def call(self, x):
        return self.read(x) * GLOBAL


def paths(model) -> list[str]:
    return [holding.path for holding in anatomy.holdings(model)]


def trained() -> keras.Model:
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(3), L.BatchNormalization(), L.Dropout(0.5), Holder(tf.Variable(5.0)), L.Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(np.zeros((2, 4), "float32"), np.zeros((2, 1), "float32"))
    return model


def test_every_variable_is_found_once_wherever_it_is_held() -> None:
    model = trained()
    held = anatomy.holdings(model)
    found = [id(holding.variable.value if not holding.is_raw else holding.variable) for holding in held]
    assert len(set(found)) == len(found)
    known = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    assert {id(variable.value) for variable in known} <= set(found)
    raw = {holding.path for holding in held if holding.is_raw}
    assert raw == {"holder/counter", "holder/box/0", "holder/box/1/k", "holder/read/captured", "globals/GLOBAL"}
    assert {h.path for h in held if h.is_idle} == raw - {"holder/counter"}


def test_paths_name_layers_and_slots() -> None:
    found = paths(trained())
    for path in (
        "dense/kernel",
        "dense_1/bias",
        "batch_normalization/moving_mean",
        "dropout/seed_generator/state",
        "optimizer/iterations",
        "optimizer/momentums/0",
        "loss_tracker/total",
    ):
        assert path in found


def test_a_subclassed_model_has_the_names_of_its_attributes() -> None:
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = L.Dense(2), L.Dense(1)

        def call(self, x):
            return self.second(self.first(x))

    model = Two()
    model(np.zeros((1, 3), "float32"))
    assert paths(model) == ["first/kernel", "first/bias", "second/kernel", "second/bias"]


PATHS_ELSEWHERE = """
import json, sys, keras
sys.path.insert(0, {tests!r})
import test_anatomy
for _ in range(5):
    keras.layers.Dense(1), keras.layers.Dropout(0.1), keras.Sequential()
print(json.dumps(test_anatomy.paths(test_anatomy.trained())))
"""


def test_paths_are_the_same_in_another_process_with_other_automatic_names() -> None:
    code = PATHS_ELSEWHERE.format(tests=str(__file__).rpartition("/")[0])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == paths(trained())


def test_layers_that_share_a_variable_count_once() -> None:
    class Tied(L.Layer):
        def __init__(self, other):
            super().__init__()
            self.other = other

        def build(self, shape):
            self.kernel = self.other.kernel

        def call(self, x):
            return x @ tf.transpose(self.kernel)

    first = L.Dense(3, use_bias=False)
    model = keras.Sequential([L.Input((3,)), first, Tied(first)])
    assert paths(model) == ["dense/kernel"]


@pytest.mark.parametrize("functional", [False, True])
def test_two_hundred_layers_in_a_row_need_no_recursion(functional: bool) -> None:
    if functional:
        given = x = keras.Input((2,))
        for _ in range(200):
            x = L.Dense(2)(x)
        model = keras.Model(given, x)
    else:
        model = keras.Sequential([L.Input((2,)), *(L.Dense(2) for _ in range(200))])
    assert len(paths(model)) == 400


def test_an_object_that_holds_itself_is_no_trap() -> None:
    model = keras.Sequential([L.Input((2,)), L.Dense(1)])
    model.me = model
    model.ring = [model.layers]
    assert paths(model) == ["dense/kernel", "dense/bias"]


def test_keras_still_has_the_attributes_that_the_walk_knows_by_name() -> None:
    model = trained()
    functional = keras.Model(model.inputs, model.outputs)
    present = set(vars(model)) | set(vars(functional)) | set(vars(model.layers[0])) | set(vars(model.optimizer))
    present |= set(vars(keras.metrics.Mean()))
    optional = {"history", "_distribution_strategy", "_dtype_policy", "_compiled_trainable_state"}
    assert anatomy._BOOKKEEPING - present - optional == set()  # noqa: SLF001 - it is what is tested
    assert set(anatomy._OWNERS_LAST) <= present  # noqa: SLF001 - it is what is tested
