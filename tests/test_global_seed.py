"""Operations without a seed of their own get the seeds that they got before, and a seed at all."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow.global_seed import noted, put_back, seeded


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    before = noted()
    yield
    tf.random.set_seed(before and before["of"])


def order() -> list[int]:
    return [int(number) for number in tf.data.Dataset.range(50).shuffle(50)]


def test_the_next_pipeline_is_shuffled_as_it_was():
    tf.random.set_seed(3)
    order()
    before = json.loads(json.dumps(noted()))
    first, second = order(), order()
    assert first != second
    tf.random.set_seed(3)
    put_back(before)
    assert (order(), order()) == (first, second)


def test_under_another_seed_nothing_is_put_back():
    tf.random.set_seed(3)
    before = noted()
    assert before is not None
    order()
    tf.random.set_seed(4)
    first = order()
    tf.random.set_seed(4)
    put_back(before)
    assert order() == first


def test_without_a_seed_there_is_one_for_a_while():
    tf.random.set_seed(None)
    assert noted() is None
    with seeded(7):
        first = order()
    with seeded(7):
        assert order() == first
    assert noted() is None
    assert order() != order()


def test_a_seed_that_is_there_stays():
    tf.random.set_seed(3)
    first = order()
    tf.random.set_seed(3)
    with seeded(7):
        assert order() == first
    found = noted()
    assert found is not None
    assert found["of"] == 3
