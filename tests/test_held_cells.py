"""Each kind of thing that changes is compared, carried as plain values, and put back; it refuses other kinds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.held_cells import (
    ArrayCell,
    Cell,
    DrawsCell,
    FixedCell,
    NumberCell,
    SequenceCell,
    VariableCell,
    draws_of,
    sample_of,
)
from keras_estimator.engines.plain_values import MOST_BYTES, read, written
from keras_estimator.errors import InputError


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value

    def put(self, value: Any) -> None:
        self.value = value


CASES: list[tuple[Any, Callable[[Any, Any], Cell], Callable[[Holder], Any]]] = [
    (lambda: 3, NumberCell, lambda held: held.put(2.5)),
    (lambda: None, NumberCell, lambda held: held.put(1)),
    (lambda: np.arange(9.0), ArrayCell, lambda held: held.value.sort() or held.value.__setitem__(0, 7)),
    (lambda: np.arange(9.0), ArrayCell, lambda held: held.put(np.arange(4))),
    (lambda: list("abcd") * 30, SequenceCell, lambda held: random.Random(1).shuffle(held.value)),
    (lambda: list(range(90)), SequenceCell, lambda held: held.put([5, 4, 3, 3])),
    (lambda: list(range(90)), SequenceCell, lambda held: held.value.append(1000)),
    (lambda: np.array(["a", "bb", "c"]), SequenceCell, lambda held: held.put(held.value[::-1].copy())),
    (lambda: np.array(["a", "bb", "c"]), SequenceCell, lambda held: np.random.RandomState(1).shuffle(held.value)),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_has_become_of_it_comes_back(case: int) -> None:
    make, kind, change = CASES[case]
    before, after = Holder(make()), Holder(make())
    first = kind(before.value, before.put)
    if isinstance(first, SequenceCell):
        first.hold()
    mark = first.mark()
    assert kind(before.value, before.put).mark() == mark
    change(before)
    now = kind(before.value, before.put)
    assert now.mark() != mark
    carried = read(written(now.carried(first)))
    fresh = kind(after.value, after.put)
    if isinstance(fresh, SequenceCell):
        fresh.hold()
    was = after.value
    fresh.put_back(carried, fresh)()
    np.testing.assert_array_equal(after.value, before.value)
    assert type(after.value) is type(before.value)
    if isinstance(was, list | np.ndarray) and not carried["is_other"]:
        assert after.value is was  # others that hold it see it, too


def test_a_variable_comes_back_if_it_is_a_few_whole_numbers() -> None:
    kept = keras.Variable(np.array([1, 2]), dtype="int64", trainable=False), tf.Variable(3)
    assert all(map(VariableCell.is_small_count, kept))
    others = keras.Variable(np.zeros(2)), tf.Variable(np.zeros(100, "int32")), np.zeros(2, "int32"), 3, object()
    assert not any(map(VariableCell.is_small_count, others))
    for variable in kept:
        cell = VariableCell(variable)
        carried, mark = read(written(cell.carried(None))), cell.mark()
        variable.assign(variable + 1)
        assert cell.mark() != mark
        cell.put_back(carried, None)()
        assert cell.mark() == mark
        with pytest.raises(InputError):
            cell.put_back({"array": np.zeros(5, "int32")}, None)


GENERATORS: list[Any] = [
    *(np.random.Generator(bits(1)) for bits in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64)),
    np.random.RandomState(1),
    random.Random(1),
]


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda each: type(each).__name__)
def test_a_generator_of_random_numbers_draws_again(generator: Any) -> None:
    def draw() -> list[float]:
        return [generator.random() if hasattr(generator, "random") else generator.rand() for _ in range(3)] + [
            generator.gauss(0, 1) if isinstance(generator, random.Random) else generator.normal() for _ in range(3)
        ]

    draws = draws_of(generator)
    assert draws is not None
    draw()
    cell = DrawsCell(*draws)
    carried, drawn = read(written(cell.carried(None))), draw()
    cell.put_back(carried, None)()
    assert draw() == drawn
    now = cell.carried(None)["state"]
    with pytest.raises((AttributeError, LookupError, TypeError, ValueError)):
        cell.put_back({"state": {"bit_generator": "PCG64"}}, None)
    np.testing.assert_equal(cell.carried(None)["state"], now)


def test_what_is_truly_random_and_what_is_none_are_no_generators() -> None:
    assert [draws_of(each) for each in (random.SystemRandom(), random, np.random, 3, None)] == [None] * 5


def test_what_cannot_be_put_back_is_not_carried() -> None:
    assert NumberCell(3, None).carried(None) is None
    assert FixedCell("a", "a").carried(None) is None
    first = ArrayCell(np.zeros(3), None)
    assert ArrayCell(np.ones(3), None).carried(first) is None
    large = np.zeros(MOST_BYTES // 8 + 1)
    assert ArrayCell(large, print).carried(ArrayCell(large, print)) is None
    texts = SequenceCell(["a", "b"], print)
    texts.hold()
    assert SequenceCell(["a", "c"], print).carried(texts) is None


@pytest.mark.parametrize(
    ("cell", "carried"),
    [
        (NumberCell(3, print), {"number": "text"}),
        (NumberCell(3, print), {"number": [3]}),
        (NumberCell(3, None), {"number": 3}),
        (ArrayCell(np.zeros(3), print), {"array": 3, "is_other": False}),
        (ArrayCell(np.zeros(3), print), {"array": np.zeros(4), "is_other": False}),
        (ArrayCell(np.zeros(3), None), {"array": np.zeros(4), "is_other": True}),
        (SequenceCell([1], print), {"numbers": ["text"], "is_other": False}),
        (SequenceCell([1], print), {"order": np.array([7]), "is_other": False}),
        (FixedCell("a", "a"), {"text": "b"}),
    ],
)
def test_what_nobody_has_carried_is_refused(cell: Any, carried: Any) -> None:
    with pytest.raises((AttributeError, LookupError, TypeError, ValueError)):
        cell.put_back(carried, cell)


def test_a_sample_sees_a_shuffle_and_what_is_added() -> None:
    order = np.random.RandomState(1).permutation(100_000)
    assert ArrayCell(order, None).mark() != ArrayCell(np.arange(100_000), None).mark()
    assert sample_of(list(range(1000))) == sample_of(list(range(1000)))
    assert sample_of({"a": 1}) != sample_of({"a": 2})
    assert sample_of(()) == ()
