"""An error is told with the expression of the user's that raised it."""

from __future__ import annotations

from keras_estimator.doctor.failure import Failure


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
