"""An error is told with the expression of the user's that raised it."""

from __future__ import annotations

from keras_estimator.doctor.failure import Failure
from keras_estimator.errors import ConfigError, ModelError


def raised(function) -> Failure:  # type: ignore[no-untyped-def]  # a function of any kind
    try:
        function()
    except Exception as error:  # noqa: BLE001 - the subject of the test
        return Failure(error, "call")
    raise AssertionError("it did not raise")


def test_the_place_is_the_expression_that_raised():
    def wrong() -> int:
        return 1 + int("x") + 2

    failure = raised(wrong)
    line = failure.source_line
    assert line == 'return 1 + int("x") + 2'
    assert failure.place is not None
    start, end = failure.place.column - 1, failure.place.end_column - 1
    with open(__file__, encoding="utf-8") as file:
        assert file.readlines()[failure.place.line - 1][start:end] == 'int("x")'


def test_an_error_from_below_the_users_code_is_told_at_the_users_line():
    def wrong() -> object:
        import json  # noqa: PLC0415 - the library from which the error comes

        return json.loads("{")

    failure = raised(wrong)
    assert failure.source_line == 'return json.loads("{")'
    assert failure.line.startswith("JSONDecodeError: Expecting property name")
    assert failure.in_words == "the model cannot be called or trained"


def test_an_error_that_says_nothing_is_told_by_its_name():
    def wrong() -> None:
        raise AssertionError

    assert raised(wrong).line == "AssertionError"


def test_of_errors_around_each_other_the_innermost_with_a_line_counts() -> None:
    def wrong() -> None:
        try:
            _ = {}["inner"]
        except KeyError as error:
            raise ValueError("outer") from error

    failure = raised(wrong)
    assert (failure.innermost.kind, failure.kind, failure.line) == ("KeyError", "KeyError", "KeyError: 'inner'")
    assert failure.source_line == '_ = {}["inner"]'
    alone = Failure(ValueError("alone"), "call")
    assert alone.innermost.error is alone.error
    assert alone.place is None


def test_an_error_of_ours_that_names_a_rule_is_found_under_those_that_name_none() -> None:
    def wrong() -> None:
        parts = {"found": "a", "expected": "b", "fix": "c"}
        raise ConfigError("nothing can be done", **parts) from ModelError("it cannot be built", **parts, rule="KE203")

    failure = raised(wrong)
    assert [type(each).__name__ for each in failure.chain] == ["ConfigError", "ModelError"]
    assert failure.named is failure.chain[1]
    assert Failure(ValueError("alone"), "call").named is None


def test_errors_in_a_circle_are_listed_once() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert Failure(first, "call").chain == [first, second]
