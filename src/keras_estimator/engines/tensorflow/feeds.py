"""Bring a source of data into TensorFlow: rows in memory, or an iterator of a pipeline.

Rows in memory never go through tf.data: the compiled loop gathers each batch itself. Its order is
decided by the seed and the pass alone, so any batch of any pass can be sought at once. A pipeline
is skipped forward instead; what Python gives is asked for from its place on (python_batches.py).
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import Position
from keras_estimator.engines.places import Place
from keras_estimator.engines.tensorflow.batch_givers import IteratedGiver, PyDatasetGiver
from keras_estimator.engines.tensorflow.pipelines import pipeline_hash, unrepeatable
from keras_estimator.engines.tensorflow.python_batches import PythonBatches, nothing_given
from keras_estimator.engines.tensorflow.worker_batches import WorkersBatches, has_workers
from keras_estimator.errors import InputError
from keras_estimator.inputs import Arrays, Source, batches_per_pass, leaves
from keras_estimator.run_config import ModeKeys


class ArrayFeed:
    """Batches gathered from rows in memory.

    Attributes:
        spec: One batch as a nest of `tf.TensorSpec`, the batch dimension unknown.
    """

    def __init__(self, source: Source) -> None:
        data: Arrays = source.data
        with tf.device("/cpu:0"):
            self._rows = tf.nest.map_structure(as_tensor, _pack(data.x, data.y, data.sample_weight))
        self._num_rows = int(tf.nest.flatten(self._rows)[0].shape[0])
        self._data = data
        self._in_pass = batches_per_pass(source) or 0
        self.seek(Position())
        self.spec = tf.nest.map_structure(_batch_spec, self._rows)

    def seek(self, position: Position, place: Any = None) -> bool:
        """Go on from `position`, which needs nothing else."""
        del place
        self._position = position
        self._order = self._order_of(position.passes)
        return True

    @staticmethod
    def place() -> None:
        """Return nothing: the position says it all."""

    def _order_of(self, number: int) -> tf.Tensor:
        order = np.arange(self._num_rows, dtype=np.int64)
        if self._data.shuffle:
            # RandomState is frozen by NumPy's policy: the same order in every version.
            seeds = np.random.SeedSequence([self._data.seed or 0, number]).generate_state(4)
            np.random.RandomState(seeds).shuffle(order)
        with tf.device("/cpu:0"):
            return tf.constant(order)

    @property
    def kind(self) -> type[ArrayFeed]:
        """How a compiled loop reads such a feed: no one feed, as a loop outlives them."""
        return ArrayFeed

    @staticmethod
    def batch_spec(spec: Any) -> Any:
        """Return the spec of what `next` gives for batches of `spec`."""
        return spec

    def limit(self, steps: int) -> int:
        """Return how many of `steps` fit before the order changes."""
        return min(steps, self._in_pass - self._position.batches)

    def arguments(self) -> tuple[Any, ...]:
        """Return what the compiled loop is called with."""
        return self._rows, self._order, np.int64(self._position.batches), np.int64(self._data.batch_size)

    @staticmethod
    def arguments_spec(spec: Any) -> tuple[Any, ...]:
        """Return the specs of `arguments` for batches of `spec`; the same for any number of rows."""
        number = tf.TensorSpec((), tf.int64)
        return spec, tf.TensorSpec((None,), tf.int64), number, number

    @staticmethod
    def first(arguments: Any) -> Any:
        """Return the first batch of a stride in the graph, as `next` does."""
        return ArrayFeed.next(arguments, tf.constant(0, tf.int64))

    @staticmethod
    def next(arguments: Any, index: tf.Tensor) -> Any:
        """Return batch `index` of a stride as a `tf.experimental.Optional`, in the graph."""
        rows, order, first, size = arguments
        with tf.device("/cpu:0"):
            start = (first + index) * size
            picked = order[start : tf.minimum(start + size, tf.size(order, tf.int64))]
            batch = tf.nest.map_structure(lambda array: tf.gather(array, picked), rows)
            return tf.experimental.Optional.from_value(batch)

    def advance(self, steps: int, unused: Sequence[Any] = ()) -> bool:
        """Note that `steps` batches were used; say whether the pass ended."""
        del unused  # it can be gathered again
        position = Position(self._position.passes, self._position.batches + steps)
        if ended := position.batches >= self._in_pass:
            position = Position(position.passes + 1, 0)
            self._order = self._order_of(position.passes) if self._data.shuffle else self._order
        self._position = position
        return ended

    def __iter__(self) -> Iterator[Any]:
        for index in range(self._position.batches, self._in_pass):
            start = index * self._data.batch_size
            picked = self._order[start : start + self._data.batch_size]
            yield tf.nest.map_structure(lambda array, p=picked: tf.gather(array, p), self._rows)

    def __len__(self) -> int:
        return self._in_pass

    @staticmethod
    def describe() -> str:
        """Return nothing: rows describe themselves (`inputs.identity`)."""
        return ""

    @staticmethod
    def unrepeatable() -> list[str]:
        """Return nothing: the seed and the pass decide about the order."""
        return []

    def close(self) -> None:
        """Nothing to stop: no thread reads ahead."""


class IteratorFeed:
    """Batches of a tf.data pipeline (or of something Keras turns into one).

    Attributes:
        spec: One batch as a nest of `tf.TypeSpec`, as the pipeline declares it.
    """

    def __init__(self, source: Source) -> None:
        self._data = source.data
        self._opened: list[Any] = []  # the iterator that is read
        self._unused: list[Any] = []  # optionals that were read ahead of strides that ended early
        weakref.finalize(self, _retire, self._opened).atexit = False
        self._batches = _batches_of(source)
        self.spec = self._batches.spec
        self._nothing = tf.experimental.Optional.empty(self.spec)

    def seek(self, position: Position, place: Mapping[str, Any] | None = None) -> bool:
        """Go on from `position`; batches before it are read and dropped unless `place` spares that.

        Args:
            position: How far the data were read.
            place: What `place` returned there, in another process.

        Returns:
            Whether it was spared.

        Raises:
            CheckpointError: `place` never returned that.
        """
        self.close()
        known = None if place is None else Place.of(place, position)
        self._opened.append(iter(self._batches.at(position, known)))
        return known is not None and known.state is not None

    def place(self) -> dict[str, Any] | None:
        """Return, as JSON values, what another process needs to go on without reading what lies before."""
        found = self._batches.place()
        return None if found is None else found.record()

    @property
    def kind(self) -> type[IteratorFeed]:
        """How a compiled loop reads such a feed."""
        return IteratorFeed

    @staticmethod
    def batch_spec(spec: Any) -> Any:
        """Return the spec of what `next` gives for batches of `spec`."""
        return spec

    def limit(self, steps: int) -> int:
        """Return how many of `steps` may be asked for at once."""
        return min(steps, 1) if len(self._unused) > 1 else steps

    def arguments(self) -> tuple[Any, ...]:
        """Return what the compiled loop is called with."""
        (iterator,) = self._opened
        unused = self._unused[0] if self._unused else self._nothing
        return iterator, unused, np.bool_(bool(self._unused))

    @staticmethod
    def arguments_spec(spec: Any) -> tuple[Any, ...]:
        """Return the specs of `arguments` for batches of `spec`."""
        return tf.data.IteratorSpec(spec), tf.OptionalSpec(spec), tf.TensorSpec((), tf.bool)

    @staticmethod
    def first(arguments: Any) -> Any:
        """Return the first batch of a stride in the graph, as `next` does."""
        iterator, unused, has_unused = arguments
        return tf.cond(has_unused, lambda: unused, iterator.get_next_as_optional)

    @staticmethod
    def next(arguments: Any, index: tf.Tensor) -> Any:
        """Return the batch that follows as a `tf.experimental.Optional`, in the graph."""
        del index  # an iterator knows where it is
        return arguments[0].get_next_as_optional()

    def advance(self, steps: int, unused: Sequence[Any] = ()) -> bool:
        """Note that `steps` batches were used, and that some were read that were not; the end tells by itself."""
        self._unused = [*unused, *(self._unused[1:] if steps else self._unused)]
        self._batches.used(steps)
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(self._opened[0])

    def __len__(self) -> int:
        return self._batches.length or 0

    def describe(self) -> str:
        """Return what a tf.data pipeline of the user's reads and computes, as a hash."""
        return pipeline_hash(self._data) if isinstance(self._data, tf.data.Dataset) else ""

    def unrepeatable(self) -> list[str]:
        """Say what is another each time the data are read (of a pipeline see `pipelines.unrepeatable`)."""
        if isinstance(self._batches, WorkersBatches) and self._batches.changes:
            return [f"what a {type(self._data).__name__} draws or counts in {self._data.workers} workers at once"]
        return unrepeatable(self._data) if isinstance(self._data, tf.data.Dataset) else []

    def close(self) -> None:
        """Let the iterator go, without waiting for it."""
        self._unused = []
        _retire(self._opened)


