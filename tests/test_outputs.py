"""Outputs have names, and batches of them are taken apart."""

from __future__ import annotations

import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.outputs import by_name, names_of, rows

ONE, TWO = np.zeros((3, 1)), np.ones((3, 2))


@pytest.mark.parametrize(
    ("outputs", "names", "wanted"),
    [
        (ONE, ["y"], ["y"]),
        (ONE, None, ["output_1"]),
        ([ONE, TWO], ["a", "b"], ["a", "b"]),
        ((ONE, TWO), None, ["output_1", "output_2"]),
        ({"p": ONE, "q": TWO}, ["other", "names"], ["p", "q"]),
    ],
)
def test_outputs_have_the_names_of_the_model_or_numbers(outputs, names, wanted) -> None:
    assert names_of(outputs, names) == wanted
    assert list(by_name(outputs, names)) == wanted


def test_only_some_outputs_can_be_wanted() -> None:
    assert list(by_name([ONE, TWO], ["a", "b"], ["b"])) == ["b"]
    with pytest.raises(ke.ConfigError, match="no such output") as caught:
        by_name([ONE, TWO], ["a", "b"], ["c"])
    assert caught.value.expected == "a, b"


def test_a_batch_is_taken_apart_into_examples() -> None:
    found = list(rows({"a": ONE, "b": TWO}))
    assert len(found) == 3
    assert found[0]["b"].shape == (2,)


def test_outputs_of_different_lengths_cannot_be_taken_apart() -> None:
    with pytest.raises(ke.InputError, match="taken apart"):
        list(rows({"a": ONE, "b": np.zeros((4, 1))}))
