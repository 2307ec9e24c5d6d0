"""A NumPy function and its arguments are found again in keras.ops: over the functions that models use."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from keras_estimator.errors import NumpyCallError
from keras_estimator.model import numpy_calls
from keras_estimator.model.numpy_counterparts import _COMPOSED as COMPOSED
from keras_estimator.model.numpy_counterparts import _OTHER_NAMES as OTHER_NAMES
from keras_estimator.model.numpy_counterparts import NumpyCall, counterpart_of, with_matching_dtypes

RANDOM = np.random.default_rng(0)
A = RANDOM.uniform(-2, 2, (3, 4)).astype("float32")
B = RANDOM.uniform(-2, 2, (3, 4))
PLACES = np.array([[2, 0, 1, 1], [3, 1, 0, 2], [1, 1, 2, 0]])

UNARY = """
    abs absolute acos arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh deg2rad degrees exp exp2 expm1
    floor isfinite isinf isnan log log10 log1p log2 negative rad2deg radians reciprocal rint sign sin sinh sqrt square
    tan tanh trunc fix sinc nan_to_num copy ravel transpose mean sum std var max min prod median argmax argmin
    cumsum cumprod sort argsort squeeze zeros_like ones_like diff size ndim count_nonzero matrix_transpose tril
    triu flip trace diag unique
""".split()
BINARY = """
    add subtract multiply divide floor_divide mod power maximum minimum fmax fmin arctan2 hypot logaddexp copysign
    greater greater_equal less less_equal equal not_equal fmod isclose
