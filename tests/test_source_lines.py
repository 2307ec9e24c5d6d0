"""The line on which an attribute is assigned is found."""

from __future__ import annotations

from keras_estimator.model.source_lines import where_assigned


class Thing:
    def __init__(self):
        first = 1
        self.counter = first
        self.typed: int = 2
        self._hidden = 3


def line_of(text: str) -> int:
    with open(__file__) as file:
        return next(number for number, line in enumerate(file, start=1) if line.strip() == text)


def test_the_line_of_an_assignment_is_found() -> None:
    for attribute, text in (
        ("counter", "self.counter = first"),
        ("typed", "self.typed: int = 2"),
        ("_hidden", "self._hidden = 3"),
    ):
        assert where_assigned(Thing(), attribute) == f"test_source_lines.py:{line_of(text)}"


def test_without_the_assignment_it_is_the_line_of_the_class_or_function() -> None:
    assert where_assigned(Thing(), "other") == f"test_source_lines.py:{line_of('class Thing:')}"

    def function():
        return None

    assert where_assigned(function, "x") == f"test_source_lines.py:{line_of('def function():')}"


def test_a_class_without_source_is_named() -> None:
    names: dict[str, type] = {}
    exec("class Typed: pass", {"__name__": "console"}, names)
    assert where_assigned(names["Typed"](), "x") == "Typed (no source)"
