"""A record names the way to each of its parts."""

from __future__ import annotations

from keras_estimator.model.carrying.shells import Record


def test_a_record_lists_its_parts_with_the_way_to_them_and_leaves_plain_values_out() -> None:
    a, b, c, k, d = [1], [2], [3], (4,), [5]
    pairs = [(k, d), ("text", 6)]
    record = Record("object", object, {"a": a, "plain": 1}, slots=[(object, "b", b)], items=[c, None], pairs=pairs)
    assert list(record.parts()) == [
        ("attribute", "a", a),
        ("attribute", "b", b),
        ("item", 0, c),
        ("key", k, k),
        ("value", k, d),
    ]
    assert record.always_new
