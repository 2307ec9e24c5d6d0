"""A finding is pinned on the layers that it names, or else on those whose class the line belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diagnosed import CALL, finding, graph_report, tree_report

from keras_estimator.doctor.findings import Place
from keras_estimator.doctor.formats.pinned import by_layer, classes_at, layers_of
from keras_estimator.doctor.report import Report


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "waves.py"


def paths(found: Any, report: Report) -> list[str]:
    assert report.model is not None
    return [report.model["layers"][place]["path"] for place in found]


@pytest.mark.parametrize(
    ("layer", "pinned"),
    [
        ("wave", ["wave"]),
        ("inner/dense", ["inner/dense"]),
        ("drop, inner/drop_again, drop", ["drop", "inner/drop_again"]),
        ("inner/dense/kernel", ["inner/dense"]),
        ("nowhere", []),
        ("nowhere, wave", ["wave"]),
        ("", []),
    ],
)
def test_paths_name_layers_or_what_is_in_them(layer: str, pinned: list[str], file: Path):
    report = graph_report(file)
    assert report.model is not None
    assert paths(layers_of(finding(layer=layer), report.model), report) == pinned


def test_a_path_may_have_a_comma_in_it():
    layers = [{"path": path, "class": "Dense"} for path in ("a, b", "a", "b")]
    assert layers_of(finding(layer="a, b"), {"layers": layers}) == [0]


def test_a_line_of_a_class_is_about_its_layers_and_those_of_the_classes_below_it(file: Path):
    for report in (graph_report(file), tree_report(file)):
        assert report.model is not None
        assert paths(layers_of(finding(place=Place(str(file), CALL)), report.model), report) == ["wave"]
        assert layers_of(finding(place=Place(str(file), 1)), report.model) == []


def test_decorators_belong_to_a_class_and_inner_classes_are_their_own(file: Path):
    file.write_text("@register\nclass A:\n    class B:\n        x = 1\n    y = 2\nclass C(A): pass\nclass D(C): pass\n")
    at = [classes_at(Place(str(file), line)) for line in (1, 2, 4, 5, 6)]
    assert at == [{"A", "C", "D"}, {"A", "C", "D"}, {"B"}, {"A", "C", "D"}, {"C", "D"}]


@pytest.mark.parametrize("text", ["def (", "x = '\0'"])
def test_a_file_that_is_no_python_has_no_classes(text: str, file: Path):
    file.write_text(text)
    assert classes_at(Place(str(file), 1)) == frozenset()
    assert classes_at(Place(str(file / "missing"), 1)) == frozenset()


def test_all_findings_are_somewhere_by_the_order_of_the_page(file: Path):
    report = graph_report(file)
    found = by_layer(report, list(report.findings))
    assert found.pop(None) == [1]
    named = dict(zip(paths(found, report), found.values(), strict=True))
    assert named == {"drop": [0], "inner/drop_again": [0], "inner/dense": [2], "wave": [3]}
    assert by_layer(Report("files", report.findings), list(report.findings)) == {None: [0, 1, 2, 3]}
