"""What the doctor's table says of functions of NumPy and keras.ops is so: the same names compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from keras_estimator.doctor import numpy_table
from keras_estimator.doctor.numpy_table import SAME_IN_OPS, equivalent_of, is_same

X = np.random.default_rng(0).uniform(0.1, 0.9, (3, 3)).astype("float32")
Y = np.random.default_rng(1).uniform(0.1, 0.9, (3, 3)).astype("float32")
SIGNED = np.array([[-1.5, -0.5, 0.0], [0.5, 1.5, 2.5], [3.5, -2.0, 1.0]], "float32")
ODD = np.array([[np.nan, np.inf, -np.inf], [0.0, -0.0, 1.0], [2.0, -3.0, 4.0]], "float32")
TWO = ((X, Y), (SIGNED, SIGNED + 1), (SIGNED, SIGNED))
REDUCED = ((X,), (X, 0), (SIGNED, -1), (SIGNED, (0, 1)))
ONE_AXIS = ((X,), (X, 0), (SIGNED, -1))
# The arguments by place that each is tried with; functions of one array are tried with several.
GIVEN: dict[str, Any] = {
    "arccosh": ((X + 1,),),
    "arctanh": ((X,), (X - 0.5,)),
    **dict.fromkeys(("arccos", "arcsin"), ((X,), (X - 0.5,))),
    **dict.fromkeys(("log", "log10", "log2", "sqrt", "reciprocal"), ((X,), (X * 10,))),
    "log1p": ((X,), (X - 0.5,)),
    **dict.fromkeys(("isnan", "isinf", "isfinite"), ((ODD,),)),
    **dict.fromkeys(("all", "any", "amax", "amin", "max", "min", "mean", "prod", "std", "sum", "var"), REDUCED),
    **dict.fromkeys(("argmax", "argmin", "cumprod", "cumsum"), ONE_AXIS),
    **dict.fromkeys(("flip", "sort"), ONE_AXIS),
    **dict.fromkeys(
        """add arctan2 equal greater greater_equal less less_equal logical_and logical_or matmul maximum minimum
        multiply not_equal outer subtract dot""".split(),
        TWO,
    ),
    **dict.fromkeys(("divide", "true_divide", "mod"), ((X, Y), (SIGNED, Y), (SIGNED, -Y))),
    "power": ((X, Y), (SIGNED, 2), (X, -1.5)),
    "hstack": (([X, Y],), ((X[0], Y[0]),)),
    **dict.fromkeys(("concatenate", "stack"), (([X, Y],), ([X, Y], 1), ((X, Y), -1))),
    "expand_dims": ((X, 0), (X, -1)),
    "squeeze": ((X[:, :1],), (X[None, :, :1], 0)),
    "reshape": ((X, (1, 9)), (X, -1), (X, (-1, 3))),
    "transpose": ((X,), (X, (1, 0)), (X[None], (2, 0, 1))),
    "tile": ((X, 2), (X, (2, 3)), (X[0], (2, 2))),
    **dict.fromkeys(("tril", "triu"), ((X,), (X, 1), (X, -1))),
    "round": ((SIGNED,), (X, 1)),
    "clip": ((SIGNED, -1, 1), (SIGNED, 0.0, 1.0)),
    "diff": ((X,), (X, 2), (X, 1, 0)),
    "repeat": ((X, 2), (X, 2, 0)),
    "roll": ((X, 1), (X, 1, 0), (X, -2, 1)),
    "swapaxes": ((X, 0, 1), (X[None], 0, -1)),
    "where": ((SIGNED > 0, X, Y), (SIGNED > 0, X, 0.0)),
    "einsum": (("ij,jk->ik", X, Y), ("ij->j", X), ("ij,ij", X, Y)),
}


def same(got: Any, wanted: Any) -> None:
    got, wanted = ops.convert_to_numpy(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(SAME_IN_OPS))
def test_the_same_name_computes_the_same(name: str):
    for given in GIVEN.get(name, ((X,), (Y * 2,), (SIGNED,))):
        with np.errstate(all="ignore"):
            same(getattr(ops, name)(*given), getattr(np, name)(*given))


@pytest.mark.parametrize("name", sorted(SAME_IN_OPS))
def test_floating_numbers_stay_what_they_are(name: str):
    """`np.sin` of float32 is float32 in both; what is no floating number in one is none in the other."""
    given = GIVEN.get(name, ((X,),))[0]
    got, wanted = ops.convert_to_numpy(getattr(ops, name)(*given)).dtype, np.asarray(getattr(np, name)(*given)).dtype
    assert got == wanted or (got.kind, wanted.kind) == ("i", "i")


@pytest.mark.parametrize("name", "all amax amin any max mean min prod std sum var argmax argmin".split())
@pytest.mark.parametrize("axis", [0, -1, None])
def test_axis_and_keepdims_mean_the_same(name: str, axis: int | None):
    for keepdims in (False, True):
        same(getattr(ops, name)(X, axis=axis, keepdims=keepdims), getattr(np, name)(X, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("name", sorted(SAME_IN_OPS))
def test_as_many_arguments_by_place_are_tried_as_count_as_the_same(name: str):
    most = max(len(given) for given in GIVEN.get(name, ((X,),)))
    assert is_same(name, most, ())
    assert name == "einsum" or not is_same(name, most + 1, ())


@pytest.mark.parametrize(
    "name",
    sorted(SAME_IN_OPS | numpy_table._ALSO_IN_OPS | set(numpy_table._OTHERWISE_NAMED)),  # noqa: SLF001 - its own test
)
def test_every_name_is_in_both(name: str):
    for module, path in ((np, name), (ops, equivalent_of(name))):
        thing: Any = module
        for part in str(path).split("."):
            assert hasattr(thing, part), f"{module.__name__} has no {path}"
            thing = getattr(thing, part)


def test_what_is_not_the_same():
    assert equivalent_of("fft.rfft") is None
    assert not is_same("sum", 1, ("dtype",))
    assert not is_same("sum", 3, ()), "the third is the dtype"
    assert not is_same("where", 1, ())
    assert is_same("mean", 1, ("axis", "keepdims"))
