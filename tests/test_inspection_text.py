"""Tables are aligned, long things are cut, and nothing from a file reaches the terminal as a command."""

from __future__ import annotations

import json
import math
from typing import Any

from keras_estimator.inspection.text import as_json, printable, shortened, table, value_text


def test_columns_are_aligned_texts_at_the_left_and_numbers_at_the_right():
    assert table(["name", "size"], [["a", "1"], ["longer", "1,000"]], to_the_left=[0]) == [
        "name     size",
        "a           1",
        "longer  1,000",
    ]


def test_what_a_terminal_would_obey_is_written_out():
    assert printable("a\x1b[2J\x07\u202eé\udc80\nb\r") == "a\\x1b[2J\\x07\\u202eé\\udc80\nb\\r"
    assert shortened("a\nb\x1b") == "a\\nb\\x1b"
    assert value_text("a\nb\x1b") == "a\\nb\\x1b"


def test_long_texts_are_cut_where_they_tell_least():
    assert shortened("model/" * 50 + "kernel").endswith("model/kernel")
    assert len(shortened("x" * 1000)) == 100
    assert value_text("x" * 10**6) == "x" * 97 + "..."
    assert shortened("abcdefgh", 6) == "...fgh"


def test_values_are_short():
    values = [None, 1234567, 0.123456789, math.nan, math.inf, True, [1, 2], {"a": None}]
    assert list(map(value_text, values)) == '-|1,234,567|0.1235|nan|inf|true|[1, 2]|{"a": null}'.split("|")


def test_json_can_be_read_by_anybody():
    value = {"loss": math.nan, "pair": (math.inf, -math.inf), "list": [{"n": 1.5}], 3: None}
    assert json.loads(as_json(value), parse_constant=None) == {
        "loss": "NaN",
        "pair": ["Infinity", "-Infinity"],
        "list": [{"n": 1.5}],
        "3": None,
    }
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    assert as_json(deep).count("[") == 51
    assert value_text(deep).endswith("...")
