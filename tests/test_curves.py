"""A curve is thinned so that its picture stays the same."""

from __future__ import annotations

import math
import random

import pytest

from keras_estimator.report.curves import thinned


def test_a_short_curve_is_not_thinned():
    assert thinned([3.0, 1.0, 2.0], 3) == [0, 1, 2]


@pytest.mark.parametrize("most", [10, 100, 999])
def test_a_long_curve_keeps_its_extremes_its_ends_and_where_it_is_not_finite(most: int):
    chance = random.Random(most)
    curve = [chance.random() for _ in range(10_000)]
    curve[1234], curve[7777], curve[5000] = 50.0, -50.0, math.nan
    kept = thinned(curve, most)
    assert kept == sorted(set(kept))
    assert {0, 1234, 7777, 5000, 9999} <= set(kept)
    assert len(kept) <= most + 3


def test_a_curve_without_a_finite_value_is_thinned():
    assert thinned([math.inf] * 100, 10)[0] == 0
