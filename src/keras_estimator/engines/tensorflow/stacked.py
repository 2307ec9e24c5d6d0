"""A loop that hands XLA several batches at once: the plan "stacked".

    while step < limit and there is a batch and the loss is finite:
        stack = as many batches of one shape as fit; meanwhile, XLA runs the steps on the stack before it

XLA compiles the loop over the batches of a stack together with the step, for one shape: a stack always has room for
the same number of batches, of which the first `count` are real. A batch of another size, such as the last one of
a pass, is a step by itself, outside of XLA. As with the other plans nothing is read beyond the limit, and
the steps end with the first loss that is not finite; batches that were read by then are handed back to the feed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import Stride
from keras_estimator.engines.tensorflow.feeds import ArrayFeed, IteratorFeed
from keras_estimator.engines.tensorflow.loops import (
    EVERYTHING,
    TracedLoops,
    as_floats,
    is_finite,
    named_tensors,
    no_metric,
)
from keras_estimator.engines.tensorflow.parts import AnyFeed
from keras_estimator.engines.tensorflow.xla import obstacle_in, obstacle_in_batches
from keras_estimator.engines.tensorflow.xla_draws import drawing_alike

_MAX_BATCHES = 64
_MAX_BYTES = 32 * 2**20  # of a stack; three are in memory at a time
_Optional = tf.experimental.Optional


class _Unit(NamedTuple):
    """What is read at once.

    Attributes:
        stack: Room for batches, each leaf of shape `(room, rows, ...)`.
        count: How many batches are there. 0: the next one has another size.
        batch: The one behind them, if it was read already.
    """

    stack: Any
    count: Any
    batch: Any


class _Progress(NamedTuple):
    """How far a stride is.

    Attributes:
        made: Steps so far.
        finite: Whether the last loss is finite.
        metrics: What the last step returned.
        rows: How many rows a batch has that is stacked.
        last: The unit that was run last.
        done: How many batches of it.
        unit: The one that was read meanwhile.
    """

    made: Any
    finite: Any
    metrics: Any
    rows: Any
    last: _Unit
    done: Any
    unit: _Unit


class StackedLoop:
    """One step of a model, and XLA loops over stacks of batches, one for each kind of batch.

    Args:
        step: Takes a batch, returns metrics by name.
        guards_loss: Whether the loop ends after a step whose `loss` is not finite.
    """

    def __init__(self, step: Callable[[Any], Any], *, guards_loss: bool) -> None:
        self._step = tf.function(drawing_alike(named_tensors(step)), autograph=False)
        self._guards_loss = guards_loss
        self._loops = TracedLoops(self._compile)
        self._rows: dict[Any, int] = {}  # by loop: of the batches that it stacks
        self.graph: Any = None

    @property
    def graphs(self) -> list[Any]:
        """All that runs, if all of it is known."""
        return [] if self.graph is None else [self.graph]

    def obstacle(self, feed: AnyFeed) -> str:
        """Say what keeps batches like those of `feed` from being stacked, or the step from XLA; empty if nothing."""
        if self._loops.has(feed):
            return ""  # it was looked at before it was traced
        if not isinstance(feed, ArrayFeed | IteratorFeed):
            return "the processes agree on each batch"
        if obstacle := obstacle_in_batches(feed.spec):
            return obstacle
        shapes = [leaf.shape for leaf in tf.nest.flatten(feed.spec)]
        if any(shape.rank in (None, 0) or None in shape[1:].as_list() for shape in shapes):
            return "the rows are not all of one shape"
        step = self._step.get_concrete_function(feed.spec)
        unknown = [name for name, metric in step.structured_outputs.items() if not metric.shape.is_fully_defined()]
        return f"the shape of `{unknown[0]}` is not known" if unknown else obstacle_in(step.graph)

    def prepare(self, feed: AnyFeed) -> bool:
        """Trace the loop for batches like those of `feed`; say whether that was still to do. Runs nothing."""
        return self._loops.prepare(feed)

    def __call__(self, feed: AnyFeed, steps: int | None) -> Stride:
        """Run at most `steps` steps (None: until the data end)."""
        loop = self._loops.of(feed)
        limit = feed.limit(EVERYTHING if steps is None else steps)
        found = loop(*feed.arguments(), np.int64(self._rows.get(loop, -1)), np.int64(limit))
        made, is_finite, self._rows[loop] = int(found.made), bool(found.finite), int(found.rows)
        unused = [] if is_finite else [*_stacked(found.last, int(found.done)), *_stacked(found.unit, 0)]
        unused += [] if is_finite or not found.unit.batch.has_value() else [found.unit.batch]
        ended = feed.advance(made, unused) or (made < limit and is_finite)
        return Stride(made, ended, is_finite, as_floats(found.metrics) if made else {})

    def _compile(self, kind: Any, spec: Any) -> Any:
        step = self._step.get_concrete_function(spec)
        self.graph = step.graph
        none = tf.nest.map_structure(no_metric, step.structured_outputs)
        read = _read_rows if kind is ArrayFeed else _read_iterator
        run = self._runner(none)

        def alone(batch: Any) -> Any:
            new = self._step(batch)
            return tf.constant(1, tf.int64), self._is_finite(new), new

        def loop(arguments: Any, rows: tf.Tensor, limit: tf.Tensor) -> Any:
            def goes_on(now: _Progress) -> Any:
                return (now.made < limit) & now.finite & ((now.unit.count > 0) | now.unit.batch.has_value())

            def body(now: _Progress) -> Any:
                stack, count, batch = unit = now.unit
                done, finite, metrics = tf.cond(count > 0, lambda: run(stack, count), lambda: alone(batch.get_value()))
                rows = tf.cond(count > 0, lambda: now.rows, lambda: tf.maximum(now.rows, _num_rows(batch)))
                index = now.made + tf.maximum(count, 1)
                following = tf.cond(count > 0, lambda: batch, lambda: _next(kind, arguments, index, limit, spec))
                ahead = read(kind, arguments, index, following, rows, limit - index, spec)
                return (_Progress(now.made + done, finite, metrics, rows, unit, done, ahead),)

            zero, batch = tf.constant(0, tf.int64), kind.first(arguments)
            rows = tf.where(rows < 0, _num_rows(batch), rows)
            unit = read(kind, arguments, zero, batch, rows, limit, spec)
            start = _Progress(zero, tf.constant(value=True), none, rows, unit, zero, unit)
            return tf.while_loop(goes_on, body, (start,), parallel_iterations=1)[0]

        number = tf.TensorSpec((), tf.int64)
        traced = tf.function(lambda *given: loop(given[:-2], given[-2], given[-1]), autograph=False)
        return traced.get_concrete_function(*kind.arguments_spec(spec), number, number)

    def _runner(self, none: Any) -> Any:
        """Return what runs the steps on a stack: how many it made, whether the loss is finite, and the last metrics."""

        def run(stack: Any, count: tf.Tensor) -> Any:
            def body(index: Any, finite: Any, metrics: Any) -> Any:
                del finite, metrics
                new = self._step(tf.nest.map_structure(lambda leaf: leaf[index], stack))
                return index + 1, self._is_finite(new), new

            start = (tf.constant(0, tf.int64), tf.constant(value=True), none)
            return tf.while_loop(lambda index, finite, _: (index < count) & finite, body, start)

        return tf.function(run, jit_compile=True, autograph=False)

    def _is_finite(self, metrics: dict[str, tf.Tensor]) -> tf.Tensor:
        return is_finite(metrics) if self._guards_loss else tf.constant(value=True)


def _room(rows: tf.Tensor, spec: Any) -> tf.Tensor:
    """Return for how many batches a stack has room."""
    row_bytes = sum(leaf.dtype.size * int(np.prod(leaf.shape[1:])) for leaf in tf.nest.flatten(spec))
    return tf.clip_by_value(_MAX_BYTES // (tf.maximum(rows, 1) * row_bytes), 1, _MAX_BATCHES)


def _num_rows(batch: Any) -> tf.Tensor:
    def counted() -> tf.Tensor:
        return tf.shape(tf.nest.flatten(batch.get_value())[0], tf.int64)[0]

    return tf.cond(batch.has_value(), counted, lambda: tf.constant(0, tf.int64))


def _next(kind: Any, arguments: Any, index: tf.Tensor, limit: tf.Tensor, spec: Any) -> Any:
    """Return batch `index` of a stride, if it is one of it."""
    return tf.cond(index < limit, lambda: kind.next(arguments, index), lambda: _Optional.empty(spec))


def _read_rows(
    kind: Any, arguments: Any, index: tf.Tensor, batch: Any, rows: tf.Tensor, budget: tf.Tensor, spec: Any
) -> _Unit:
    """Gather a stack of rows in memory."""
    del batch, rows
    columns, order, first, size = arguments
    room, num_rows = _room(size, spec), tf.size(order, tf.int64)
    count = tf.clip_by_value(num_rows // size - first - index, 0, tf.minimum(room, tf.maximum(budget, 0)))
    with tf.device("/cpu:0"):
        places = (first + index) * size + tf.range(room * size)
        picked = tf.reshape(tf.gather(order, tf.minimum(places, num_rows - 1)), [room, size])
        stack = tf.nest.map_structure(lambda column: tf.gather(column, picked), columns)
    is_alone = (count == 0) & (budget > 0) & ((first + index) * size < num_rows)
    alone = tf.cond(is_alone, lambda: kind.next(arguments, index), lambda: _Optional.empty(spec))
    return _Unit(stack, count, alone)


def _read_iterator(
    kind: Any, arguments: Any, index: tf.Tensor, batch: Any, rows: tf.Tensor, budget: tf.Tensor, spec: Any
) -> _Unit:
    """Stack the batches that an iterator gives, from `batch` on, as long as they have so many rows."""
    room = _room(rows, spec)
    leaves = tf.nest.flatten(spec)
    arrays = [tf.TensorArray(leaf.dtype, tf.cast(room, tf.int32), element_shape=leaf.shape) for leaf in leaves]

    def fits(batch: Any) -> tf.Tensor:
        return tf.cond(batch.has_value(), lambda: _num_rows(batch) == rows, lambda: tf.constant(value=False))

    def goes_on(count: Any, batch: Any, *arrays: Any) -> Any:
        del arrays
        return (count < tf.minimum(room, budget)) & fits(batch)

    def body(count: Any, batch: Any, *arrays: Any) -> Any:
        values = tf.nest.flatten(batch.get_value())
        arrays = tuple(array.write(tf.cast(count, tf.int32), one) for array, one in zip(arrays, values, strict=True))
        count = count + 1
        return count, _next(kind, arguments, count, budget, spec), *arrays

    count, batch, *arrays = tf.while_loop(
        goes_on, body, (tf.constant(0, tf.int64), batch, *arrays), parallel_iterations=1
    )

    def nothing() -> list[tf.Tensor]:
        return [tf.zeros([0, 0, *leaf.shape[1:]], leaf.dtype) for leaf in leaves]

    stacks = tf.cond(count > 0, lambda: [array.stack() for array in arrays], nothing)
    return _Unit(tf.nest.pack_sequence_as(spec, stacks), count, batch)


def _stacked(unit: _Unit, first: int) -> list[Any]:
    """Return the batches of a stack from one on, as optionals."""
    return [
        _Optional.from_value(tf.nest.map_structure(lambda leaf, place=place: leaf[place], unit.stack))
        for place in range(first, int(unit.count))
    ]
