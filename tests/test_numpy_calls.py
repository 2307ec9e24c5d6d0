"""NumPy on tensors runs as keras.ops: same numbers, exact gradients, nothing else changed, errors with a line."""

from __future__ import annotations

import logging
import math
import operator
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy import sin

import keras_estimator as ke
from keras_estimator.errors import EstimatorWarning, NumpyCallError
from keras_estimator.model import numpy_calls

HERE = Path(__file__).name
X = np.random.default_rng(0).uniform(-2, 2, (4, 3)).astype("float32")

numpy_calls.install()


def traced(function: Callable[..., Any], *values: Any, autograph: bool = False) -> Any:
    """Trace with an unknown batch size, as Keras does, and run on `values`."""
    signature = [tf.TensorSpec([None, *np.shape(value)[1:]], np.asarray(value).dtype) for value in values]
    return tf.function(function, input_signature=signature, autograph=autograph)(*map(tf.constant, values))


def line_of(function: Any, offset: int = 1) -> str:
    return f"{HERE}:{function.__code__.co_firstlineno + offset}"


def model_around(function: Any) -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Lambda(function), keras.layers.Dense(1)]
    )


def mixed(x: Any) -> Any:
    return np.sin(x) * tf.reduce_mean(x)


def by_name(x: Any) -> Any:
    return sin(x) * tf.reduce_mean(x)


def by_another_function(x: Any) -> Any:
    return mixed(x)


def by_own_import(x: Any) -> Any:
    import numpy  # noqa: PLC0415 - one of the ways in which users reach it

    return numpy.sin(x) * tf.reduce_mean(x)


def by_closure() -> Any:
    own = np
    return lambda x: own.sin(x) * tf.reduce_mean(x)


def by_keras(x: Any) -> Any:
    return ops.sin(x) * tf.reduce_mean(x)


def test_training_is_the_same_as_with_keras_ops():
    histories = []
    for function in (by_keras, mixed):
        keras.utils.set_random_seed(1)
        model = model_around(function)
        assert model.count_params() == 3 * 4 + 4 + 4 + 1
        model.compile("sgd", "mse")
        histories.append(model.fit(X, X[:, :1], epochs=3, shuffle=False, verbose=0).history["loss"])
    assert histories[0] == pytest.approx(histories[1], rel=1e-6)


