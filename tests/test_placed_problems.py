"""Problems of the source by a place that an error, or a layer, names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
from rule_cases import loaded

from keras_estimator.doctor.failure import Failure
from keras_estimator.doctor.findings import Applicability, Fix, Place
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.placed_problems import problems_around, problems_at, problems_in, problems_told
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

TEXT = """
import keras


class A(keras.layers.Layer):
    def call(self, x):
        one = 1
        return x * one


def build():
    two = 1
    return keras.Sequential([keras.Input((4,)), A(), keras.layers.Lambda(lambda x: x * 1)])
"""


def ones(source: Source) -> Iterator[Problem]:
    """Find each number one."""
    for node in source.nodes:
        if isinstance(node, ast.Constant) and node.value == 1:
            yield Problem(node, "a one")


def lines(problems: list[Problem]) -> list[int]:
    return [one.at.line for one in problems if isinstance(one.at, Place)]


def written(tmp_path: Path) -> Path:
    path = tmp_path / "example.py"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_by_line_and_by_function(tmp_path: Path) -> None:
    file = str(written(tmp_path))
    assert lines(problems_at(Place(file, 7), ones)) == [7]
    assert lines(problems_at(Place(file, 8), ones)) == []
    assert lines(problems_around(Place(file, 8), ones)) == [7]
    assert problems_at(None, ones) == problems_around(None, ones) == []
    assert problems_at(Place(str(tmp_path / "none.py"), 1), ones) == []


def test_by_layer(tmp_path: Path) -> None:
    live = LiveModel(loaded(written(tmp_path)).build())
    own, function = live.model.layers
    assert lines(problems_in(live, own, ones)) == [7]
    assert lines(problems_in(live, function, ones)) == [13]
    assert problems_in(live, keras.layers.Dense(1), ones) == []


def test_a_file_that_is_no_python_has_none(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def (", encoding="utf-8")
    assert problems_at(Place(str(path), 1), ones) == []


def fails() -> None:
    try:
        _ = {}["inner"]
    except KeyError as inner:
        raise ValueError("outer") from inner


def test_an_error_is_told_by_what_the_source_shows_there_or_else_by_itself() -> None:
    with pytest.raises(ValueError, match="outer") as raised:
        fails()
    failure = Failure(raised.value, "call", "dense")
    advice = Fix("do that", Applicability.DISPLAY)
    (one,) = problems_told(failure, lambda _: iter(()), "it raised", advice)
    assert (one.message, one.layer, one.at, one.fix) == ("it raised", "dense", failure.place, advice)
    assert one.evidence.startswith("KeyError")
