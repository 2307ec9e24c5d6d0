"""Steps take a model and a batch as the user gives it, and give metrics by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow.steps import features, has_own_evaluation, measured_step, test_step, train_step

test_step.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test
L = keras.layers
X = np.random.RandomState(0).normal(size=(6, 3)).astype("float32")
CLASSES = np.array([0, 1, 0, 1, 1, 1])


def classifier() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((3,)), L.Dense(2, "softmax")])
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def batch(*parts: Any) -> Any:
    return tuple(map(tf.constant, parts))


def test_training_with_weights_by_class_is_training_with_sample_weights():
    one, other = classifier(), classifier()
    logs = train_step({0: 3.0, 1: 0.5})(one, batch(X, CLASSES))
    wanted = train_step(None)(other, batch(X, CLASSES, np.where(CLASSES == 0, 3.0, 0.5).astype("float32")))
    assert float(logs["loss"]) == pytest.approx(float(wanted["loss"]))
    np.testing.assert_allclose(one.get_weights()[0], other.get_weights()[0], rtol=1e-6)


def test_measuring_is_what_keras_measures_and_gives_the_outputs_too():
    model = classifier()
    wanted = model.evaluate(X, CLASSES, verbose=0, return_dict=True)
    model.reset_metrics()
    logs = test_step(model, batch(X, CLASSES))
    assert {name: float(value) for name, value in logs.items()} == pytest.approx(wanted)
    model.reset_metrics()
    logs, outputs = measured_step(lambda _: pytest.fail("the model's own answer is there"))(model, batch(X, CLASSES))
    assert float(logs["accuracy"]) == pytest.approx(wanted["accuracy"])
    (answer,) = outputs.values()
    np.testing.assert_allclose(answer, model(X), rtol=1e-6)


def test_a_step_of_the_users_is_measured_beside_what_predict_gives():
    class Own(keras.Sequential):
        def test_step(self, data: Any) -> dict[str, Any]:
            return {"loss": tf.reduce_mean(data[1])}

    model = Own([L.Input((3,)), L.Dense(1)])
    model.compile("sgd", "mse")
    assert has_own_evaluation(model)
    assert not has_own_evaluation(classifier())
    logs, outputs = measured_step(lambda given: given * 2)(model, batch(X, X[:, :1]))
    assert float(logs["loss"]) == pytest.approx(float(X[:, 0].mean()))
    (answer,) = outputs.values()
    np.testing.assert_array_equal(answer, X * 2)


def test_features_are_what_the_model_takes():
    assert features((1, 2, 3)) == 1
    assert features({"a": 1}) == {"a": 1}
