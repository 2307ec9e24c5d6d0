"""What is said of arrays is true for every type that a checkpoint can hold, and for numbers at the edge."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from keras_estimator.inspection import array_facts
from keras_estimator.inspection.array_facts import ArrayDifference, ArrayFacts, difference_of, facts_of

NOT_A_NUMBER, INFINITE = np.float32("nan"), np.float32("inf")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.float32([3, 4]), ArrayFacts((2,), "float32", 8, 5.0, 3.0, 4.0)),
        (np.array(-2, ml_dtypes.bfloat16), ArrayFacts((), "bfloat16", 2, 2.0, -2.0, -2.0)),
        (np.array([1, -3], ml_dtypes.int4), ArrayFacts((2,), "int4", 2, math.sqrt(10), -3.0, 1.0)),
        (np.uint64([2**63 + 1]), ArrayFacts((1,), "uint64", 8, 2.0**63, 2**63 + 1, 2**63 + 1)),
        (np.array([True, False]), ArrayFacts((2,), "bool", 2, 1.0, 0, 1)),
        (np.complex64([3 + 4j]), ArrayFacts((1,), "complex64", 8, 5.0)),
        (np.zeros((0, 3)), ArrayFacts((0, 3), "float64", 0, 0.0)),
        (np.float32([NOT_A_NUMBER, 2, -INFINITE, INFINITE]), ArrayFacts((4,), "float32", 16, 2.0, 2.0, 2.0, 1, 2)),
        (np.float32([NOT_A_NUMBER]), ArrayFacts((1,), "float32", 4, 0.0, num_nans=1)),
        (np.float64([1e300, 1e300]), ArrayFacts((2,), "float64", 16, math.inf, 1e300, 1e300)),
        (np.array(["é", "ab"], object), ArrayFacts((2,), "text", 4)),
        (np.array([b"abc"], object), ArrayFacts((1,), "bytes", 3)),
    ],
)
def test_facts(array: Any, expected: ArrayFacts):
    assert facts_of(array) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), None),
        (np.float32([NOT_A_NUMBER]), np.float32([NOT_A_NUMBER]), None),
        (np.float32([0, 1]), np.float32([-0.0, 1]), ArrayDifference(0, 0.0, 0.0, 0.0, 0.0)),
        (np.float32([3, 0, 1]), np.float32([0, 4, 1]), ArrayDifference(2, 4.0, 1.0, 5.0, 5 / math.sqrt(17))),
        (np.float32([1]), np.float32([-1]), ArrayDifference(1, 2.0, 2.0, 2.0, 2.0)),
        (np.float32([1]), np.float32([NOT_A_NUMBER]), ArrayDifference(1, *[math.inf] * 4)),
        (np.float32([INFINITE]), np.float32([-INFINITE]), ArrayDifference(1, *[math.inf] * 4)),
        (np.int64([2**62]), np.int64([2**62 + 1]), ArrayDifference(1, 1.0, 2**-62, 1.0, 2**-62)),
        (np.int64([-(2**63)]), np.int64([2**63 - 1]), ArrayDifference(1, 2.0**64, 2.0, 2.0**64, 2.0)),
        (np.array([True]), np.array([False]), ArrayDifference(1, 1.0, 1.0, 1.0, 1.0)),
        (np.complex64([3j]), np.complex64([4]), ArrayDifference(1, 5.0, 1.25, 5.0, 1.25)),
        (np.array([b"a", b"b"], object), np.array([b"a", b"c"], object), ArrayDifference(1)),
        (np.array(["a"], object), np.array(["a"], object), None),
        (np.zeros((0, 2)), np.zeros((0, 2)), None),
    ],
)
def test_differences(a: Any, b: Any, expected: ArrayDifference | None):
    assert difference_of(a, b) == expected


def test_large_arrays_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 7, 9))
    whole = facts_of(a), difference_of(a, b)
    monkeypatch.setattr(array_facts, "_PART", 10)
    for found, expected in zip((facts_of(a), difference_of(a, b)), whole, strict=True):
        for name, value in vars(expected).items():
            assert vars(found)[name] == pytest.approx(value) if name != "dtype" else vars(found)[name] == value
