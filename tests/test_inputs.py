"""What an input_fn may ask for and give."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

import keras_estimator as ke
from keras_estimator.input_functions import InputContext, call_input_fn
from keras_estimator.inputs import Frame, as_source, batches_per_pass, identity, match_names

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6.0)


def call(input_fn):
    given = {"mode": ke.ModeKeys.TRAIN, "params": {"rate": 0.5}, "config": "the config"}
    return call_input_fn(input_fn, {**given, "input_context": InputContext()})


def source(data, mode=ke.ModeKeys.TRAIN, *, has_steps=True):
    return as_source(data, mode=mode, seed=None, has_steps=has_steps)


def test_an_input_fn_gets_the_arguments_it_names() -> None:
    def everything(mode, params, config, input_context):
        return mode, params, config, input_context.num_input_pipelines, input_context.get_per_replica_batch_size(64)

    assert call(everything) == ("train", {"rate": 0.5}, "the config", 1, 64)
    assert call(lambda: "data") == "data"
    assert call(lambda mode, size=3: (mode, size)) == ("train", 3)
    assert call(functools.partial(lambda mode, size: (mode, size), size=5)) == ("train", 5)


def test_data_themselves_are_taken_as_they_are() -> None:
    for data in ((X, Y), {"a": X}, ke.Arrays(X), X):
        assert call(data) is data


def test_an_input_fn_that_asks_for_more_or_gives_nothing_is_refused() -> None:
    with pytest.raises(ke.InputError, match="asks for arguments") as caught:
        call(lambda path: path)
    assert "path" in caught.value.found
    with pytest.raises(ke.InputError, match="returned nothing"):
        call(lambda: None)


@pytest.mark.parametrize(
    "data",
    [
        X,
        (X,),
        (X, Y),
        (X, Y, np.ones(6)),
        {"a": X, "b": Y},
        ({"a": X}, Y),
        (X, list(range(6))),
        pd.DataFrame(X, columns=["a", "b"]),
        (pd.DataFrame(X, columns=["a", "b"]), pd.Series(Y)),
    ],
)
def test_rows_in_memory_are_known(data) -> None:
    found = source(data)
    assert isinstance(found.data, ke.Arrays)
    assert found.data.shuffle
    assert batches_per_pass(found) == 1


def test_only_training_shuffles_and_repeats() -> None:
    assert source((X, Y)).passes is None
    assert source((X, Y), has_steps=False).passes == 1
    assert source(ke.Arrays(X, epochs=3)).passes == 3
    evaluation = source((X, Y), ke.ModeKeys.EVAL)
    assert (evaluation.passes, evaluation.data.shuffle) == (1, False)


def test_rows_of_different_lengths_are_listed() -> None:
    with pytest.raises(ke.InputError, match="number of rows") as caught:
        source(({"a": X, "b": X[:4]}, Y))
    assert caught.value.found == "x['a']: 6, x['b']: 4, y: 6"


def test_no_rows_and_no_data_are_refused() -> None:
    with pytest.raises(ke.EmptyInputError):
        source((X[:0], Y[:0]))
    with pytest.raises(ke.InputError, match="is not data"):
        source(7)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"epochs": 0}, {"batch_size": 2.5}])
def test_arrays_check_their_numbers(wrong) -> None:
    with pytest.raises(ke.ConfigError):
        ke.Arrays(X, **wrong)


def test_batches_in_a_pass_are_counted() -> None:
    assert batches_per_pass(source(ke.Arrays(X, batch_size=4))) == 2
    assert batches_per_pass(source(ke.Arrays(X, batch_size=4, drop_remainder=True))) == 1
    assert batches_per_pass(source(iter([X]))) is None


def test_names_are_matched_in_the_order_of_the_model() -> None:
    def matched(given, names, *, keeps_dict=False):
        return match_names(given, names, what="inputs", keeps_dict=keeps_dict)

    assert matched({"b": 2, "a": 1, "more": 3}, ["a", "b"]) == [1, 2]
    assert matched({"b": 2, "a": 1, "more": 3}, ["a", "b"], keeps_dict=True) == {"a": 1, "b": 2}
    assert matched({"any": 1}, ["a"]) == 1
    assert matched({"a": 1, "more": 2}, ["a"]) == 1
    assert matched({"a": 1}, None) == {"a": 1}
    assert matched((1, 2), ["a", "b"]) == (1, 2)


def test_a_missing_input_prints_both_lists() -> None:
    with pytest.raises(ke.InputError, match="inputs of the model") as caught:
        match_names({"age": 1, "city": 2}, ["age", "town"], what="inputs", keeps_dict=False)
    assert (caught.value.found, caught.value.expected) == ("age, city", "age, town")


def test_a_missing_label_is_none_unless_all_are_missing() -> None:
    assert match_names({"a": 1, "c": 3}, ["a", "b"], what="outputs", keeps_dict=False) == [1, None]
    with pytest.raises(ke.InputError, match="no label"):
        match_names({"c": 1, "d": 1}, ["a", "b"], what="outputs", keeps_dict=False)


def test_a_frame_is_a_matrix_for_one_input_and_columns_for_several() -> None:
    frame = Frame({"a": Y, "b": Y + 1})
    assert match_names(frame, ["x"], what="inputs", keeps_dict=False).shape == (6, 2)
    assert match_names(frame, ["b"], what="inputs", keeps_dict=False) is frame["b"]
    assert [column[0] for column in match_names(frame, ["b", "a"], what="inputs", keeps_dict=False)] == [1.0, 0.0]
    assert match_names(frame, None, what="inputs", keeps_dict=False) == dict(frame)


def test_data_are_known_again_by_what_they_are() -> None:
    first = identity(source((X, Y)), "spec")
    assert identity(source((X.copy(), Y.copy())), "spec") == first
    assert identity(source((X + 1, Y)), "spec") != first
    assert identity(source((X, Y)), "other spec") != first
    assert identity(source(ke.Arrays(X, Y, batch_size=2)), "spec") != first


def test_rows_in_memory_are_let_go_between_calls_and_everything_else_stays_open() -> None:
    assert not source((np.ones((4, 2)), np.ones(4))).stays_open
    assert not source(ke.Arrays(X)).stays_open
    assert source([(X, Y)]).stays_open
    assert source(iter([(X, Y)])).stays_open
