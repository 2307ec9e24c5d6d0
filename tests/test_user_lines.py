"""The line of the user's program is found through the frames of libraries, rewritten code and wrapped errors."""

from __future__ import annotations

import functools
import operator
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from keras_estimator.errors import EstimatorWarning
from keras_estimator.model.user_lines import UserLine, in_one_line, instruction_of, line_of, running_frame, running_line

HERE = Path(__file__).name


def line(function: Any, offset: int = 1) -> str:
    return f"{HERE}:{function.__code__.co_firstlineno + offset}"


def test_the_running_line_is_found_under_keras():
    seen: list[UserLine] = []

    def note(x: Any) -> Any:
        seen.append(running_line())
        return x

    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(note)])
    assert str(seen[0]) == line(note)
    assert seen[0].text == "seen.append(running_line())"


def test_a_warning_is_about_the_line_and_not_about_who_noticed():
    def odd() -> UserLine:
        return running_line()

    noticed = odd()
    with pytest.warns(EstimatorWarning, match="it is odd") as caught:
        noticed.warn(EstimatorWarning("it is odd", rule="KE301"))
    assert f"{Path(caught[0].filename).name}:{caught[0].lineno}" == line(odd)
    assert caught[0].message.rule == "KE301"


def test_frames_of_the_standard_library_are_not_the_users():
    def compare(left: int, right: int) -> int:
        return functools.reduce(lambda a, b: a - b, [left, right, 0 * running_line().number])

    assert sorted([2, 1], key=functools.cmp_to_key(compare)) == [1, 2]
    frame = running_frame()
    assert frame is not None
    assert frame.f_code.co_name == "test_frames_of_the_standard_library_are_not_the_users"


def test_the_line_before_autograph_rewrote_it_is_found():
    seen: list[UserLine] = []

    def note(x: Any) -> Any:
        if x > 0:
            x += 1
        seen.append(as_it_is())
        return x

    as_it_is = tf.autograph.experimental.do_not_convert(running_line)
    tf.function(note)(tf.constant(1.0))
    assert str(seen[0]) == line(note, 3)


@pytest.mark.parametrize("autograph", [False, True])
def test_the_line_of_an_error_is_the_innermost_of_the_users(autograph: bool):
    def inner(x: Any) -> Any:
        return tf.reshape(x, [7, 7])

    def outer(x: Any) -> Any:
        return inner(x)

    with pytest.raises(ValueError, match="Cannot reshape") as caught:
        tf.function(outer, autograph=autograph)(tf.ones([3]))
    assert str(line_of(caught.value)) == line(inner)


def test_an_error_that_never_passed_the_users_code_has_no_line():
    assert line_of(ValueError("made, not raised")) is None


def test_a_line_without_source_has_no_text():
    assert UserLine("<console>", 3).text == ""
    assert str(UserLine("<console>", 3)) == "<console>:3"


def test_an_operator_is_told_from_a_call():
    class Noting:
        def __radd__(self, other: object) -> str:
            return instruction_of(sys._getframe(1))

    total: Any = 1
    assert total + Noting() == "BINARY_OP"
    assert operator.add(1, Noting()) == "CALL"
    total += Noting()
    assert total == "BINARY_OP"


def test_an_error_is_said_in_the_line_that_tells() -> None:
    assert in_one_line(ValueError("\n  first\nsecond")) == "first"
    assert in_one_line(ValueError()) == ""

    @tf.function
    def fails(x: Any) -> Any:
        tf.debugging.assert_greater(x, 2.0, message="too small")
        return x

    with pytest.raises(tf.errors.InvalidArgumentError) as failed:
        fails(tf.constant([[1.0, 1.0]]))
    assert "too small" in in_one_line(failed.value)
    assert in_one_line(ValueError("in user code:\n    File x, line 1\n    ValueError: wrong\n")) == "ValueError: wrong"
