"""A counterpart is trusted once it has given NumPy's numbers; differences and doubts are told."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_estimator.errors import NumpyCallError
from keras_estimator.model import numpy_calls
from keras_estimator.model.numpy_checks import agreement
from keras_estimator.model.numpy_counterparts import Counterpart, NumpyCall, counterpart_of

numpy_calls.install()


def agreed(function: Any, *args: Any, run: Any = None, **kwargs: Any) -> str:
    call = NumpyCall(function, "__call__", args, kwargs)
    return agreement(call, Counterpart("another one", run) if run else counterpart_of(call))


def test_equal_functions_agree():
    assert agreed(np.mean, keras.Input((4,)), axis=-1) == ""


def test_another_function_is_refused_with_the_difference():
    with pytest.raises(NumpyCallError, match=r"cannot run as another one: the values differ by up to 1\.\d+"):
        agreed(np.sin, keras.Input((4,)), run=ops.cos)


@pytest.mark.parametrize(
    ("run", "difference"),
    [
        (lambda x: ops.sin(x)[:, :2], r"NumPy's result has the shape \(3, 4\), the other \(3, 2\)"),
        (lambda x: (ops.sin(x), x), "it gives 2 results, NumPy 1"),
        (lambda x: ops.reshape(x, (5, 5)), "it fails with"),
        (lambda x: ops.sin(x) * 1.001, "the values differ"),
    ],
)
def test_each_kind_of_difference_is_told(run: Any, difference: str):
    with pytest.raises(NumpyCallError, match=difference):
        agreed(np.sin, keras.Input((4,)), run=run)


def test_rounding_is_no_difference():
    assert agreed(np.sin, keras.Input((4,)), run=lambda x: ops.sin(x) * (1 + 1e-6)) == ""


def test_nan_on_both_sides_is_agreement():
    """Half of the numbers that are tried are negative."""
    assert agreed(np.log, keras.Input((4,))) == ""
    with pytest.raises(NumpyCallError):
        agreed(np.log, keras.Input((4,)), run=lambda x: ops.log(ops.abs(x)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float16", "bfloat16", "float64"])
def test_every_dtype_of_numbers_is_tried(dtype: str):
    assert agreed(np.sum, keras.Input((4,), dtype=dtype), axis=1) == ""


def test_a_dtype_without_numbers_cannot_be_tried():
    assert "it does not compute with string" in agreed(np.sort, keras.Input((4,), dtype="string"), run=ops.sort)


def test_places_in_a_tensor_are_tried_with_small_integers():
    assert agreed(np.take, keras.Input((4,)), keras.Input((2,), dtype="int32"), axis=1) == ""


def test_linear_algebra_that_asks_for_it_is_tried_with_positive_definite_matrices():
    assert agreed(np.linalg.cholesky, keras.Input((3, 3))) == ""


def test_lengths_that_have_to_fit_are_tried_for_unknown_axes():
    assert agreed(np.matmul, keras.Input((None,)), np.ones((5, 2), "float32")) == ""


def test_large_tensors_are_tried_as_small_ones():
    assert agreed(np.mean, keras.Input((10_000, 10_000)), axis=1) == ""


def test_what_numpy_cannot_do_either_is_told():
    assert "NumPy cannot compute it either" in agreed(np.matmul, keras.Input(batch_shape=(2, 4)), np.ones((5, 2)))


def test_a_tensor_of_unknown_rank_runs_and_the_doubt_is_logged(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "keras_estimator"):
        function = tf.function(lambda x: np.expm1(x), input_signature=[tf.TensorSpec(None)], autograph=False)
        np.testing.assert_allclose(function(np.ones(2, "float32")), np.expm1([1.0, 1.0]), rtol=1e-6)
    assert "runs as keras.ops.expm1 (not compared with NumPy: no shapes to try)" in caplog.text


def test_a_kind_of_call_is_compared_once():
    before = len(numpy_calls._agreements)  # noqa: SLF001 - what is remembered has no other face
    for length in (5, 5, 6):  # the rank counts, not the shape
        tf.function(lambda x: np.cumsum(x, axis=1), autograph=False)(tf.ones((2, length)))
    assert len(numpy_calls._agreements) == before + 1  # noqa: SLF001 - see above
    tf.function(lambda x: np.cumsum(x, axis=0), autograph=False)(tf.ones((2, 5)))
    assert len(numpy_calls._agreements) == before + 2  # noqa: SLF001 - see above
