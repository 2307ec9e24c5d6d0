"""Predicting is one trace and leaves the model as it is."""

from __future__ import annotations

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke

L = keras.layers
X = np.random.RandomState(0).normal(size=(9, 4)).astype("float32")


class Counting(L.Layer):
    """Counts how often Python runs it, and how often TensorFlow does."""

    def __init__(self) -> None:
        super().__init__()
        self.traces = 0
        self.runs = tf.Variable(0.0, trainable=False)

    def call(self, x):
        self.traces += 1
        self.runs.assign_add(1.0)
        return x + self.runs


def estimator(folder: Path, *, run_eagerly: bool = False) -> tuple[ke.Estimator, Counting]:
    counting = Counting()
    model = keras.Sequential([L.Input((4,)), counting, L.Dense(2)])
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    return ke.model_to_estimator(model, model_dir=folder), counting


def test_batches_of_any_size_and_from_anywhere_are_one_trace(tmp_path: Path) -> None:
    found, counting = estimator(tmp_path)
    predict = found.predictor()
    predict(X)
    before = counting.traces
    for rows in range(1, 10):
        predict(X[:rows])
        list(found.predict(X[:rows]))
        list(found.predict(lambda rows=rows: tf.data.Dataset.from_tensor_slices(X).batch(rows)))
    assert counting.traces == before


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_predicting_leaves_hidden_state_as_it_is(run_eagerly: bool, tmp_path: Path) -> None:
    found, counting = estimator(tmp_path, run_eagerly=run_eagerly)
    predict = found.predictor()
    np.testing.assert_array_equal(predict(X), predict(X))
    assert float(counting.runs) == 0.0


def recurrent() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input(batch_shape=(3, 4, 1)), L.GRU(2, stateful=True)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_what_a_batch_leaves_behind_the_next_one_of_the_same_call_reads(run_eagerly: bool, tmp_path: Path) -> None:
    batches = tf.data.Dataset.from_tensor_slices(X[..., None]).batch(3)
    model = recurrent()
    model.run_eagerly = run_eagerly
    found = ke.model_to_estimator(model, model_dir=tmp_path)
    expected = recurrent().predict(batches, verbose=0)
    for _ in range(2):
        predicted = found.predict(lambda: batches, yield_single_examples=False)
        ours = np.concatenate([next(iter(batch.values())) for batch in predicted])
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)
    assert not np.any(model.layers[0].states[0])


class Drops(L.Dropout):
    """Drops in predictions too, to tell how certain they are."""

    def call(self, x, training=False):
        return super().call(x, training=True)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_predictions_by_chance_differ_and_the_seeds_of_training_stay(run_eagerly: bool, tmp_path: Path) -> None:
    model = keras.Sequential([L.Input((4,)), Drops(0.5, seed=3)])
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    found = ke.model_to_estimator(model, model_dir=tmp_path)
    seed = model.layers[0].seed_generator.state
    before = seed.numpy()
    predict = found.predictor()
    drawn = [predict(X), predict(X), np.stack([next(iter(p.values())) for p in found.predict(X)])]
    assert not any(np.array_equal(*pair) for pair in itertools.combinations(drawn, 2))
    np.testing.assert_array_equal(seed.numpy(), before)
    np.testing.assert_array_equal(drawn[0], model.predict(X, verbose=0))


def test_the_predictor_uses_the_weights_of_the_time(tmp_path: Path) -> None:
    found, _ = estimator(tmp_path)
    predict = found.predictor()
    before = predict(X)
    found.model.layers[-1].bias.assign([1.0, 2.0])
    np.testing.assert_allclose(predict(X), before + np.array([[1.0, 2.0]]), rtol=1e-6)


def test_float64_and_lists_are_taken_and_names_are_matched(tmp_path: Path) -> None:
    found, _ = estimator(tmp_path)
    predict = found.predictor()
    wanted = predict(X)
    np.testing.assert_array_equal(predict(X.astype("float64")), wanted)
    np.testing.assert_array_equal(predict({"any": X}), wanted)


def test_sequences_of_other_lengths_widen_the_trace_once(tmp_path: Path) -> None:
    class Mean(keras.Model):
        traces = 0

        def call(self, x):
            type(self).traces += 1
            return keras.ops.mean(x, axis=1)

    predict = ke.model_to_estimator(Mean(), model_dir=tmp_path).predictor()
    for length in (3, 4, 5, 6):
        assert predict(np.ones((2, length, 1), "float32")).shape == (2, 1)
    assert Mean.traces == 2


def test_several_outputs_keep_the_structure_of_the_model(tmp_path: Path) -> None:
    given = keras.Input((4,))
    model = keras.Model(given, {"p": L.Dense(1)(given), "q": L.Dense(2)(given)})
    outputs = ke.model_to_estimator(model, model_dir=tmp_path).predictor()(X)
    assert {name: array.shape for name, array in outputs.items()} == {"p": (9, 1), "q": (9, 2)}