def _retire(opened: list[Any]) -> None:
    """Empty `opened` in a thread of its own.

    tf.data's tuner makes the destruction of an iterator wait until it wakes next: up to half the life
    of the iterator (docs/decisions/0006-iterators-are-retired-aside.md).
    """
    if opened:
        retired = opened.copy()
        opened.clear()
        threading.Thread(target=retired.clear, name="retire-iterator", daemon=True).start()


def open_feed(source: Source) -> ArrayFeed | IteratorFeed:
    """Return the batches of `source`; `seek` before the first is read.

    Raises:
        EmptyInputError: the data end before a first batch could be looked at.
        InputError: Keras cannot read the data.
    """
    data = source.data
    if isinstance(data, Arrays) and not source.is_part:
        arrays = [array for _, array in leaves((data.x, data.y, data.sample_weight))]
        if not any(isinstance(array, tf.SparseTensor) or hasattr(array, "tocoo") for array in arrays):
            return ArrayFeed(source)
    return IteratorFeed(source)


class PipelineBatches:
    """Batches of a tf.data pipeline, which has no place but how far it was read.

    Args:
        pipeline: Gives it for a pass.

    Attributes:
        length: How many a pass has; None if that is not known.
        spec: One batch as a nest of `tf.TypeSpec`.
    """

    def __init__(self, pipeline: Callable[[int], tf.data.Dataset]) -> None:
        self._pipeline = pipeline
        first = pipeline(0)
        cardinality = int(first.cardinality())
        self.length = cardinality if cardinality >= 0 else None
        self.spec = first.element_spec

    def at(self, position: Position, place: Place | None) -> tf.data.Dataset:
        """Return the batches of one pass from `position` on; those before it are read and dropped."""
        del place
        pipeline = self._pipeline(position.passes)
        return pipeline.skip(position.batches) if position.batches else pipeline

    def used(self, steps: int) -> None:
        """Do nothing."""

    def place(self) -> None:
        """Return nothing."""


