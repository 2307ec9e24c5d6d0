"""Bytes that are no blueprint, are damaged or come from other versions are told before anything of them runs."""

from __future__ import annotations

import io
import json
import pickle
import sys
from typing import Any

import keras
import pytest
import tensorflow as tf

from keras_estimator import Blueprint
from keras_estimator.errors import BlueprintError, EstimatorWarning
from keras_estimator.model.carrying import bytes_head
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph

DATA = write_graph([1, [2]])
BODY = bytes_head.body_of(DATA).tell()


class Runs:
    """Unpickling it runs code."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("it ran",)


def made_with(**other: Any) -> bytes:
    """Return bytes whose head says that something else made them, and whose body must not be unpickled."""
    here = bytes_head.made_with()
    text = json.dumps(here | other).encode()
    body = pickle.dumps(Runs())
    file = io.BytesIO()
    bytes_head.begin(file)
    file.write(body)
    old = json.dumps(here).encode()
    length = len(text).to_bytes(4, "big")
    return bytes_head.finish(file).replace(len(old).to_bytes(4, "big") + old, length + text)


def test_the_head_says_what_made_the_bytes() -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    head = {"format": 1, "python": python, "keras": keras.__version__, "tensorflow": tf.__version__}
    assert bytes_head.made_with() == head
    assert json.dumps(head).encode() in DATA[:BODY]
    assert read_graph(DATA) == [1, [2]]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a zip", pickle.dumps([1]), DATA[1:]])
def test_what_is_no_blueprint_is_refused(data: bytes) -> None:
    with pytest.raises(BlueprintError, match="no blueprint") as refused:
        read_graph(data)
    assert f"{len(data)} bytes" in refused.value.found


def test_bytes_that_end_anywhere_are_refused() -> None:
    for end in range(len(DATA)):
        with pytest.raises(BlueprintError, match=r"no blueprint|damaged"):
            read_graph(DATA[:end])


@pytest.mark.filterwarnings("error::keras_estimator.errors.EstimatorWarning")
def test_bytes_that_changed_anywhere_are_refused_or_warned_about() -> None:
    for place in range(len(DATA)):
        changed = bytearray(DATA)
        changed[place] ^= 1
        with pytest.raises((BlueprintError, EstimatorWarning)):
            read_graph(bytes(changed))


def test_another_format_is_refused_with_both_numbers() -> None:
    with pytest.raises(BlueprintError, match="format") as refused:
        read_graph(made_with(format=2))
    assert (refused.value.found, refused.value.expected) == ("format 2", "format 1")


def test_another_version_of_python_is_refused() -> None:
    with pytest.raises(BlueprintError, match="Python") as refused:
        read_graph(made_with(python="3.10"))
    assert refused.value.found == "made with Python 3.10"


def test_another_version_of_keras_or_tensorflow_is_one_warning_at_the_caller() -> None:
    here = bytes_head.made_with()
    body = DATA[BODY - 12 :]
    text = json.dumps(here | {"keras": "3.0.0", "tensorflow": "2.1.0"}).encode()
    head = DATA[: DATA.index(b"\n") + 1] + len(text).to_bytes(4, "big") + text
    with pytest.warns(EstimatorWarning, match=r"made with keras 3\.0\.0 and tensorflow 2\.1\.0") as given:
        assert Blueprint.from_bytes(head + body).build() == [1, [2]]
    assert len(given) == 1
    assert given[0].filename == __file__


class Missing:
    pass


def test_what_this_process_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Missing.__module__ = "keras"  # so that it is taken for a class of a library
    keras.Missing = Missing
    try:
        data = write_graph([Missing()])
    finally:
        del keras.Missing
    with pytest.raises(BlueprintError, match="cannot be put together") as refused:
        read_graph(data)
    assert "Missing" in refused.value.found


@pytest.mark.parametrize("text", [b"[" * 60_000, b"[]", b"9" * 60_000, b"\xff"])
def test_a_head_that_is_none_is_refused(text: bytes) -> None:
    data = DATA[: DATA.index(b"\n") + 1] + len(text).to_bytes(4, "big") + text
    with pytest.raises(BlueprintError, match="are damaged"):
        bytes_head.check(data)
