"""Parts of a live model are found where the user wrote them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from keras_estimator.doctor import whereabouts

LINES = Path(__file__).read_text(encoding="utf-8").splitlines()


class Below:
    def __init__(self) -> None:
        self.below = 1


class Part(Below):
    def __init__(self) -> None:
        super().__init__()
        self._kept: Any = [2]

    def method(self) -> int:
        return 1


def written(place: Any) -> str:
    assert place is not None
    assert place.file == __file__
    return LINES[place.line - 1].strip()


def test_classes_functions_and_methods_have_a_first_line():
    assert written(whereabouts.place_of(Part)) == written(whereabouts.place_of(Part())) == "class Part(Below):"
    for method in (Part.method, Part().method, functools.partial(Part().method)):
        assert written(whereabouts.place_of(method)) == "def method(self) -> int:"
    assert whereabouts.place_of(json.loads) is None
    assert whereabouts.place_of(3) is None


def test_an_attribute_has_the_line_of_its_assignment_also_in_a_class_above():
    assert written(whereabouts.place_of_attribute(Part(), "_kept")) == "self._kept: Any = [2]"
    assert written(whereabouts.place_of_attribute(Part(), "below")) == "self.below = 1"
    assert written(whereabouts.place_of_attribute(Part(), "nothing")) == "class Part(Below):"


def test_what_an_object_holds_and_what_code_it_is():
    number = 3

    def closed() -> int:
        return number

    assert whereabouts.vars_of(closed) == [3]
    assert whereabouts.vars_of(Below()) == [1]
    assert whereabouts.codes_of(closed) == (closed,)
    assert whereabouts.codes_of(Part())[:2] == (Part, Below)
