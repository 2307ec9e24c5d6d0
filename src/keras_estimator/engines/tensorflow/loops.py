"""The compiled loops: many steps in one call, with one trace for any number of steps.

    while step < limit and there is a batch and the loss is finite:
        metrics = model.train_step(batch); meanwhile, get the next batch

The number of steps is a tensor, so one graph serves every stride. A batch is an optional that tells
whether there is one before a step begins: an iterator that runs out in the middle of a step would
leave those updates done that do not depend on the batch. Nothing is read beyond the limit.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import Stride
from keras_estimator.engines.tensorflow.parts import AnyFeed
from keras_estimator.engines.tensorflow.xla import obstacle_in, obstacle_in_batches
from keras_estimator.engines.tensorflow.xla_draws import drawing_alike
from keras_estimator.errors import ModelError
from keras_estimator.model import numpy_calls

EVERYTHING = 2**62
_LOSS = re.compile(r"(@\d+/)?loss")  # of any replica (`of_replica`)


class TracedLoops:
    """What was traced, once for each kind of batch.

    Args:
        trace: Takes the kind of a feed and the spec of its data; returns the loop.
    """

    def __init__(self, trace: Callable[[Any, Any], Any]) -> None:
        self._trace = trace
        self._loops: dict[tuple[Any, str], Any] = {}

    def has(self, feed: AnyFeed) -> bool:
        """Tell whether there is a loop for batches like those of `feed`."""
        return (feed.kind, repr(feed.spec)) in self._loops

    def of(self, feed: AnyFeed) -> Any:
        """Return the loop for batches like those of `feed`."""
        return self._loops[feed.kind, repr(feed.spec)]

    def prepare(self, feed: AnyFeed) -> bool:
        """Trace the loop for batches like those of `feed`; say whether that was still to do."""
        if self.has(feed):
            return False
        self._loops[feed.kind, repr(feed.spec)] = self._trace(feed.kind, feed.spec)
        return True


class CompiledLoop:
    """One step of a model around which loops are compiled, one for each kind of batch.

    Args:
        step: Takes a batch, returns metrics by name; it is the only thing that runs in the loop.
        jit: Whether the step (not the loop) is compiled by XLA.
        guards_loss: Whether the loop ends after a step whose `loss` is not finite.
    """

    def __init__(self, step: Callable[[Any], Any], *, jit: bool, guards_loss: bool) -> None:
        named = named_tensors(step)
        self._step = tf.function(drawing_alike(named) if jit else named, jit_compile=jit or None, autograph=False)
        self._guards_loss = guards_loss
        self._loops = TracedLoops(self._compile)
        self.graph: Any = None

    @property
    def graphs(self) -> list[Any]:
        """All that runs, if all of it is known."""
        return [] if self.graph is None else [self.graph]

    def obstacle(self, feed: AnyFeed) -> str:
        """Say what keeps the step, or batches like those of `feed`, from XLA; empty if nothing does."""
        if self._loops.has(feed):
            return ""  # it was looked at before it was traced
        spec = feed.kind.batch_spec(feed.spec)
        return obstacle_in_batches(spec) or obstacle_in(self._step.get_concrete_function(spec).graph)

    def prepare(self, feed: AnyFeed) -> bool:
        """Trace the loop for batches like those of `feed`; say whether that was still to do. Runs nothing."""
        return self._loops.prepare(feed)

    def __call__(self, feed: AnyFeed, steps: int | None) -> Stride:
        """Run at most `steps` steps (None: until the data end)."""
        loop = self._loops.of(feed)
        limit = feed.limit(EVERYTHING if steps is None else steps)
        made, ended, is_finite, metrics, batch = loop(*feed.arguments(), np.int64(limit))
        made = int(made)
        unused = () if is_finite or not batch.has_value() else (batch,)
        ended = feed.advance(made, unused) or bool(ended)
        return Stride(made, ended, bool(is_finite), as_floats(metrics) if made else {})

    def _compile(self, kind: Any, data_spec: Any) -> Any:
        spec = kind.batch_spec(data_spec)
        step = self._step.get_concrete_function(spec)
        self.graph = step.graph
        first = tf.nest.map_structure(no_metric, step.structured_outputs)
        shapes = tf.nest.map_structure(lambda t: t.shape, step.structured_outputs)

        nothing = tf.OptionalSpec(spec)

        def loop(arguments: Any, limit: tf.Tensor) -> Any:
            def goes_on(index: Any, is_finite: Any, metrics: Any, batch: Any) -> Any:
                del metrics
                return (index < limit) & is_finite & batch.has_value()

            def body(index: Any, is_finite: Any, metrics: Any, batch: Any) -> Any:
                del is_finite, metrics
                new, index = self._step(batch.get_value()), index + 1
                ahead = tf.cond(
                    index < limit, lambda: kind.next(arguments, index), lambda: tf.experimental.Optional.empty(spec)
                )
                return index, self._is_finite(new), new, ahead

            start = (tf.constant(0, tf.int64), tf.constant(value=True), first, kind.first(arguments))
            scalar = tf.TensorShape(())
            invariants = (scalar, scalar, shapes, nothing)
            made, is_finite, metrics, batch = tf.while_loop(
                goes_on, body, start, shape_invariants=invariants, parallel_iterations=1
            )
            return made, (made < limit) & is_finite, is_finite, metrics, batch

        traced = tf.function(lambda *given: loop(given[:-1], given[-1]), autograph=False)
        return traced.get_concrete_function(*kind.arguments_spec(data_spec), tf.TensorSpec((), tf.int64))

    def _is_finite(self, metrics: dict[str, tf.Tensor]) -> tf.Tensor:
        return is_finite(metrics) if self._guards_loss else tf.constant(value=True)


class EagerLoop:
    """The same loop in Python, for models that run eagerly (`compile(run_eagerly=True)`)."""

    graph = None
    graphs: tuple[Any, ...] = ()

    def __init__(self, step: Callable[[Any], Any], *, guards_loss: bool) -> None:
        self._step = named_tensors(step)
        self._guards_loss = guards_loss

    def obstacle(self, feed: AnyFeed) -> str:
        """Return nothing: XLA is not asked."""
        return ""

    def prepare(self, feed: AnyFeed) -> bool:
        """Return False: nothing is traced."""
        return False

    def __call__(self, feed: AnyFeed, steps: int | None) -> Stride:
        """Run at most `steps` steps (None: until the data end)."""
        limit = feed.limit(EVERYTHING if steps is None else steps)
        made, metrics, is_finite = 0, {}, True
        for batch in itertools.islice(feed, limit):
            with numpy_calls.eager_too():  # a tape would end at NumPy without a word
                metrics = as_floats(self._step(batch))
            made += 1
            losses = [metrics[name] for name in metrics if _LOSS.fullmatch(name) and self._guards_loss]
            is_finite = all(bool(np.all(np.isfinite(loss))) for loss in losses)
            if not is_finite:
                break
        ran_out = made < limit and is_finite
        return Stride(made, feed.advance(made) or ran_out, is_finite, metrics)


def named_tensors(step: Callable[[Any], Any]) -> Callable[[Any], dict[str, tf.Tensor]]:
    """Return a step of a model whose metrics are tensors by name.

    Raises:
        ModelError: a step returns no metrics by name.
    """

    def named(batch: Any) -> dict[str, tf.Tensor]:
        logs = step(batch)
        if not isinstance(logs, dict):
            raise ModelError(
                "a step of the model returned no metrics by name",
                found=f"{type(logs).__name__} from train_step or test_step",
                expected='a dict such as {"loss": loss}',
                fix="end the step with `return self.compute_metrics(x, y, y_pred)` or a dict of your own",
            )
        return {name: tf.convert_to_tensor(value) for name, value in logs.items() if value is not None}

    return named


def of_replica(name: str, place: int) -> str:
    """Return the name under which a shared step returns a metric of one replica of this process."""
    return f"@{place}/{name}" if place else name


def as_floats(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return metrics as Python floats; those with several values stay arrays."""
    arrays = {name: np.asarray(value) for name, value in metrics.items()}
    return {name: float(array.item()) if array.size == 1 else array for name, array in arrays.items()}


def no_metric(like: tf.Tensor) -> tf.Tensor:
    """Return what stands for a metric before the first step, in a graph."""
    return tf.zeros([size or 0 for size in like.shape.as_list()] if like.shape.rank is not None else [], like.dtype)


def is_finite(metrics: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Return whether the losses among the metrics of a step are finite, in a graph."""
    losses = [metrics[name] for name in metrics if _LOSS.fullmatch(name)]
    are_finite = [tf.math.is_finite(loss) for loss in losses if loss.dtype.is_floating]
    each = [one if one.shape.rank == 0 else tf.reduce_all(one) for one in are_finite]
    return functools.reduce(tf.logical_and, each) if each else tf.constant(value=True)
