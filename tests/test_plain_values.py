"""What iterators and datasets keep becomes JSON and comes back as it was; nothing else gets in or out."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_estimator.engines.plain_values import MOST_BYTES, read, written
from keras_estimator.errors import CheckpointError, InputError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


def through_a_file(value: Any) -> Any:
    return read(json.loads(json.dumps(written(value), allow_nan=False)))


@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    again = through_a_file(value)
    assert again == value
    assert type(again) is type(value)


def test_so_do_numbers_that_json_lacks() -> None:
    assert through_a_file([math.inf, -math.inf]) == [math.inf, -math.inf]
    assert math.isnan(through_a_file({"array": float("nan")})["array"])


@pytest.mark.parametrize("kind", ["?", "u1", "<i8", "<u4", "<f4", "<f8", "<c16"])
def test_so_do_arrays_and_single_numbers_of_numpy(kind: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(kind)
    for value in (array, array[:0], array.T, array[0, 1], np.asarray(array[0, 1])):
        again = through_a_file({"state": value})["state"]
        assert (type(again), again.dtype, again.shape) == (type(value), value.dtype, value.shape)
        np.testing.assert_array_equal(again, value)
    assert through_a_file(array).flags.writeable


def test_so_does_the_state_of_a_generator_of_numbers() -> None:
    for bits in (np.random.PCG64(1), np.random.MT19937(1), np.random.SFC64(1), np.random.Philox(1)):
        other = type(bits)(2)
        other.state = through_a_file(bits.state)
        assert other.random_raw(5).tolist() == type(bits)(1).random_raw(5).tolist()


class Thing:
    pass


@pytest.mark.parametrize("value", [Thing(), {"a": [Thing()]}, np.array([Thing()]), np.array(["a"]), {1}, len, Thing])
def test_what_is_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="no checkpoint can hold"):
        written(value)


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    nested: list[Any] = []
    nested.append(nested)
    for value in (np.zeros(MOST_BYTES + 1, "u1"), ["x" * (MOST_BYTES // 2)] * 3, nested):
        with pytest.raises(InputError):
            written(value)


FORGED = [
    {"a": 1},
    {},
    {"bytes": "?"},
    {"bytes": 3},
    {"tuple": 3},
    {"dict": [[1, 2, 3]]},
    {"dict": [[{"dict": []}, 1]]},
    {"float": "x"},
    {"array": "AAAA", "dtype": "<i8", "shape": [1]},
    {"array": "AAAAAAAAAAA=", "dtype": "O", "shape": [1]},
    {"array": "AAAAAAAAAAA=", "dtype": "<M8[s]", "shape": [1]},
    {"array": "AAAAAAAAAAA=", "dtype": "<i8", "shape": "x"},
    {"array": "AAAAAAAAAAA=", "dtype": [["a", "O"]], "shape": [1]},
    {"__class__": "os.system"},
]


@pytest.mark.parametrize("value", FORGED, ids=str)
def test_what_nobody_has_written_is_an_error_with_a_way_out(value: Any) -> None:
    with pytest.raises(CheckpointError, match="none that was written") as caught:
        read(["fine", value])
    assert 'data_position="restart"' in str(caught.value)


def test_a_long_way_down_is_an_error_too() -> None:
    value: Any = 1
    for _ in range(200):
        value = [value]
    with pytest.raises(CheckpointError):
        read(value)


def test_tensors_of_torch_come_back_as_tensors_where_the_program_has_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tensor:  # as much of one as is used; the real ones are tried by hand, torch is no requirement
        def __init__(self, array: Any) -> None:
            self.array = array

        def detach(self) -> Tensor:
            return self

        cpu = detach

        def numpy(self) -> Any:
            return self.array

    torch = type(sys)("torch")
    torch.Tensor, torch.from_numpy = Tensor, Tensor  # type: ignore[attr-defined]  # a module made for this
    monkeypatch.setitem(sys.modules, "torch", torch)
    text = json.dumps(written({"generator": Tensor(np.arange(3))}))
    again = read(json.loads(text))["generator"]
    assert isinstance(again, Tensor)
    assert again.array.tolist() == [0, 1, 2]
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(CheckpointError):
        read(json.loads(text))
