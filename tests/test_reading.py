"""A call goes on in its data where the one before left them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.engine import Position, engine_for
from keras_estimator.inputs import as_source
from keras_estimator.reading import Reader, is_record

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


class Losses(ke.Hook):
    """The loss of each step: the number of its batch, if the model says 0 and the label is the root of the number."""

    cadence = ke.Cadence(every_steps=1)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def after_steps(self, run: ke.Run) -> None:
        self.seen.append(round(run.metrics["loss"]))


def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
    return X[:2], np.full((2, 1), number**0.5, "float32")


def generator() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return (batch(number) for number in range(100))


def pipeline(numbers: Sequence[int] = range(100), *, python: bool = False) -> tf.data.Dataset:
    if python:
        signature = (tf.TensorSpec((2, 2), tf.float32), tf.TensorSpec((2, 1), tf.float32))
        return tf.data.Dataset.from_generator(lambda: map(batch, numbers), output_signature=signature)
    x, y = (np.stack(part) for part in zip(*map(batch, numbers), strict=True))
    return tf.data.Dataset.from_tensor_slices((x, y)).prefetch(3)


def trained_on(folder: Path, *data: Any) -> list[int]:
    """Return the numbers of the batches that calls of three steps each were trained on."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    config = ke.RunConfig(progress="off", log_step_count_steps=1)
    estimator, losses = ke.model_to_estimator(model, model_dir=folder, config=config), Losses()
    for given in data:
        estimator.train(given, hooks=[losses], steps=3)
    return losses.seen


@pytest.mark.parametrize("from_input_fn", [True, False])
@pytest.mark.parametrize("make", [generator, pipeline, lambda: pipeline(python=True), lambda: list(generator())])
def test_calls_on_the_same_data_read_every_batch_once(make: Any, from_input_fn: bool, tmp_path: Path) -> None:
    data = make if from_input_fn else make()
    assert trained_on(tmp_path, data, data, data) == list(range(9))
    again = data if from_input_fn else make()
    assert trained_on(tmp_path, again) == [9, 10, 11]  # as another process goes on: by skipping forward


@pytest.mark.parametrize("python", [True, False])
def test_a_pipeline_made_again_is_read_on_and_nothing_is_read_twice(python: bool, tmp_path: Path) -> None:
    given: list[int] = []

    def noted() -> Iterator[int]:
        for number in range(100):
            given.append(number)
            yield number

    def input_fn() -> Any:
        if not python:
            return (batch(number) for number in noted())
        numbers = tf.data.Dataset.from_generator(noted, output_signature=tf.TensorSpec((), tf.float32))
        return numbers.map(lambda number: (tf.zeros((2, 2)), tf.fill((2, 1), tf.sqrt(number))))

    assert trained_on(tmp_path, *[input_fn] * 4) == list(range(12))
    looked_at = 0 if python else 3  # a generator made anew has to be looked into
    fresh = [number for place, number in enumerate(given) if number not in given[:place]]
    assert fresh == list(range(len(fresh)))
    assert len(given) - len(fresh) <= looked_at * 3


def test_another_pipeline_is_read_from_its_beginning_and_it_is_said(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO", "keras_estimator")
    first, second = (lambda: pipeline(range(20))), (lambda: pipeline(range(50, 70)))
    assert trained_on(tmp_path, first, second, second) == [0, 1, 2, 50, 51, 52, 53, 54, 55]
    assert caplog.text.count("not those of the run so far") == 1


def test_data_that_nobody_can_read_again_are_told(reader: Reader) -> None:
    tf.random.set_seed(None)
    data = tf.data.Dataset.from_tensor_slices((X, X[:, :1])).shuffle(10).batch(2)
    with pytest.warns(ke.EstimatorWarning, match=r"come otherwise .*\(shuffle without a seed\)"):  # noqa: SIM117 - the warning is what is raised there
        with reader.open(as_source(data, mode="train", seed=0, has_steps=True), {}):
            pass


def test_the_random_numbers_of_a_call_are_kept_until_it_is_over(reader: Reader) -> None:
    with reader.open(source(), {}, {"seed": 4}) as reading:
        record = reading.record(finished=False)
        over = reading.record(finished=True)
    assert reader.draws(record) == {"seed": 4}
    assert (reader.draws(over), reader.draws({})) == (None, None)
    assert reader.draws({**over, "draws": {"seed": 5}}) == {"seed": 5}  # the next call has begun


def test_data_that_are_read_on_are_those_that_were_opened_first(reader: Reader) -> None:
    def input_fn() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((X, X[:, :1])).batch(2)

    def opened() -> Any:
        return as_source(input_fn(), mode="train", seed=0, has_steps=True, input_fn=input_fn, again=input_fn)

    with reader.open(opened(), {}, {"seed": 4}) as reading:
        reading.position = Position(0, 2)
        record = reading.record(finished=True)
    assert reader.draws(record) is None  # they are open
    with reader.open(opened(), record, {"seed": 7}) as reading:
        assert reading.record(finished=False)["draws"] == {"seed": 4}
    reader.forget()
    assert reader.draws(record) == {"seed": 4}


RECORD = {"passes": 1, "batches": 2, "first_pass": 0, "identity": "a", "finished": True}


ASKED: list[int] = []


class Numbered(keras.utils.PyDataset):
    """Each batch comes from its number and from a random one."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = np.random.default_rng(3)

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> Any:
        ASKED.append(index)
        return batch(100 * index + int(self.dice.integers(100)))


def test_a_py_dataset_is_asked_from_its_place_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "keras_estimator")
    whole = trained_on(tmp_path / "whole", *[Numbered()] * 40)
    data = Numbered()
    seen = trained_on(tmp_path / "parts", *[data] * 15)
    ASKED.clear()
    again = Numbered()
    seen += trained_on(tmp_path / "parts", again, again)
    assert "seeking at batch 45 of pass 0" in caplog.text
    assert ASKED[:8] == [0, 1, 44, 45, 46, 47, 48, 49]  # it is looked at first, and the last batch is compared
    for _ in range(23):
        seen += trained_on(tmp_path / "parts", Numbered())
    assert seen == whole
    assert len(seen) == 40 * 3


def test_a_place_belongs_to_its_data(reader: Reader) -> None:
    def opened(data: Any) -> Any:
        return as_source(data, mode="train", seed=0, has_steps=True)

    with reader.open(opened(Numbered()), {}) as reading:
        next(iter(reading.feed))
        reading.feed.advance(1)
        reading.position = Position(0, 1)
        record = reading.record(finished=False)
    reader.forget()
    assert record["place"]["at"] == [0, 0]
    assert is_record(record)
    assert not is_record({**record, "place": 3})
    with pytest.raises(ke.errors.CheckpointError), reader.open(opened(Numbered()), {**record, "place": {"at": [7, 0]}}):
        pass
    with reader.open(opened(list(generator())), {**record, "place": {"at": [7, 0]}}) as reading:
        assert reading.position == Position()


def test_a_record_is_known_from_what_somebody_has_made_up() -> None:
    assert is_record({})
    assert is_record(RECORD)
    assert not any(map(is_record, (None, [], [1], 3, {"passes": 1})))
    for name in ("passes", "batches", "first_pass"):
        assert not any(is_record({**RECORD, name: value}) for value in (-1, "1", None, 1.0, True, [1]))
    assert not is_record({**RECORD, "finished": None})
