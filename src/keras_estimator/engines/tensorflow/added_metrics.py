"""Metrics that functions of the user compute in an evaluation, beside those of the model (`add_metrics`).

A function is called in Python to be traced, once for each kind of batch; the graph runs in the loop after the model's
step, and never within what XLA compiles. A function that needs values (it calls NumPy, or asks for `.numpy()`) is
called in Python after each batch instead, and the log says why. In both cases the `keras.metrics.Metric`s that it
makes anew in each call share the variables of those of the first call, so that they go on from batch to batch.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_estimator.arguments import MetricFunction
from keras_estimator.engines.engine import Stride
from keras_estimator.engines.tensorflow.loops import EVERYTHING, CompiledLoop, as_floats
from keras_estimator.engines.tensorflow.parts import AnyFeed
from keras_estimator.engines.tensorflow.xla import obstacle_in, obstacle_in_batches
from keras_estimator.engines.tensorflow.xla_draws import drawing_alike
from keras_estimator.errors import ConfigError
from keras_estimator.model import numpy_calls
from keras_estimator.model.keras_private import storage_of
from keras_estimator.model.user_lines import in_one_line

_LOG = logging.getLogger("keras_estimator")
_VARIABLE: Any = type(tf.Variable(0.0))  # what tf.Variable(...) makes, without asking who wants to know of it
_Step = Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]  # a batch to the model's metrics, and its outputs


class MeasuringLoop:
    """The loop of an evaluation that measures more than the model does.

    Args:
        step: Takes a batch; returns the metrics of the model, and its outputs, both by name.
        functions: What measures.
        config: The RunConfig, for functions that ask for it.
        plan: As of the engine (see plans.py); "stacked" is as "graph", as the functions see each batch.

    Attributes:
        graph: The model's part of what was traced last; None if nothing is traced.
        graphs: All that runs, if all of it is known.
    """

    def __init__(self, step: _Step, functions: Sequence[MetricFunction], config: Any, *, plan: str) -> None:
        self._step = step
        self._plan = plan
        is_jit = plan == "step"
        self._traced = tf.function(drawing_alike(step) if is_jit else step, autograph=False, jit_compile=is_jit or None)
        self._added = _AddedMetrics(functions, config)
        self._loops: dict[tuple[type, str], Callable[[AnyFeed, int | None], Stride]] = {}
        self.graph: Any = None
        self.graphs: list[Any] = []

    def obstacle(self, feed: AnyFeed) -> str:
        """Say what keeps the step of the model from XLA; empty if nothing does, or it is not asked."""
        if self._plan != "step" or (type(feed), repr(feed.spec)) in self._loops:
            return ""
        return obstacle_in_batches(feed.spec) or obstacle_in(self._traced.get_concrete_function(feed.spec).graph)

    def prepare(self, feed: AnyFeed) -> bool:
        """Trace the loop for batches like those of `feed`; say whether that was still to do. Runs nothing."""
        key = (type(feed), repr(feed.spec))
        if key in self._loops:
            return False
        if self._plan == "eager":
            self._loops[key] = _PythonLoop(self._step, self._added)
            return False
        step = self._traced.get_concrete_function(feed.spec)
        logs, outputs = step.structured_outputs
        update = self._added.traced(feed.spec, tf.nest.map_structure(_spec_of, outputs), logs)
        self.graph, self.graphs = step.graph, []
        if update is None:
            self._loops[key] = _PythonLoop(step, self._added)
            return True

        def step_and_update(batch: Any) -> dict[str, Any]:
            logs, outputs = step(batch)
            update(batch, outputs)
            return dict(logs)

        self._loops[key] = loop = CompiledLoop(step_and_update, jit=False, guards_loss=False)
        self.graphs = [step.graph, update.graph]
        return loop.prepare(feed)

    def __call__(self, feed: AnyFeed, steps: int | None) -> Stride:
        """Run at most `steps` steps (None: until the data end); the metrics returned are the model's."""
        return self._loops[type(feed), repr(feed.spec)](feed, steps)

    def reset(self) -> None:
        """Begin an evaluation."""
        self._added.reset()

    def results(self) -> dict[str, Any]:
        """Return what the functions have measured since `reset`, as Python floats (arrays where it is one)."""
        return self._added.results()


