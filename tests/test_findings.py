"""Findings have places in characters, and say whether they can be mended."""

from __future__ import annotations

import ast

from keras_estimator.doctor.findings import Applicability, Finding, Fix, Place, Severity
from keras_estimator.doctor.rewriting import needs_import


def place(text: str, find: type[ast.AST]) -> Place:
    node = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, find))
    return Place.of(node, "file.py", text.splitlines())


def finding(fix: Fix | None = None, at: Place | None = None, layer: str = "") -> Finding:
    return Finding("KE999", "some-name", Severity.WARNING, "something is wrong", at, layer, "it fails", "", fix)


def test_columns_are_characters_and_not_bytes():
    assert place("größe = f(1)", ast.Call) == Place("file.py", 1, 9, 1, 13)
    assert place("x = [\n  f(1),\n]", ast.List) == Place("file.py", 1, 5, 3, 2)


def test_a_definition_is_shown_by_its_first_line():
    assert place("class A:\n    def f(self):\n        return 1", ast.FunctionDef) == Place("file.py", 2, 5, 2, 17)


def test_a_star_marks_what_can_be_mended_safely():
    change = needs_import("keras")
    assert str(finding()) == "the model KE999 something is wrong"
    assert str(finding(layer="a/b")) == "layer `a/b` KE999 something is wrong"
    at = Place("file.py", 3, 7)
    assert str(finding(Fix("do that", Applicability.SAFE, (change,)), at)) == (
        "file.py:3:7 KE999 [*] something is wrong; do that"
    )
    for fix in (Fix("do that", Applicability.UNSAFE, (change,)), Fix("do that", Applicability.SAFE)):
        assert str(finding(fix, at)) == "file.py:3:7 KE999 something is wrong; do that"


def test_a_fix_for_display_is_never_applied():
    change = needs_import("keras")
    assert not Fix("think", Applicability.DISPLAY, (change,)).is_applicable
    assert not Fix("think", Applicability.SAFE).is_applicable
    assert Fix("do", Applicability.UNSAFE, (change,)).is_applicable


def test_findings_that_say_the_same_are_equal_whatever_their_fix_changes():
    first, second = (finding(Fix("do", Applicability.SAFE, (needs_import(name),))) for name in ("keras", "numpy"))
    assert first == second
    assert len({first, second}) == 1
