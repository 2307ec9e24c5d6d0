"""A tf.data pipeline is known again, and another one is told from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import pipelines
from keras_estimator.engines.tensorflow.pipelines import pipeline_hash

X = np.arange(20, dtype="float32").reshape(10, 2)


def rows(x: Any = X, *, batch: int = 2, factor: float = 2.0, seed: int | None = None) -> tf.data.Dataset:
    data = tf.data.Dataset.from_tensor_slices(x).shuffle(10, seed=seed).map(lambda row: row * factor)
    return data.batch(batch).repeat().prefetch(2)


def python(files: tuple[str, ...] = ("a", "b"), *, batch: int = 2) -> tf.data.Dataset:
    def read(name: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda _: np.zeros(3, np.float32), [name], tf.float32)

    return tf.data.Dataset.from_tensor_slices(list(files)).shuffle(2).map(read).repeat().batch(batch)


def generated() -> tf.data.Dataset:
    return tf.data.Dataset.from_generator(lambda: iter([1, 2]), output_signature=tf.TensorSpec((), tf.int32))


def ragged() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3]]))


def interleaved() -> tf.data.Dataset:
    return tf.data.Dataset.range(4).interleave(lambda n: tf.data.Dataset.range(n), num_parallel_calls=tf.data.AUTOTUNE)


def zipped() -> tf.data.Dataset:
    return tf.data.Dataset.zip((rows(), python()))


MAKERS: list[Callable[[], tf.data.Dataset]] = [rows, python, generated, ragged, interleaved, zipped]


@pytest.mark.parametrize("make", MAKERS)
def test_a_pipeline_made_again_has_the_same_hash(make: Callable[[], tf.data.Dataset]) -> None:
    keras.utils.set_random_seed(1)  # then each shuffle without a seed is given another one
    assert pipeline_hash(make()) == pipeline_hash(make())


DIFFERENT = {
    "rows": lambda: rows(X + 1),
    "map": lambda: rows(factor=3.0),
    "batch": lambda: rows(batch=3),
    "batch after Python": lambda: python(batch=3),
    "files": lambda: python(("a", "c")),
    "number of files": lambda: python(("a", "b", "c")),
    "stages": lambda: rows().take(3),
}


def test_pipelines_that_differ_have_different_hashes() -> None:
    hashes = [pipeline_hash(make()) for make in (rows, python, *DIFFERENT.values())]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("values", ["numbers", "words"])
def test_many_rows_in_memory_are_told_apart_by_every_row(values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "_LARGE", 100)  # bytes; what is done above it, on less data
    one = X if values == "numbers" else X.astype(str)
    other = one.copy()
    other[7, 1] = one[0, 0]
    assert pipeline_hash(rows_as_they_are(one)) == pipeline_hash(rows_as_they_are(one.copy()))
    assert pipeline_hash(rows_as_they_are(one)) != pipeline_hash(rows_as_they_are(other))
    assert pipeline_hash(rows_as_they_are(one)) != pipeline_hash(rows_as_they_are(one).cache())


def rows_as_they_are(x: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(x).batch(2)


@pytest.mark.slow
def test_another_process_finds_the_same_hashes() -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_pipelines import *; "
    code += "python(); print(*map(pipeline_hash, (make() for make in MAKERS)))"  # one Python function more
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.split() == [pipeline_hash(make()) for make in MAKERS]


def test_the_private_parts_of_tensorflow_are_still_there() -> None:
    dataset = tf.data.Dataset.from_tensor_slices((X, X)).batch(2)
    (stage,) = dataset._inputs()  # noqa: SLF001 - what is tested
    assert [tensor.shape.as_list() for tensor in stage._tensors] == [[10, 2], [10, 2]]  # noqa: SLF001 - the same


REPEATABLE = {
    "plain": lambda: tf.data.Dataset.range(9).batch(2),
    "a seed": lambda: tf.data.Dataset.range(9).shuffle(9, seed=1).map(lambda x: x + 1).repeat(),
    "a seed in a function": lambda: tf.data.Dataset.range(9).map(lambda x: tf.random.uniform((), seed=2)),
    "stateless": lambda: tf.data.Dataset.range(9).map(lambda x: tf.random.stateless_uniform((), [x, 1])),
}
UNREPEATABLE = {
    "shuffle without a seed": lambda: tf.data.Dataset.range(9).shuffle(9).batch(2).prefetch(1),
    "random without a seed": lambda: tf.data.Dataset.random().take(3),
    "RandomUniform without a seed in a function": lambda: tf.data.Dataset.range(9).map(lambda x: tf.random.uniform(())),
    "options.deterministic = False": lambda: tf.data.Dataset.range(9).with_options(unordered()),
}


def unordered() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = False
    return options


@pytest.mark.parametrize("name", REPEATABLE)
def test_a_pipeline_that_repeats_itself_is_left_alone(name: str) -> None:
    assert pipelines.unrepeatable(REPEATABLE[name]()) == []


@pytest.mark.parametrize("cause", UNREPEATABLE)
def test_what_makes_a_pipeline_another_one_each_time_is_said(cause: str) -> None:
    tf.random.set_seed(None)
    assert pipelines.unrepeatable(UNREPEATABLE[cause]()) == [cause]


def test_with_a_global_seed_each_stage_has_one() -> None:
    tf.random.set_seed(4)
    try:
        assert not any(pipelines.unrepeatable(UNREPEATABLE[cause]()) for cause in list(UNREPEATABLE)[:3])
    finally:
        tf.random.set_seed(None)
