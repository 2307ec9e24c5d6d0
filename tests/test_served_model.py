"""A copy of a model on other devices makes the steps; counts, seeds and sums of metrics come back from each call."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context as eager_context

import keras_estimator as ke
from keras_estimator.engines.tensorflow.served_model import ServedModel, are_rows, arguments_of, can_be_joined
from keras_estimator.engines.tensorflow.steps import train_step

L = keras.layers
ROWS = np.random.RandomState(0).normal(size=(45, 4)).astype("float32")
BATCHES = [(tf.constant(ROWS[at : at + 20]), tf.constant(ROWS[at : at + 20, :1])) for at in (0, 20, 40)]
SPEC = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)))


class Counting(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.calls = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.table = tf.Variable(np.arange(100), trainable=False)

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1)
        return x


def a_model(*layers: Any) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((4,)), L.Dense(3), *layers, L.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(ROWS[:20], ROWS[:20, :1])  # all variables are there now
    model.optimizer.iterations.assign(0)
    model.reset_metrics()
    return model


def served(model: Any) -> ServedModel:
    return ServedModel(model, ["/device:CPU:0"])


def values(of: ServedModel) -> list[tf.Tensor]:
    return [tf.constant(of.reset_values.get(path, variable.numpy())) for path, variable in of.carried.items()]


def test_what_workers_would_spoil_is_carried():
    ours = served(a_model(L.Dropout(0.1), Counting()))
    assert ours.seeds == {"dropout/seed_generator/state"}
    metrics = {"loss_tracker/total", "loss_tracker/count"}
    metrics |= {f"compile_metrics/flat_metrics/0/metrics/0/{name}" for name in ("total", "count")}
    assert set(ours.reset_values) == metrics
    assert set(ours.carried) == metrics | ours.seeds | {"optimizer/iterations", "counting/calls"}


def test_a_call_makes_a_step_with_each_batch_and_counts_them():
    model, alone = a_model(Counting()), a_model(Counting())
    ours, before = served(model), model.get_weights()
    function = ours.trace(train_step(None), SPEC)
    carried, logs, results, is_finite = function(arguments_of(BATCHES, SPEC), values(ours))
    counted = dict(zip(ours.carried, carried, strict=True))
    assert counted["optimizer/iterations"] == 3
    assert counted["counting/calls"] == 1 + 3
    assert counted["loss_tracker/count"] == 45
    assert bool(is_finite)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    for batch in BATCHES:
        expected = alone.train_step(batch)
    assert {name: float(value) for name, value in logs.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}
    )
    assert {name: float(value) for name, value in results.items()} == {name: float(v) for name, v in logs.items()}
    ours.pull()
    for mine, other in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_what_the_model_is_given_is_pushed():
    model = a_model()
    ours = served(model)
    function = ours.trace(train_step(None), SPEC)
    model.optimizer.learning_rate = 0.0
    kernel = model.layers[0].kernel.numpy() + 1
    model.layers[0].kernel.assign(kernel)
    ours.push()
    function(arguments_of(BATCHES[:1], SPEC), values(ours))
    ours.pull()
    assert np.array_equal(model.layers[0].kernel.numpy(), kernel)
    model.layers[0].kernel.assign(kernel * 2)
    ours.pull()  # without a push, the servers count
    assert np.array_equal(model.layers[0].kernel.numpy(), kernel)


def test_metrics_begin_where_a_reset_leaves_them():
    class Odd(keras.metrics.MeanMetricWrapper):
        def reset_state(self) -> None:
            self.total.assign(7.0)
            self.count.assign(0.0)

    model = a_model()
    model.compile("sgd", "mse", metrics=[Odd(keras.losses.mean_absolute_error, name="odd")])
    model.train_on_batch(ROWS[:20], ROWS[:20, :1])
    ours = served(model)
    found = {path.rpartition("/")[2]: float(v) for path, v in ours.reset_values.items() if "compile_metrics" in path}
    assert found == {"total": 7.0, "count": 0.0}
    counts = [float(v) for path, v in ours.carried.items() if path.endswith("count")]
    assert counts == [20.0, 20.0]  # and the model stays as it is


def test_a_loss_that_is_not_finite_is_seen_wherever_it_is():
    model = a_model()
    ours = served(model)
    function = ours.trace(train_step(None), SPEC)
    batches = [(x * np.nan, y) for x, y in BATCHES[:1]] + BATCHES[1:]
    assert not function(arguments_of(batches, SPEC), values(ours))[3]


def test_python_in_a_step_is_refused():
    def doubled(x: Any) -> Any:
        return tf.ensure_shape(tf.py_function(lambda a: a * 2, [x], tf.float32), x.shape)

    ours = served(a_model(L.Lambda(doubled)))
    with pytest.raises(ke.ModelError, match="calls Python in each step") as caught:
        ours.trace(train_step(None), SPEC)
    assert "EagerPyFunc" in caught.value.found
    assert caught.value.rule == "KE213"


def test_batches_of_one_form_are_sent_as_one():
    assert are_rows(SPEC)
    assert not are_rows(tf.RaggedTensorSpec((None, None), tf.int32))
    assert not are_rows({"x": SPEC[0], "scale": tf.TensorSpec(())})
    rows, sizes = arguments_of(BATCHES, SPEC)
    assert [leaf.shape[0] for leaf in rows] == [45, 45]
    assert sizes.numpy().tolist() == [[20, 20, 5]] * 2
    ragged = tf.ragged.constant([[1], [2, 3]])
    assert arguments_of([ragged], tf.type_spec_from_value(ragged)) is ragged
    assert can_be_joined(BATCHES[0], BATCHES[2])
    assert not can_be_joined(BATCHES[0], (BATCHES[0][0][:, :2], BATCHES[0][1]))


def test_tensorflow_has_what_a_variable_is_swapped_by():
    variable = tf.Variable(1.0)
    assert variable.handle is variable._handle  # noqa: SLF001 - the private part that is used
    assert eager_context.anonymous_name()
