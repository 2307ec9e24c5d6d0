"""A call goes on in its data where the one before left them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.engines.engine import Position, engine_for
from keras_estimator.inputs import as_source
from keras_estimator.reading import Reader

X = np.arange(20, dtype="float32").reshape(10, 2)


@pytest.fixture
def reader() -> Reader:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return Reader(engine_for(model, ke.RunConfig()))


def source(data=X, **options):
    return as_source(ke.Arrays(data, data[:, :1], batch_size=3, **options), mode="train", seed=0, has_steps=True)


def left_at(reader: Reader, position: Position, *, finished: bool) -> dict[str, object]:
    with reader.open(source(), {}) as reading:
        reading.position = position
        return reading.record(finished=finished)


def test_it_begins_at_the_beginning(reader: Reader) -> None:
    with reader.open(source(), {}) as reading:
        assert (reading.position, reading.first_pass, reading.goes_on) == (Position(), 0, False)


def test_the_same_data_go_on_in_the_middle_of_a_pass(reader: Reader) -> None:
    record = left_at(reader, Position(3, 2), finished=True)
    with reader.open(source(), record) as reading:
        assert (reading.position, reading.first_pass, reading.goes_on) == (Position(3, 2), 3, False)


def test_a_call_that_was_killed_keeps_the_pass_in_which_it_began(reader: Reader) -> None:
    record = left_at(reader, Position(3, 2), finished=False)
    with reader.open(source(epochs=4), {**record, "identity": record["identity"]}) as reading:
        assert (reading.first_pass, reading.goes_on, reading.has_more()) == (0, True, True)
        reading.position = Position(4, 0)
        assert not reading.has_more()


def test_other_data_begin_at_the_beginning_and_it_is_said(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "keras_estimator")
    record = left_at(reader, Position(3, 2), finished=True)
    with reader.open(source(X + 1), record) as reading:
        assert reading.position == Position()
    assert "not those of the run so far" in caplog.text


def test_a_generator_stays_open_between_two_calls(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    given: list[int] = []

    def batches():
        for number in range(100):
            given.append(number)
            yield X[:2], X[:2, :1]

    endless = batches()
    estimator = ke.model_to_estimator(model, model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    for calls in range(1, 4):
        estimator.train(endless, steps=5)
        assert len(given) < 5 * calls + 8  # what is read ahead is kept, and nothing is skipped