""".split()

FORMS = {
    "mean over an axis": lambda x: np.mean(x, axis=-1, keepdims=True),
    "mean by place": lambda x: np.mean(x, 1),
    "mean as float64": lambda x: np.mean(x, axis=0, dtype=np.float64),
    "sum over axes": lambda x: np.sum(x, axis=(0, 1)),
    "max over an axis": lambda x: np.max(x, axis=1, keepdims=True),
    "any": lambda x: np.any(x > 0, axis=1),
    "sine as float64": lambda x: np.sin(x, dtype=np.float64),
    "clip by place": lambda x: np.clip(x, -1, 1),
    "clip from above": lambda x: np.clip(x, None, 1.0),
    "where": lambda x: np.where(x > 0, x, 0.01 * x),
    "where, scalar": lambda x: np.where(x > 0, x, 0.0),
    "select": lambda x: np.select([x > 1, x > 0], [x, 2 * x], default=-1.0),
    "logical": lambda x: np.logical_and(x > 0, np.logical_not(x > 1)),
    "concatenate": lambda x: np.concatenate([x, A, x], axis=1),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "vstack": lambda x: np.vstack((x, B)),
    "hstack": lambda x: np.hstack([x, x]),
    "split": lambda x: np.split(x, 2, axis=1)[1],
    "einsum": lambda x: np.einsum("ij,kj->ik", x, B),
    "matmul": lambda x: np.matmul(x, B.T),
    "matmul from the left": lambda x: B.T @ x,
    "dot": lambda x: np.dot(x, B.T),
    "tensordot": lambda x: np.tensordot(x, B, axes=[[1], [1]]),
    "inner": lambda x: np.inner(x, B),
    "vdot": lambda x: np.vdot(x, B),
    "outer": lambda x: np.outer(x[0], x[1]),
    "cross": lambda x: np.cross(x[:, :3], B[:, :3]),
    "norm": lambda x: np.linalg.norm(x),
    "norm over an axis": lambda x: np.linalg.norm(x, axis=-1, keepdims=True),
    "norm of order one": lambda x: np.linalg.norm(x, ord=1, axis=1),
    "determinant": lambda x: np.linalg.det(np.matmul(np.transpose(x), x) + np.eye(4)),
    "inverse": lambda x: np.linalg.inv(np.matmul(x[:3, :3], np.transpose(x[:3, :3])) + np.eye(3)),
    "cholesky": lambda x: np.linalg.cholesky(np.matmul(x[:3], np.transpose(x[:3])) + np.eye(3)),
    "singular values": lambda x: np.linalg.svd(x[:3, :3])[1],
    "reshape": lambda x: np.reshape(x, (-1, 2)),
    "flatten": lambda x: np.reshape(x, -1),
    "expand_dims": lambda x: np.expand_dims(x, axis=-1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "tile": lambda x: np.tile(x, (1, 2)),
    "repeat": lambda x: np.repeat(x, 2, axis=1),
    "roll": lambda x: np.roll(x, 1, axis=1),
    "pad": lambda x: np.pad(x, ((0, 0), (1, 2)), constant_values=5),
    "pad by reflection": lambda x: np.pad(x, ((0, 0), (1, 1)), mode="reflect"),
    "take": lambda x: np.take(x, [0, 2], axis=1),
    "take_along_axis": lambda x: np.take_along_axis(x, PLACES, axis=-1),
    "average": lambda x: np.average(x, axis=1, weights=np.arange(1.0, 5.0)),
    "percentile": lambda x: np.percentile(x, 30, axis=1),
    "quantile": lambda x: np.quantile(x, [0.1, 0.5], axis=0),
    "linspace": lambda x: np.linspace(x[0], x[1], 5),
    "meshgrid": lambda x: np.meshgrid(x[0], x[1], indexing="ij")[1],
    "full_like": lambda x: np.full_like(x, 3.0),
    "zeros_like, integers": lambda x: np.zeros_like(x, dtype="int32"),
    "modf": lambda x: np.modf(x)[0],
    "divmod": lambda x: np.divmod(x, 0.7)[1],
    "sum of a ufunc": lambda x: np.add.reduce(x, axis=1),
    "maximum of a ufunc": lambda x: np.maximum.reduce(x),
    "running sum of a ufunc": lambda x: np.add.accumulate(x),
    "sigmoid of SciPy": lambda x: scipy.special.expit(x),
    "erf of SciPy": lambda x: scipy.special.erf(x),
    "log of the sigmoid of SciPy": lambda x: scipy.special.log_expit(x),
}
REFUSED = {
    "a function keras.ops has not": (lambda x: np.interp(x, [0, 1], [1, 2]), "has no counterpart in keras.ops"),
    "a Fourier transform": (lambda x: np.fft.fft(x), "has no counterpart in keras.ops"),
    "a namesake": (lambda x: np.linalg.cond(x), "has no counterpart in keras.ops"),
    "a method of a ufunc": (lambda x: np.add.at(x, [0], 1.0), "has no counterpart in keras.ops"),
    "an argument": (lambda x: np.std(x, ddof=1), "is given `ddof`, which keras.ops.std does not take"),
    "out": (lambda x: np.sin(x, out=np.zeros((3, 4))), "is given `out`, which keras.ops.sin does not take"),
    "out of a clip": (lambda x: np.clip(x, 0, 1, out=np.zeros((3, 4))), "is given what functions of keras.ops do not"),
    "another order": (lambda x: np.reshape(x, (2, -1), order="F"), "cannot run as"),
    "where=": (lambda x: np.sum(x, where=A > 0), "is given `where`, which keras.ops.sum does not take"),
    "a namesake with other axes": (lambda x: np.linalg.trace(x[None, :, :3]), "cannot run as keras.ops.trace"),
}

numpy_calls.install()


def traced(function: Any) -> Any:
    """Return what `function` gives for `A` when it is traced for any number of rows."""
    return tf.function(lambda x: function(x), input_signature=[tf.TensorSpec([None, 4])], autograph=False)(A).numpy()


def assert_same(function: Any) -> None:
    with np.errstate(all="ignore"):
        wanted = function(A)
    got = traced(function)
    assert got.shape == np.shape(wanted)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def assert_same_or_refused(name: str, function: Any) -> None:
    """Compare with NumPy; of functions that an older Keras has not, that is what must be said."""
    known = getattr(np, name).__name__  # `np.acos` is `arccos`
    if hasattr(keras.ops, OTHER_NAMES.get(known, known)) or known in COMPOSED:
        assert_same(function)
    else:
        with pytest.raises(NumpyCallError, match=f"np.{known} .* has no counterpart"):
            traced(function)


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_one_tensor(name: str):
    assert_same_or_refused(name, getattr(np, name))


@pytest.mark.parametrize("name", BINARY)
def test_a_function_of_two(name: str):
    function = getattr(np, name)
    assert_same_or_refused(name, lambda x: function(x, np.abs(B)))
    assert_same_or_refused(name, lambda x: function(np.abs(x), 1.5))


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_a_call(form: str):
    newer = form if form == "percentile" else "sum"  # the only form of a function that older Keras has not
    assert_same_or_refused(newer, FORMS[form])


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_says_what_is_in_the_way(case: str):
    function, reason = REFUSED[case]
    with pytest.raises(NumpyCallError) as caught:
        traced(function)
    assert reason in caught.value.problem
    assert caught.value.rule == "KE201"
    assert f"line {function.__code__.co_firstlineno})" in caught.value.found


@pytest.mark.parametrize(
    ("function", "method", "name", "label"),
    [
        (np.sin, "__call__", "np.sin", "keras.ops.sin"),
        (np.linalg.norm, "__call__", "np.linalg.norm", "keras.ops.norm"),
        (np.add, "reduce", "np.add.reduce", "keras.ops.sum"),
        (np.absolute, "__call__", "np.absolute", "keras.ops.abs"),
        (scipy.special.expit, "__call__", "expit", "keras.ops.sigmoid"),
    ],
)
def test_functions_are_called_by_the_names_users_know(function: Any, method: str, name: str, label: str):
    call = NumpyCall(function, method, (A,), {})
    assert call.name == name
    assert counterpart_of(call).label == label


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32"])
def test_float64_arrays_take_the_type_of_the_tensors(dtype: str):
    call = NumpyCall(np.maximum, "__call__", (tf.ones((2, 2), dtype), np.zeros(2), np.arange(2), 1.5), {})
    args = with_matching_dtypes(call).args
    assert keras.backend.standardize_dtype(args[1].dtype) == ("float32" if dtype == "int32" else dtype)
    assert args[2].dtype == np.arange(2).dtype
    assert args[3] == 1.5