class Witness:
    """Stands for a model in the `test_step` of Keras, and keeps what the model answers there.

    Args:
        model: The model; all but the call is its own.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.answer: Any = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return what the model answers."""
        self.answer = self._model(*args, **options)
        return self.answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class _PythonLoop:
    """The loop in Python, for functions that need values, and for models that run eagerly."""

    def __init__(self, step: _Step, added: _AddedMetrics) -> None:
        self._step = step
        self._added = added

    def __call__(self, feed: AnyFeed, steps: int | None) -> Stride:
        limit = feed.limit(EVERYTHING if steps is None else steps)
        logs: dict[str, Any] = {}
        made = 0
        for batch in itertools.islice(feed, limit):
            with numpy_calls.eager_too():
                logs, outputs = self._step(batch)
            self._added.update(batch, outputs, logs)
            made += 1
        return Stride(made, feed.advance(made) or made < limit, is_finite=True, metrics=as_floats(logs))


class _AddedMetrics:
    """What some functions measure, over the batches of an evaluation."""

    def __init__(self, functions: Sequence[MetricFunction], config: Any) -> None:
        self._functions = [(function, _Variables()) for function in functions]
        self._config = config
        self._metrics: dict[str, keras.metrics.Metric] = {}
        self._means: dict[str, keras.metrics.Mean] = {}

    def traced(self, batch: Any, outputs: Any, own: Collection[str]) -> Any:
        """Return `update` as a graph for batches and outputs of these specs; None if a function needs values."""
        traced = tf.function(lambda batch, outputs: self._update(batch, outputs, own), autograph=False)
        try:
            return traced.get_concrete_function(batch, outputs)
        except _NeedsValuesError as error:
            _LOG.info("%s", error)
            return None

    def update(self, batch: Any, outputs: Mapping[str, Any], own: Collection[str]) -> None:
        """Add a batch."""
        if not self._metrics:
            self._update(batch, outputs, own)  # a metric made outside of the function shows itself, and begins anew
            self.reset()
        self._update(batch, outputs, own)

    def reset(self) -> None:
        for metric in self._metrics.values():
            metric.reset_state()

    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, metric in self._metrics.items():
            result = metric.result()
            several = isinstance(result, Mapping)
            found |= {f"{name}_{part}": value for part, value in result.items()} if several else {name: result}
        return as_floats(found)

    def _update(self, batch: Any, outputs: Mapping[str, Any], own: Collection[str]) -> None:
        parts = batch if isinstance(batch, tuple | list) else (batch,)
        features, labels, weights = (*parts, None, None)[:3]
        given = {"features": features, "labels": labels, "predictions": dict(outputs), "sample_weight": weights}
        rows = next(leaf for leaf in tf.nest.flatten(features) if leaf is not None)
        taken = dict.fromkeys((*own, "loss", "global_step"), "the model")
        for function, variables in self._functions:
            with variables.those_of_the_first_call():
                found = _called(function, {**given, "config": self._config})
            _check(function, found, taken, variables)
            for name, value in found.items():
                self._metrics[name] = value if _is_metric(value) else self._averaged(function, name, value, rows)
                taken[name] = f"the function `{function.name}`"

    def _averaged(self, function: MetricFunction, name: str, value: Any, rows: Any) -> keras.metrics.Mean:
        """Add the value of a batch, or of each of its examples, to their mean over the examples."""
        values = _as_numbers(function, name, value)
        if name not in self._means:
            with tf.init_scope():
                self._means[name] = keras.metrics.Mean(name=name)
        if values.shape.rank == 0:
            self._means[name].update_state(values, sample_weight=tf.shape(rows)[0])
        elif values.shape[:1].is_compatible_with(rows.shape[:1]) and (values.shape[0] is None) == (
            rows.shape[0] is None
        ):
            self._means[name].update_state(values)
        else:
            raise _error(
                function,
                f"`{name}` of shape {tuple(values.shape)} for a batch of shape {tuple(rows.shape)}",
                "one number for the batch, or one for each example",
                f'return {{"{name}": keras.ops.mean(value)}}, or a keras.metrics.Metric',
            )
        return self._means[name]