def _batches_of(source: Source) -> PipelineBatches | PythonBatches | WorkersBatches:
    data = source.data
    if isinstance(data, tf.data.Dataset):
        return PipelineBatches(lambda number: data)
    if isinstance(data, Arrays):
        return PipelineBatches(functools.partial(_sparse_rows, data))
    try:
        if has_workers(data):
            return WorkersBatches(data)
        is_py_dataset = isinstance(data, keras.utils.PyDataset)
        giver = PyDatasetGiver(data) if is_py_dataset else IteratedGiver(data, source.again)
        return PythonBatches(giver, type(data).__name__, takes_notes=source.mode == ModeKeys.TRAIN)
    except InputError:
        raise
    except (StopIteration, IndexError, ValueError, TypeError) as error:
        raise _unreadable(data, error) from error


def _unreadable(data: Any, error: Exception) -> InputError:
    if isinstance(error, StopIteration | IndexError) or "at least one batch" in str(error) or "length 0" in str(error):
        return nothing_given(type(data).__name__)
    return InputError(
        f"batches cannot be read from a {type(data).__name__}",
        found=str(error).partition("\n")[0][:200],
        expected="batches (x,), (x, y) or (x, y, sample_weight)",
        fix="return a tf.data.Dataset or (x, y) arrays from the input_fn",
    )


def _sparse_rows(data: Arrays, number: int) -> tf.data.Dataset:
    """Return pass `number` over rows of which some are sparse: these cannot be gathered."""
    rows = tf.nest.map_structure(as_tensor, _pack(data.x, data.y, data.sample_weight))
    dataset = tf.data.Dataset.from_tensor_slices(rows)
    if data.shuffle:
        dataset = dataset.shuffle(int(dataset.cardinality()), seed=(data.seed or 0) * 1_000_003 + number)
    return dataset.batch(data.batch_size, drop_remainder=data.drop_remainder)


def _pack(x: Any, y: Any, sample_weight: Any) -> Any:
    # In tf.data a list is one tensor, and a tuple is several; Keras hands lists on as tuples, too.
    x, y, sample_weight = keras.tree.lists_to_tuples((x, y, sample_weight))
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, list | tuple) else x


def as_tensor(array: Any) -> Any:
    """Return rows as a tensor; floats in Keras's default precision, as `fit` takes them.

    Raises:
        InputError: TensorFlow has no tensor for such values.
    """
    if hasattr(array, "tocoo"):  # SciPy
        coordinates = array.tocoo()
        places = np.stack([coordinates.row, coordinates.col], axis=1).astype(np.int64)
        array = tf.sparse.reorder(tf.SparseTensor(places, coordinates.data, array.shape))
    if isinstance(array, tf.RaggedTensor | tf.SparseTensor):
        return array
    if isinstance(array, np.ndarray) and array.dtype.kind == "U":
        array = array.astype(object)
    try:
        tensor = tf.convert_to_tensor(array)
    except (ValueError, TypeError) as error:
        raise InputError(
            "there is no tensor for values like these",
            found=f"{type(array).__name__} of {getattr(array, 'dtype', 'several types')}: {error}",
            expected="numbers, booleans or strings, of one kind in an array",
            fix="choose columns, for example frame.select_dtypes('number'), or give each its own input by name",
        ) from error
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor


def _batch_spec(rows: Any) -> Any:
    if isinstance(rows, tf.RaggedTensor):
        return tf.RaggedTensorSpec(
            tf.TensorShape([None]).concatenate(rows.shape[1:]), rows.dtype, rows.ragged_rank, rows.row_splits.dtype
        )
    return tf.TensorSpec(tf.TensorShape([None]).concatenate(rows.shape[1:]), rows.dtype)