@pytest.mark.parametrize("function", [mixed, by_name, by_another_function, by_own_import, by_closure()])
def test_the_gradient_is_that_of_keras_ops_however_numpy_is_reached(function: Any):
    gradients = []
    for each in (by_keras, function):
        keras.utils.set_random_seed(1)
        model = model_around(each)

        def slopes(x: Any, model: Any = model) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(x) ** 2)
            return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

        gradients.append(traced(lambda x, slopes=slopes: slopes(x), X))
    for wanted, got in zip(*gradients, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


def test_a_functional_model_is_built_from_it():
    inputs = keras.Input((3,))
    outputs = np.concatenate([np.sin(inputs), 2.0 * np.ones((1, 3)) * inputs], axis=-1)
    assert (outputs.shape, outputs.dtype) == ((None, 6), "float32")
    model = keras.Model(inputs, outputs)
    np.testing.assert_allclose(model.predict(X, verbose=0), np.concatenate([np.sin(X), 2 * X], axis=-1), rtol=1e-6)


def test_a_loss_and_a_metric_are_written_with_it():
    def loss(y_true: Any, y_pred: Any) -> Any:
        return np.mean(np.abs(y_true - y_pred), axis=-1)

    def metric(y_true: Any, y_pred: Any) -> Any:
        return np.max(np.square(y_true - y_pred), axis=-1)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", loss, metrics=[metric])
    got = model.evaluate(X, X, verbose=0, return_dict=True)
    difference = X - model.predict(X, verbose=0)
    assert got["loss"] == pytest.approx(np.abs(difference).mean(), rel=1e-5)
    assert got["metric"] == pytest.approx(np.square(difference).max(axis=-1).mean(), rel=1e-5)


def test_a_graph_never_calls_python():
    function = tf.function(mixed, input_signature=[tf.TensorSpec([None, 3])]).get_concrete_function()
    assert not [op.type for op in function.graph.get_operations() if "PyFunc" in op.type]


@pytest.mark.parametrize("value", [np.float64(2.5), np.float32(2.5), np.full((1, 3), 2.5), np.full(3, 2)])
@pytest.mark.parametrize(
    "operation",
    [getattr(operator, name) for name in "add sub mul truediv floordiv mod pow lt le gt ge eq ne".split()],
)
def test_an_operator_between_array_and_tensor_stays_that_of_the_tensor(operation: Any, value: Any):
    left = traced(lambda x: operation(value, ops.abs(x)), X)
    right = traced(lambda x: operation(ops.abs(x), value), X)
    assert left.dtype == right.dtype
    assert left.dtype in (tf.float32, tf.bool)
    np.testing.assert_allclose(left, operation(value, np.abs(X)), rtol=1e-5)
    np.testing.assert_allclose(right, operation(np.abs(X), value), rtol=1e-5)


def test_the_operators_of_integers_keep_tensorflows_meaning():
    got = traced(lambda x: np.array([1.7, 2.7, 3.7]) * x, np.array([[1, 2, 3]]))
    np.testing.assert_array_equal(got, [[1, 4, 9]])  # the array is read as integers


def test_adding_to_an_array_binds_the_name_to_a_tensor():
    def total(x: Any) -> Any:
        result = np.zeros(3, "float32")
        result += x
        return result

    np.testing.assert_array_equal(traced(total, X), X)


@pytest.mark.parametrize("symbolic", [False, True])
def test_float64_of_numpy_does_not_spread(symbolic: bool):
    for function in (lambda x: np.maximum(x, np.zeros(3)), lambda x: np.matmul(x, np.eye(3)), lambda x: np.pi * x):
        got = function(keras.Input((3,))) if symbolic else traced(function, X)
        assert keras.backend.standardize_dtype(got.dtype) == "float32"


@pytest.mark.parametrize("kind", [tf.Variable, keras.Variable])
def test_a_variable_is_read_with_its_gradient_while_tracing(kind: Any):
    variable = kind([0.5, 1.0])

    @tf.function(autograph=False)
    def slope() -> Any:
        with tf.GradientTape() as tape:
            y = np.exp(variable) * np.ones(2)
        return tape.gradient(y, variable.value if kind is keras.Variable else variable)

    np.testing.assert_allclose(slope(), np.exp([0.5, 1.0]), rtol=1e-6)
    assert isinstance(np.exp(variable), np.ndarray)


def test_tensors_with_values_are_left_to_numpy():
    x = tf.constant(X)
    assert isinstance(np.sin(x), np.ndarray)
    assert isinstance(np.mean(x, axis=0), np.ndarray)
    assert not hasattr(type(x), "__array_ufunc__")


def slope_of(function: Any) -> Any:
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(function(x))
    return tape.gradient(y, x)


def test_inside_of_eager_too_the_gradient_is_right():
    """Without it NumPy hides its factor from the tape: no error, another gradient."""
    wanted = slope_of(lambda x: ops.sin(x) * tf.reduce_mean(x))
    assert np.abs(slope_of(mixed) - wanted).max() > 0.1
    with numpy_calls.eager_too():
        np.testing.assert_allclose(slope_of(mixed), wanted, rtol=1e-6)
    assert isinstance(np.sin(tf.constant(X)), np.ndarray)


def test_a_model_that_runs_eagerly_trains_as_with_keras_ops():
    losses = []
    for function in (by_keras, mixed):
        keras.utils.set_random_seed(1)
        model = model_around(function)
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
        with numpy_calls.eager_too():
            losses.append([model.train_on_batch(X, X[:, :1])[0] for _ in range(4)])
    assert losses[0] == losses[1]


def test_inside_of_eager_too_what_has_no_gradient_is_numpys():
    with numpy_calls.eager_too():
        assert np.isnan(tf.constant(X)).any() == np.False_
        assert isinstance(np.argmax(tf.constant(X), axis=1), np.ndarray)


def test_inside_of_eager_too_a_function_without_counterpart_warns_that_the_gradient_ends():
    def spectrum(x: Any) -> Any:
        return np.abs(np.fft.fft(x))

    with numpy_calls.eager_too():
        with pytest.warns(
            EstimatorWarning, match=rf"the gradient ends at np\.fft\.fft.* at {line_of(spectrum)}"
        ) as told:
            result = spectrum(tf.constant(X))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            spectrum(tf.constant(X))
    np.testing.assert_allclose(result, np.abs(np.fft.fft(X)), rtol=1e-5)
    assert told[0].message.rule == "KE202"


def test_eager_too_is_for_one_thread():
    results: list[Any] = []
    with numpy_calls.eager_too():
        thread = threading.Thread(target=lambda: results.append(np.sin(tf.constant(X))))
        thread.start()
        thread.join()
    assert isinstance(results[0], np.ndarray)


def test_the_public_call_is_once_for_all_and_inside_of_with_for_values_too():
    ke.numpy_on_tensors()
    assert np.sin(keras.Input((3,))).shape == (None, 3)
    with ke.numpy_on_tensors():
        assert isinstance(np.sin(tf.constant(X)), tf.Tensor)


def test_each_line_is_logged_once(caplog: pytest.LogCaptureFixture):
    def twice(x: Any) -> Any:
        return np.cosh(x) + np.tanh(x)

    with caplog.at_level(logging.INFO, "keras_estimator"):
        traced(twice, X)
        traced(twice, X)
    assert caplog.messages == [
        f"NumPy on tensors: np.cosh at {line_of(twice)} runs as keras.ops.cosh",
        f"NumPy on tensors: np.tanh at {line_of(twice)} runs as keras.ops.tanh",
    ]


@pytest.mark.parametrize(
    ("function", "fix"),
    [
        (lambda x: np.asarray(x) + 1, r"keras\.ops\.convert_to_tensor"),
        (lambda x: np.stack([np.array(x[0]), x[1]]), r"keras\.ops\.stack"),
        (lambda x: float(x[0, 0]) * x, r"keras\.ops\.cast"),
        (lambda x: math.sin(x[0, 0]) * x, r"keras\.ops\.sin"),
        (lambda x: np.random.normal(x), r"keras\.random"),  # noqa: NPY002 - what users write
        (lambda x: np.vectorize(abs)(x), r"one of keras\.ops"),
    ],
)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_what_needs_the_numbers_is_an_error_with_the_line(function: Any, fix: str):
    with pytest.raises(NumpyCallError) as caught, numpy_calls.explained():
        traced(function, X)
    assert f"{line_of(function, 0)} asks for the numbers of a tensor" in caught.value.problem
    assert np.char.find(caught.value.fix, fix.replace("\\", "")) >= 0
    assert caught.value.rule == "KE201"


def test_the_line_is_found_under_keras_and_autograph():
    def numbers(x: Any) -> Any:
        return np.asarray(x) + 1

    def unknown(x: Any) -> Any:
        return ops.real(np.fft.fft(x))

    def graph_of(function: Any) -> Any:
        return tf.function(lambda x: function(x) if x[0, 0] > 0 else x)

    model = model_around(ops.sin)
    for function in (numbers, unknown):
        model.layers[1].function = function
        for run in (lambda: traced(model, X), lambda function=function: traced(graph_of(function), X, autograph=True)):
            with pytest.raises(NumpyCallError, match=line_of(function)) as caught, numpy_calls.explained():
                run()
            assert caught.value.rule == "KE201"


def test_other_errors_pass_through_as_they_are():
    with pytest.raises(ZeroDivisionError), numpy_calls.explained():
        traced(lambda x: x * (1 / 0), X)
    assert numpy_calls.explain(ValueError("something else")) is None
