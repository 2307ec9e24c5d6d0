"""Batches of which each process reads its own part, because its input_fn asked for an `input_context`.

A global batch is what all processes read at one step. Their parts may differ in size, and one may end before the
others: it then gives a batch that is not there, of one made-up row, until the pass has ended for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_estimator.engines.engine import Position
from keras_estimator.engines.tensorflow.feeds import ArrayFeed, IteratorFeed
from keras_estimator.engines.tensorflow.workers import Workers


class Part(NamedTuple):
    """What one process has read of a batch.

    Attributes:
        rows: A batch in the structure that its pipeline gives.
        is_there: Whether it is one; else its rows are made up, and count nothing.
    """

    rows: Any
    is_there: Any


@dataclasses.dataclass(frozen=True)
class _PartsInGraph:
    """How a compiled loop reads parts."""

    workers: Workers

    @staticmethod
    def batch_spec(spec: Any) -> Any:
        return Part(spec, tf.TensorSpec((), tf.bool))

    @staticmethod
    def arguments_spec(spec: Any) -> tuple[Any, ...]:
        return IteratorFeed.arguments_spec(spec)

    def first(self, arguments: Any) -> Any:
        return self._agreed(IteratorFeed.first(arguments))

    def next(self, arguments: Any, index: tf.Tensor) -> Any:
        return self._agreed(IteratorFeed.next(arguments, index))

    def _agreed(self, own: Any) -> Any:
        """Return a part as long as one process has one."""
        is_there, spec = own.has_value(), own.element_spec
        (have_one,) = self.workers.sum([tf.cast(is_there, tf.int32)])
        part = Part(tf.cond(is_there, own.get_value, lambda: _made_up(spec)), is_there)
        some, none = tf.experimental.Optional.from_value, tf.experimental.Optional.empty
        return tf.cond(have_one > 0, lambda: some(part), lambda: none(self.batch_spec(spec)))


class PartFeed:
    """The part of one process of the batches of all.

    Args:
        feed: What this process reads.
        workers: All processes.

    Attributes:
        spec: One part as a nest of `tf.TypeSpec`, as its pipeline declares it.
    """

    def __init__(self, feed: IteratorFeed, workers: Workers) -> None:
        self._feed = feed
        self._workers = workers
        self.kind = _PartsInGraph(workers)
        self.spec = feed.spec

    def seek(self, position: Position, place: Any = None) -> bool:
        """Go on from `position`, which counts global batches: each process skips as many of its parts."""
        del place
        return self._feed.seek(position)

    @staticmethod
    def place() -> None:
        """Return nothing: that of the chief is none of the others."""

    def limit(self, steps: int) -> int:
        """Return how many of `steps` may be asked for at once."""
        return self._feed.limit(steps)

    def arguments(self) -> tuple[Any, ...]:
        """Return what the compiled loop is called with."""
        return self._feed.arguments()

    def advance(self, steps: int, unused: Sequence[Any] = ()) -> bool:
        """Note that `steps` batches were used; the end tells by itself. No batch is left unused between processes."""
        del unused
        return self._feed.advance(steps)

    def __iter__(self) -> Iterator[Part]:
        batches = iter(self._feed)
        while True:
            batch = next(batches, None)
            if not self._workers.gather([batch is not None]).any():
                return
            yield Part(_made_up(self.spec) if batch is None else batch, tf.constant(batch is not None))

    def __len__(self) -> int:
        return 0  # it ends with the longest part, which the others do not know

    def unrepeatable(self) -> list[str]:
        """Say what of this process's part is another each time it is read."""
        return self._feed.unrepeatable()

    @staticmethod
    def describe() -> str:
        """Return nothing: what processes read differs."""
        return ""

    def close(self) -> None:
        """Let go of the data without waiting."""
        self._feed.close()


AnyFeed = ArrayFeed | IteratorFeed | PartFeed


def _made_up(spec: Any) -> Any:
    """Return one row for a spec, of zeros and empty texts; as many as it says if it says how many."""

    def rows(of: Any) -> Any:
        if isinstance(of, tf.SparseTensorSpec):
            shape = [1 if size is None else size for size in of.shape]
            empty = tf.zeros((0, len(shape)), tf.int64), tf.zeros((0,), of.dtype), shape
            return tf.sparse.SparseTensor(*empty)
        if isinstance(of, tf.RaggedTensorSpec):
            inner = tf.zeros([0, *(1 if size is None else size for size in of.shape[of.ragged_rank + 1 :])], of.dtype)
            nothing = tf.RaggedTensor.from_row_splits(inner, tf.zeros(2, of.row_splits_dtype))
            for _ in range(of.ragged_rank - 1):
                nothing = tf.RaggedTensor.from_row_splits(nothing, tf.constant([0, 1], of.row_splits_dtype))
            return nothing
        return tf.zeros([1 if size is None else size for size in of.shape], of.dtype)

    return tf.nest.map_structure(rows, spec)
