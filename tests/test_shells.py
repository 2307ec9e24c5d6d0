"""A record names the way to each of its parts."""

from __future__ import annotations

from keras_estimator.model.carrying.shells import Record


def test_a_record_lists_its_parts_with_the_way_to_them() -> None:
    record = Record("object", object, attributes={"a": 1}, slots=[(object, "b", 2)], items=[3], pairs=[("k", 4)])
    assert list(record.parts()) == [
        ("attribute", "a", 1),
        ("attribute", "b", 2),
        ("item", 0, 3),
        ("key", "k", "k"),
        ("value", "k", 4),
    ]
    assert record.always_new
