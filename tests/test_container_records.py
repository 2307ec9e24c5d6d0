"""Containers are taken apart without a call of the code of their classes."""

from __future__ import annotations

import collections

import numpy as np

from keras_estimator.model.carrying import container_records as records
from keras_estimator.model.carrying.shells import Target

HERE = Target.THIS_PROCESS


class Loud(dict):
    def items(self):
        raise AssertionError

    __iter__ = keys = values = items


def test_a_subclass_of_dict_is_read_as_a_dict() -> None:
    loud = Loud(a=1)
    loud.extra = 2
    record = records.take_dict(loud, HERE)
    assert record.pairs == [("a", 1)]
    assert record.attributes == {"extra": 2}


def test_the_order_of_an_ordered_dict_is_its_own() -> None:
    ordered = collections.OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert records.take_ordered_dict(ordered, HERE).pairs == [("b", 2), ("a", 1)]


def test_a_view_knows_its_dict() -> None:
    held = {"a": 1}
    assert records.take_view(held.values(), HERE).items[0] is held


def test_an_array_of_objects_is_taken_apart_and_one_of_numbers_is_not() -> None:
    assert records.take_array(np.array([1, "a"], dtype=object), HERE).items == [1, "a"]
    assert records.take_array(np.ones(3), HERE).items == []
