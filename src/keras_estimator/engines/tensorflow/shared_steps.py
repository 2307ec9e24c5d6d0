"""A step of which every replica does a part: its own rows of the batch, and the same update of the weights.

    batch ─▶ own rows ─▶ loss over them ─▶ gradients ─┬─▶ sum over all, by rows ─▶ clip, accumulate, update
                                                      │   (the one message of a step)

Keras's own step runs unchanged inside. Where it computes a mean over the batch, it gets the mean over its rows,
and the sum over all replicas weighs each by its number of rows: n of N. So a short last batch is exact too,
and one that leaves a replica without a row: that one computes a row of the batch, which counts nothing.

What is weighed otherwise than by rows is corrected in the loss: masks, sums, and means by sample weights.
The private parts of Keras that this reaches into are `losses.loss.reduce_weighted_values`, the `apply` of
optimizers, and the tracker of each output's loss in `compile_utils`; of TensorFlow, `ReplicaContext.all_reduce`,
by which layers ask for sums over all replicas. tests/test_shared_steps.py fails when they change.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src.losses import loss as keras_loss
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.optimizers.loss_scale_optimizer import LossScaleOptimizer
from keras.src.trainers import compile_utils

from keras_estimator.engines.tensorflow.parts import Part
from keras_estimator.engines.tensorflow.replicas import Replica

_here = threading.local()
# Among the metrics of a step, for those who put the metrics of all together.
WEIGHT, SEEN = "@weight", "@seen"


class Share:
    """What one replica computes of a batch.

    Args:
        replica: The one that computes it, of all that share the step.
        batch: The whole batch; or what this process has read of it.
        place: The number of this replica among those that share what this process has read, and how many they are.

    Attributes:
        rows: The rows of this replica, in the structure of the batch.
        weight: How much they count: n / N.
        is_empty: Whether `rows` are only there so that there is something to compute.
        is_summed: Whether an optimizer updates the weights now, by gradients of the whole batch.
        marks: The weight, and a number that tells this batch from others, to be compared between processes.
    """

    def __init__(self, replica: Replica, batch: Any, place: tuple[int, int]) -> None:
        self._replica = replica
        self.is_summed = False
        given = batch.rows if isinstance(batch, Part) else batch
        leaves = [leaf for leaf in tf.nest.flatten(given) if leaf is not None]
        with tf.device("/cpu:0"):  # where batches are: a device gets its own rows only
            read = _num_rows(leaves[0])
            number, of = place if isinstance(batch, Part) else (replica.index, replica.size)
            first, last = (read * each // of for each in (number, number + 1))
            count = (last - first) * tf.cast(batch.is_there, tf.int64) if isinstance(batch, Part) else last - first
            self.is_empty = tf.equal(count, 0)
            in_all = replica.sum([count])[0] if isinstance(batch, Part) else read
            seen = [] if isinstance(batch, Part) else [_mark(leaf) for leaf in leaves]
            self.weight = tf.cast(count, tf.float64) / tf.cast(tf.maximum(in_all, 1), tf.float64)
            self.marks = {WEIGHT: self.weight, SEEN: tf.add_n([tf.cast(in_all, tf.float64), *seen])}
            first = tf.where(self.is_empty, tf.constant(0, tf.int64), first)
            last = tf.where(self.is_empty, tf.minimum(read, 1), last)
            self.rows = tf.nest.map_structure(lambda leaf: _rows(leaf, first, last), given)

    @property
    def num_replicas(self) -> int:
        """How many share the batch."""
        return self._replica.size

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Let losses, optimizers and layers that are called meanwhile compute for all replicas together."""
        _install()
        before, _here.share = getattr(_here, "share", None), self
        try:
            yield
        finally:
            _here.share = before

    def mean(self, gradients: Sequence[Any]) -> list[Any]:
        """Return the gradients of the whole batch, given those of the own rows; None stays None."""
        slices = iter(self._of_all([each for each in gradients if isinstance(each, tf.IndexedSlices)]))
        tensors = [each for each in gradients if not (each is None or isinstance(each, tf.IndexedSlices))]
        sums = iter(self._replica.sum([self.weighed(tf.convert_to_tensor(each)) for each in tensors]))
        return [
            None if each is None else next(slices if isinstance(each, tf.IndexedSlices) else sums) for each in gradients
        ]

    def _of_all(self, own: list[tf.IndexedSlices]) -> list[tf.IndexedSlices]:
        """Return the slices of all replicas, one after the other: Keras squares each by itself, equal indices or not.

        First all say how many they have; then each writes its own into zeros, at its place, and these are summed.
        """
        if not own:
            return []
        counts = [tf.shape(each.indices, tf.int64)[0] * tf.cast(~self.is_empty, tf.int64) for each in own]
        places = tf.one_hot(self._replica.index, self._replica.size, dtype=tf.int64)
        (of_all,) = self._replica.sum([tf.stack(counts)[:, None] * places])
        return [self._joined(*each) for each in zip(own, counts, tf.unstack(of_all), strict=True)]

    def _joined(self, own: tf.IndexedSlices, count: tf.Tensor, counts: tf.Tensor) -> tf.IndexedSlices:
        before, total = tf.reduce_sum(counts[: self._replica.index]), tf.reduce_sum(counts)
        # A collective has one shape for ever, so there is one for each power of two.
        exponent = tf.cast(tf.math.ceil(tf.math.log(tf.cast(total + 1, tf.float64)) / math.log(2)), tf.int64)
        after = tf.bitwise.left_shift(tf.constant(1, tf.int64), exponent) - before - count
        tensors = [self.weighed(own.values), own.indices]
        padded = [tf.pad(t[:count], tf.stack([[before, after], *[[0, 0]] * (t.shape.rank - 1)])) for t in tensors]
        values, indices = (each[:total] for each in self._replica.sum(padded, exponent))
        return tf.IndexedSlices(values, indices, own.dense_shape)

    def weighed(self, tensor: tf.Tensor) -> tf.Tensor:
        """Return a tensor times the share of this replica."""
        return tensor * tf.cast(self.weight, tensor.dtype)

    def loss(self, value: tf.Tensor, divisor: tf.Tensor | None) -> tf.Tensor:
        """Return what a loss over the own rows contributes to the mean by rows.

        Args:
            value: The loss over the own rows: a sum over them, divided by `divisor`.
            divisor: None: the sum itself.
        """
        weight = tf.cast(self.weight, value.dtype)
        if divisor is None:
            return tf.math.divide_no_nan(value, weight)
        divisor = tf.stop_gradient(tf.cast(divisor, value.dtype))
        divisor = tf.where(self.is_empty, tf.zeros_like(divisor), divisor)
        (in_all,) = self._replica.sum([divisor])
        return tf.math.divide_no_nan(value * divisor, weight * in_all)

    def of_batch(self, value: tf.Tensor) -> tf.Tensor:
        """Return what a mean over the own rows contributes, where each replica counts as one in a mean over batches."""
        return self.weighed(value) * self.num_replicas

    def sum(self, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        """Return sums over all replicas that gradients pass through."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def summed(*given: tf.Tensor) -> Any:
            alive = [tf.where(self.is_empty, tf.zeros_like(each), each) for each in given]

            def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
                sums = self._replica.sum([self.weighed(each) for each in upstream])
                return [tf.math.divide_no_nan(each, tf.cast(self.weight, each.dtype)) for each in sums]

            return tuple(self._replica.sum(alive)), gradient

        return list(summed(*tensors))

    @contextlib.contextmanager
    def summing_once(self) -> Iterator[bool]:
        """Say whether this `apply` of an optimizer is the outermost, whose gradients are still those of the rows."""
        outermost, self.is_summed = not self.is_summed, True
        try:
            yield outermost
        finally:
            self.is_summed = not outermost


def _num_rows(leaf: Any) -> tf.Tensor:
    if isinstance(leaf, tf.RaggedTensor):
        return tf.cast(leaf.nrows(), tf.int64)
    return leaf.dense_shape[0] if isinstance(leaf, tf.SparseTensor) else tf.shape(leaf, tf.int64)[0]


def _mark(leaf: Any) -> tf.Tensor:
    """Return a number that is the same for the same first row, at next to no cost."""
    if not isinstance(leaf, tf.Tensor):
        return tf.zeros((), tf.float64)
    first = tf.strings.to_hash_bucket_fast(leaf[:1], 2**20) if leaf.dtype == tf.string else leaf[:1]
    return tf.reduce_sum(tf.cast(first, tf.float64))


def _rows(leaf: Any, first: tf.Tensor, last: tf.Tensor) -> Any:
    if not isinstance(leaf, tf.SparseTensor):
        return leaf[first:last]
    zeros = tf.zeros_like(leaf.dense_shape[1:])
    start, size = (
        tf.concat([[each], rest], 0) for each, rest in ((first, zeros), (last - first, leaf.dense_shape[1:]))
    )
    return tf.sparse.slice(leaf, start, size)


def current() -> Share | None:
    """Return the share that is computed now in this thread; None outside of a shared step."""
    return getattr(_here, "share", None)


@contextlib.contextmanager
def asking_for_sums() -> Iterator[set[int]]:
    """Collect meanwhile the ids of the layers that ask for sums over all replicas by themselves."""
    _install()
    _here.asking = asking = set[int]()
    try:
        yield asking
    finally:
        _here.asking = None


def _note_asking() -> None:
    asking, frame = getattr(_here, "asking", None), inspect.currentframe()
    while asking is not None and frame is not None:
        layer = frame.f_locals.get("self")
        if isinstance(layer, keras.Layer):
            asking.add(id(layer))
            return
        frame = frame.f_back


@functools.cache
def _install() -> None:
    """Let Keras ask for the share that is computed now; outside of shared steps everything is as before."""
    keras_loss.reduce_weighted_values = _corrected(keras_loss.reduce_weighted_values)
    compile_utils.loss_module = _with_own_mean(keras_loss)
    for kind in (BaseOptimizer, LossScaleOptimizer):
        kind.apply = _summing(kind.apply)
    tf.distribute.ReplicaContext.all_reduce = _all_reducing(tf.distribute.ReplicaContext.all_reduce)


def _corrected(reduce: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reduce)
    def corrected(
        values: Any,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> Any:
        loss = reduce(values, sample_weight, mask, reduction, dtype)
        share = current()
        if share is None or reduction in (None, "none") or values.shape.rank == 0:
            return loss
        if reduction == "sum":
            return share.loss(loss, None)
        if reduction == "mean_with_sample_weight" and (sample_weight is not None or mask is not None):
            weights = keras_loss.apply_mask(
                None if sample_weight is None else keras.ops.convert_to_tensor(sample_weight, dtype=loss.dtype),
                None if mask is None else keras.ops.convert_to_tensor(mask, dtype=loss.dtype),
                dtype=loss.dtype,
                reduction=reduction,
            )
            return share.loss(loss, _broadcast_sum(weights, values))
        return loss if mask is None else share.loss(loss, tf.reduce_sum(tf.cast(mask, loss.dtype)))

    return corrected


def _broadcast_sum(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Return what Keras divides by: the sum of the weights, once they have the rank of the values."""
    _, weights = keras_loss.squeeze_or_expand_to_same_rank(values, weights)
    return tf.reduce_sum(weights)


def _with_own_mean(module: types.ModuleType) -> types.ModuleType:
    """Return the module by which `compile` reports the loss of each output: as a mean over batches, not over rows."""
    other = types.ModuleType(module.__name__)
    vars(other).update(vars(module))

    def unscale_loss_for_distribution(value: Any) -> Any:
        share = current()
        return module.unscale_loss_for_distribution(value) if share is None else share.of_batch(value)

    vars(other)["unscale_loss_for_distribution"] = unscale_loss_for_distribution
    return other


def _summing(apply: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(apply)
    def summing(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        share = current()
        if share is None:
            return apply(self, grads, trainable_variables)
        with share.summing_once() as is_outermost:
            grads = share.mean(list(grads)) if is_outermost else grads
            return apply(self, grads, trainable_variables)

    return summing


def _all_reducing(all_reduce: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(all_reduce)
    def all_reducing(self: Any, reduce_op: Any, value: Any, options: Any = None) -> Any:
        share = current()
        if share is None:
            _note_asking()
        if share is None or share.is_summed:  # within its update, an optimizer would sum once more
            return all_reduce(self, reduce_op, value, options)
        flat = [tf.convert_to_tensor(each) for each in tf.nest.flatten(value)]
        sums = share.sum(flat)
        if "MEAN" in str(reduce_op).upper():
            sums = [each / tf.cast(share.num_replicas, each.dtype) for each in sums]
        return tf.nest.pack_sequence_as(value, sums)

    return all_reducing
