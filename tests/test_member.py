"""What one replica tells apart in its model, and says of a stride."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import Stride
from keras_estimator.engines.tensorflow.member import Member, flattened, metrics_of, parts_of, put, shaped_like
from keras_estimator.engines.tensorflow.state import ModelState

L = keras.layers


def member() -> Member:
    layers = [L.Dense(2, name="dense"), L.BatchNormalization(name="norm"), L.Dropout(0.5)]
    model = keras.Sequential([L.Input((3,)), *layers])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    model.train_on_batch(np.ones((4, 3)), np.zeros((4, 2)))
    return Member(model, ModelState(model))


def test_statistics_are_its_own_and_what_the_optimizer_updates_is_equal_in_all():
    own, equal = member().own_and_equal()
    assert set(own) == {"norm/moving_mean", "norm/moving_variance"}
    assert {"dense/kernel", "dense/bias", "norm/gamma", "norm/beta"} < set(equal)
    assert sum(path.startswith("optimizer/") for path in equal) >= 2 + 4  # steps, rate, and a momentum for each weight


def test_metrics_go_by_the_replica_that_returned_them():
    metrics = {"loss": 1.0, "@seen": 2.0, "@1/loss": 3.0, "@1/@seen": 2.0, "@10/loss": 4.0, "@home": 5.0}
    assert metrics_of(metrics, 0, 11) == {"loss": 1.0, "@seen": 2.0, "@home": 5.0}
    assert metrics_of(metrics, 1, 11) == {"loss": 3.0, "@seen": 2.0}
    assert metrics_of(metrics, 10, 11) == {"loss": 4.0}
    assert metrics_of({"loss": 1.0, "@home": 5.0}, 0, 1) == {"loss": 1.0, "@home": 5.0}


def test_it_says_which_metrics_are_those_of_the_model():
    ours = member()
    of_model = {name: float(value) for name, value in ours.model.get_metrics_result().items()}
    logs = {**of_model, "another": 7.0, "@seen": 5.0, "@weight": 0.25}
    states = [np.asarray(variable) for variable in ours.metric_variables]
    marks, are_of_model, values, sums = parts_of(ours, logs, states, Stride(3, ended=True, is_finite=True, metrics={}))
    assert marks.tolist() == [3, 1, 5, 1, 0.25]
    assert are_of_model.tolist() == [True] * len(of_model) + [False]
    assert values.tolist() == [*of_model.values(), 7.0]
    assert len(sums) == sum(state.size for state in states)


def test_numbers_in_a_row_are_put_back():
    variables = [tf.Variable([[1.0, 2.0]]), tf.Variable(3, dtype=tf.int64), tf.Variable(True)]
    numbers = flattened(variable.numpy() for variable in variables)
    assert numbers.tolist() == [1, 2, 3, 1]
    put(variables, numbers[::-1].copy())
    assert [variable.numpy().tolist() for variable in variables] == [[[1.0, 3.0]], 2, True]
    assert [array.dtype for array in shaped_like(numbers, variables)] == ["float32", "int64", "bool"]
