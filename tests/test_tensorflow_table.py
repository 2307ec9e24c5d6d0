"""What the doctor's table says of functions of TensorFlow and keras.ops is so: they compute the same."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_estimator.doctor.tensorflow_table import _PLACES, _TABLE, same_in_ops

X = np.random.default_rng(0).uniform(0.1, 0.9, (3, 3)).astype("float32")
Y = np.random.default_rng(1).uniform(0.1, 0.9, (3, 3)).astype("float32")
SIGNED = np.array([[-1.5, -0.5, 0.0], [0.5, 1.5, 2.5], [3.5, -2.0, 7.0]], "float32")
TRUE = SIGNED > 0
TWO = ((X, Y), (SIGNED, SIGNED + 1), (SIGNED, SIGNED))
# The arguments by place that each is tried with; functions of one array are tried with several.
GIVEN: dict[str, Any] = {
    **dict.fromkeys(("acos", "asin"), ((X,), (-X,))),
    **dict.fromkeys(("log", "sqrt", "rsqrt", "reciprocal"), ((X,), (X * 10,))),
    "log1p": ((X,), (X - 0.5,)),
    **dict.fromkeys(
        "add equal greater greater_equal less less_equal matmul maximum minimum multiply not_equal subtract".split(),
        TWO,
    ),
    "divide": ((X, Y), (SIGNED, Y)),
    "pow": ((X, Y), (SIGNED, 2.0)),
    **dict.fromkeys(("logical_and", "logical_or"), ((TRUE, ~TRUE), (TRUE, TRUE))),
    **dict.fromkeys(("reduce_all", "reduce_any"), ((TRUE,), (TRUE, 0), (TRUE, -1))),
    "logical_not": ((TRUE,),),
    "cast": ((SIGNED, "int32"), (X, "float16")),
    "argmax": ((X, 0), (SIGNED, -1)),
    "argmin": ((X, 0), (SIGNED, -1)),
    "clip_by_value": ((SIGNED, -1.0, 1.0),),
    "concat": (([X, Y], 0), ([X, Y], -1)),
    "einsum": (("ij,jk->ik", X, Y), ("ij->j", X)),
    "expand_dims": ((X, 0), (X, -1)),
    "eye": ((3,),),
    "reshape": ((X, (1, 9)), (X, (-1,))),
    "squeeze": ((X[:, :1],), (X[None, :, :1], 0)),
    "stack": (([X, Y],), ([X, Y], 1)),
    "tile": ((X, (2, 3)), (X[0], (2,))),
    "transpose": ((X,), (X, (1, 0)), (X[None], (2, 0, 1))),
    "where": ((TRUE, X, Y),),
    "nn.softmax": ((SIGNED,), (SIGNED, 0)),
}
REDUCED = ((X,), (X, 0), (SIGNED, -1), (SIGNED, (0, 1)))


def given_to(name: str) -> Any:
    return GIVEN.get(name, REDUCED if name.startswith("reduce_") else ((X,), (SIGNED,)))


def of_tensorflow(name: str) -> Any:
    try:
        return functools.reduce(getattr, name.split("."), tf)
    except AttributeError:
        return functools.reduce(getattr, name.split("."), tf.math)


def same(got: Any, wanted: Any) -> None:
    got, wanted = ops.convert_to_numpy(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype or (got.dtype.kind, wanted.dtype.kind) == ("i", "i")
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(_TABLE))
def test_both_compute_the_same(name: str):
    for given in given_to(name):
        same(getattr(ops, _TABLE[name])(*given), of_tensorflow(name)(*given))


@pytest.mark.parametrize("name", sorted(name for name in _TABLE if name.startswith("reduce_")))
def test_axis_and_keepdims_mean_the_same(name: str):
    array = TRUE if name in ("reduce_all", "reduce_any") else X
    for words in ({"axis": 0, "keepdims": True}, {"axis": (0, 1)}, {"keepdims": True}):
        same(getattr(ops, _TABLE[name])(array, **words), of_tensorflow(name)(array, **words))


@pytest.mark.parametrize("name", sorted(_TABLE))
def test_as_many_arguments_by_place_are_tried_as_count_as_the_same(name: str):
    most = max(len(given) for given in given_to(name))
    assert same_in_ops(name, most, ()) == _TABLE[name]
    assert name == "einsum" or _PLACES.get(name, 1) == most


@pytest.mark.parametrize("name", ["nn.relu", "reduce_mean", "square", "expand_dims"])
def test_keras_takes_its_own_tensors(name: str):
    given = (keras.Input((4,)), *given_to(name)[-1][1:])
    assert isinstance(getattr(ops, _TABLE[name])(*given), keras.KerasTensor)


def test_what_is_not_the_same():
    assert same_in_ops("math.reduce_sum", 1, ("axis",)) == "sum"
    assert same_in_ops("nn.conv2d", 2, ()) is None
    assert same_in_ops("reduce_sum", 3, ()) is None
    assert same_in_ops("cast", 1, ("dtype",)) is None
    assert same_in_ops("argmax", 1, ()) is None, "of the first axis in TensorFlow, of all elements in Keras"
    assert same_in_ops("argmax", 1, ("axis",)) == "argmax"
    assert same_in_ops("where", 1, ()) is None
