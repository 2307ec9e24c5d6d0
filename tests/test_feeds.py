"""Batches of rows and of pipelines are read from any place on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.engine import Position
from keras_estimator.engines.tensorflow.feeds import ArrayFeed, IteratorFeed, open_feed
from keras_estimator.inputs import as_source

X = np.arange(20, dtype="float64").reshape(10, 2)


def feed_of(data, mode=ke.ModeKeys.TRAIN):
    return open_feed(as_source(data, mode=mode, seed=1, has_steps=True))


START = Position()


def read(feed, position=START) -> list[np.ndarray]:
    feed.seek(position)
    return [np.asarray(batch[0] if isinstance(batch, tuple) else batch) for batch in feed]


def test_any_batch_of_any_pass_can_be_sought() -> None:
    feed = feed_of(ke.Arrays(X, batch_size=3))
    passes = [read(feed, Position(number, 0)) for number in range(3)]
    assert not np.array_equal(np.concatenate(passes[0]), np.concatenate(passes[1]))
    for number, whole in enumerate(passes):
        np.testing.assert_array_equal(np.sort(np.concatenate(whole), axis=0), X)
        for start in range(4):
            for one, other in zip(read(feed, Position(number, start)), whole[start:], strict=True):
                np.testing.assert_array_equal(one, other)


def test_the_order_is_the_same_in_every_version_of_everything() -> None:
    (batch,) = read(feed_of(ke.Arrays(np.arange(10.0), batch_size=10, seed=7)))
    assert batch.tolist() == [8, 1, 3, 0, 5, 9, 7, 4, 6, 2]


def test_floats_come_in_the_precision_of_keras_and_the_short_batch_last() -> None:
    feed = feed_of(ke.Arrays(X, batch_size=4, shuffle=False))
    batches = read(feed)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert batches[0].dtype == keras.config.floatx()
    assert feed.spec == tf.TensorSpec((None, 2), tf.float32)
    assert [len(b) for b in read(feed_of(ke.Arrays(X, batch_size=4, drop_remainder=True)))] == [4, 4]


def test_a_pass_is_the_most_that_is_asked_for_at_once() -> None:
    feed = feed_of(ke.Arrays(X, batch_size=3))
    feed.seek(Position(0, 1))
    assert feed.limit(100) == 3
    assert not feed.advance(2)
    assert feed.advance(1)
    assert feed.limit(100) == 4


@pytest.mark.parametrize("form", [list, tuple, dict])
def test_several_arrays_are_several_parts_in_whatever_they_come(form, tmp_path) -> None:
    inputs = [keras.Input((2,), name=name) for name in ("one", "other")]
    outputs = [keras.layers.Dense(1, name=name)(keras.ops.add(*inputs)) for name in ("sum", "difference")]
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")
    x, y, weights = [X, -X], [X[:, :1], X[:, 1:]], [np.arange(10.0), np.ones(10)]
    named = [
        form(zip(names, parts, strict=True)) if form is dict else form(parts)
        for names, parts in ((["one", "other"], x), (model.output_names, y), (model.output_names, weights))
    ]
    quiet = ke.RunConfig(progress="off")
    found = ke.model_to_estimator(model, model_dir=tmp_path, config=quiet).evaluate(ke.Arrays(*named))
    assert found["loss"] == pytest.approx(model.evaluate(x, y, sample_weight=weights, verbose=0)[0], rel=1e-5)


def test_strings_ragged_and_nested_rows_are_gathered() -> None:
    words = np.array(["a", "bb", "ccc", "d"])
    ragged = tf.ragged.constant([[1], [2, 3], [], [4]])
    feed = feed_of(ke.Arrays({"w": words, "r": ragged}, np.arange(4), batch_size=3, shuffle=False))
    feed.seek(Position())
    (x, y), _ = list(feed)
    assert x["w"].numpy().tolist() == [b"a", b"bb", b"ccc"]
    assert x["r"].to_list() == [[1], [2, 3], []]
    assert y.numpy().tolist() == [0, 1, 2]


@pytest.mark.parametrize("sparse", [scipy.sparse.csr_matrix(X), tf.sparse.from_dense(X)])
def test_sparse_rows_go_through_a_pipeline(sparse) -> None:
    feed = feed_of(ke.Arrays(sparse, np.arange(10), batch_size=4, shuffle=False))
    assert isinstance(feed, IteratorFeed)
    feed.seek(Position(0, 1))
    x, y = next(iter(feed))
    np.testing.assert_array_equal(tf.sparse.to_dense(x).numpy(), X[4:8])
    assert y.numpy().tolist() == [4, 5, 6, 7]


def test_a_pipeline_is_skipped_forward() -> None:
    feed = feed_of(tf.data.Dataset.range(6).batch(2))
    assert [batch.tolist() for batch in read(feed, Position(0, 1))] == [[2, 3], [4, 5]]
    assert [batch.tolist() for batch in read(feed, Position(1, 0))] == [[0, 1], [2, 3], [4, 5]]


def test_of_a_generator_no_batch_is_lost_by_looking_at_it() -> None:
    feed = feed_of(np.full((2, 1), number, "float32") for number in range(4))
    assert [batch[0, 0] for batch in read(feed)] == [0, 1, 2, 3]


def test_a_list_of_batches_can_be_read_again() -> None:
    feed = feed_of([(X[:4], X[:4]), (X[4:8], X[4:8])])
    for number in range(2):
        feed.seek(Position(number, 0))
        assert len(list(feed)) == 2


def test_a_py_dataset_is_told_about_the_end_of_a_pass() -> None:
    class Pairs(keras.utils.PyDataset):
        ended = 0

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return (np.full((2, 1), index, "float32"),)

        def on_epoch_end(self):
            self.ended += 1

    data = Pairs()
    feed = feed_of(data)
    assert len(feed) == 2
    assert [batch[0, 0] for batch in read(feed)] == [0, 1]
    assert [batch[0, 0] for batch in read(feed, Position(1, 0))] == [0, 1]
    assert data.ended >= 1


def test_a_torch_data_loader_is_read_in_every_pass() -> None:
    torch = pytest.importorskip("torch", reason="torch is no requirement: it is larger than all the others together")
    rows = torch.utils.data.TensorDataset(torch.arange(10.0).reshape(5, 2), torch.arange(5.0))
    feed = feed_of(torch.utils.data.DataLoader(rows, batch_size=2))
    assert len(feed) == 3
    for position in (START, Position(1, 0)):
        feed.seek(position)
        batches = list(feed)
        assert np.concatenate([x for x, _ in batches]).tolist() == np.arange(10.0).reshape(5, 2).tolist()
        assert [len(y) for _, y in batches] == [2, 2, 1]
    assert [batch[0, 0] for batch in read(feed, Position(2, 1))] == [4.0, 8.0]


def test_closing_twice_and_before_reading_is_fine() -> None:
    for data in (tf.data.Dataset.range(4).batch(2), ke.Arrays(X)):
        feed = feed_of(data)
        feed.close()
        feed.seek(Position())
        feed.close()
        feed.close()


def test_rows_in_memory_never_become_a_pipeline() -> None:
    assert isinstance(feed_of((X, X)), ArrayFeed)