class _Variables:
    """The variables that a function makes in its first call, given again in later ones in the order of their making."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Any, Any], Any] = {}
        self.given: list[Any] = []

    @contextlib.contextmanager
    def those_of_the_first_call(self) -> Iterator[None]:
        self.given = []
        with tf.variable_creator_scope(self._give):
            yield

    def _give(self, make: Callable[..., Any], **options: Any) -> Any:
        del make  # it would tell the function that is traced, which would be traced again because of it
        with tf.init_scope():
            value = options["initial_value"]
            value = tf.convert_to_tensor(value() if callable(value) else value, options.get("dtype"))
            key = (len(self.given), tuple(value.shape), value.dtype)
            if key not in self._made:
                self._made[key] = _VARIABLE(value, trainable=False, name=options.get("name"))
        self.given.append(self._made[key])
        return self._made[key]


class _NeedsValuesError(Exception):
    """A function cannot be traced."""


def _called(function: MetricFunction, given: Mapping[str, Any]) -> Any:
    if tf.executing_eagerly():
        return function(**given)
    try:
        return function(**given)
    except Exception as error:
        why = f"{type(error).__name__}: {in_one_line(error)}"
        text = f"the metric function `{function.name}` runs in Python after each batch, as it cannot be traced ({why})"
        raise _NeedsValuesError(text) from error


def _is_metric(value: Any) -> bool:
    return isinstance(value, keras.metrics.Metric)


def _check(function: MetricFunction, found: Any, taken: Mapping[str, str], variables: _Variables) -> None:
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise _error(
            function,
            f"{type(found).__name__}: {found!r}"[:200],
            "a dict by name of keras.metrics.Metric, or of tensors",
            'return {"auc": metric}, after metric.update_state(labels, predictions["output"])',
        )
    for name in found:
        if name in taken:
            raise _error(
                function,
                f"`{name}`, which {taken[name]} measures, too",
                f"names other than {', '.join(taken)}",
                f'return {{"other_{name}": ...}}',
            )
    held = {id(storage_of(each)) for value in found.values() if _is_metric(value) for each in value.variables}
    stray = [variable for variable in variables.given if id(variable) not in held]
    values = [name for name, value in found.items() if not _is_metric(value)]
    if stray and values:
        raise _error(
            function,
            f"{', '.join(values)}: no metrics, while the function makes the variable `{stray[0].name}`",
            "the metric itself, whose result is asked for when all batches were seen",
            'metric.update_state(labels, predictions["output"]); return {"auc": metric}',
        )


def _as_numbers(function: MetricFunction, name: str, value: Any) -> Any:
    try:
        values = None if isinstance(value, tuple | list) else tf.convert_to_tensor(value)
    except (ValueError, TypeError):
        values = None
    if values is None or not (values.dtype.is_floating or values.dtype.is_integer or values.dtype.is_bool):
        raise _error(
            function,
            f"`{name}`: {type(value).__name__}",
            "keras.metrics.Metric, or a tensor of real numbers (no pair of a value and an update, as in TensorFlow 1)",
            f'metric.update_state(...); return {{"{name}": metric}}',
        )
    return tf.cast(values, keras.config.floatx())


def _error(function: MetricFunction, found: str, expected: str, fix: str) -> ConfigError:
    text = f"what the metric function `{function.name}` returned cannot be reported"
    return ConfigError(text, found=found, expected=expected, fix=fix)


def _spec_of(part: Any) -> Any:
    return tf.type_spec_from_value(part)
