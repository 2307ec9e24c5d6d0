"""Metrics that functions of the user compute in an evaluation, beside those of the model (`add_metrics`).

A function is called in Python once for each kind of batch, to be traced; the `keras.metrics.Metric`s that it makes
then go on from batch to batch. A value that is no such metric is averaged over the examples.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_estimator.errors import ConfigError
from keras_estimator.model.keras_private import answer

_MARK = "@added/"  # no metric of a model is called so
# Made by its class, a variable is not seen by the function that is traced, which would be traced again because of it.
_VARIABLE: Any = type(tf.Variable(0.0))
_OPTIONS = ("initial_value", "trainable", "name", "dtype", "shape", "synchronization", "aggregation")


class AddedMetrics:
    """What some functions measure, over the batches of an evaluation.

    Args:
        functions: Each takes some of `features`, `labels`, `predictions`, `sample_weight` and `config` by name,
            and returns metrics or tensors by name.
        config: The RunConfig.

    Attributes:
        functions: They.
        variables: What holds the values so far; no part of the model.
    """

    def __init__(self, functions: Sequence[Callable[..., Mapping[str, Any]]], config: Any) -> None:
        self.functions = functions
        self._config = config
        self._traced: dict[str, Any] = {}
        self._metrics: list[keras.metrics.Metric] = []
        self.variables: list[tf.Variable] = []

    def update(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Add a batch; return what was measured so far, by names that `taken_out` finds.

        Args:
            parts: `features`, `labels`, `predictions` and `sample_weight`; None for what there is not.
        """
        parts = dict(parts)
        specs = tf.nest.map_structure(_spec_of, parts)
        key = repr(specs)
        if key not in self._traced:
            with tf.init_scope():
                self._traced[key] = tf.function(self._measure, autograph=False).get_concrete_function(specs)
        flat = [part for part in tf.nest.flatten(parts, expand_composites=True) if part is not None]
        measured: dict[str, Any] = self._traced[key](*flat)
        return {_MARK + name: value for name, value in measured.items()}

    def reset(self) -> None:
        """Begin an evaluation."""
        for metric in self._metrics:
            metric.reset_state()

    def _measure(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        given = {**parts, "config": self._config}
        for function in self.functions:
            with tf.variable_creator_scope(self._made_at_once):
                wanted = inspect.signature(function).parameters
                returned = function(**{name: value for name, value in given.items() if name in wanted})
                for name, value in _checked(function, returned).items():
                    metric = value if isinstance(value, keras.metrics.Metric) else _mean(name, value, parts)
                    self._metrics.append(metric)
                    found[name] = metric.result()
        return found

    def _made_at_once(self, make: Callable[..., Any], **options: Any) -> Any:
        """Make a variable outside of the graph, unless its first value comes from there."""
        if tf.is_symbolic_tensor(options["initial_value"]):
            return make(**options)
        with tf.init_scope():
            variable = _VARIABLE(**{name: options[name] for name in _OPTIONS if options.get(name) is not None})
        self.variables.append(variable)
        return variable


@contextlib.contextmanager
def predictions_of(model: Any, x: Any) -> Iterator[Callable[[], Any]]:
    """Give a function that returns what the model has answered to `x` in its own `test_step`, called within.

    Keras hands the answer to `compute_metrics`. A step of the user's need not; then the model is asked again.
    """
    seen: list[Any] = []
    own, given = vars(model), vars(model).get("compute_metrics")
    compute_metrics = model.compute_metrics

    def watched(x: Any, y: Any, y_pred: Any, *args: Any, **options: Any) -> Any:
        seen.append(y_pred)
        return compute_metrics(x, y, y_pred, *args, **options)

    own["compute_metrics"] = watched
    try:
        yield lambda: seen[-1] if seen else answer(model, x, training=False)
    finally:
        del own["compute_metrics"]
        if given is not None:
            own["compute_metrics"] = given


def taken_out(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metrics of the model, and those that functions have added, by their own names."""
    own = {name: value for name, value in metrics.items() if not name.startswith(_MARK)}
    return own, {name.removeprefix(_MARK): value for name, value in metrics.items() if name not in own}


def _spec_of(part: Any) -> Any:
    """Return the spec of any batch like this one, whatever its size."""
    if part is None:
        return None
    if isinstance(part, tf.Tensor) and part.shape.rank:
        return tf.TensorSpec([None, *part.shape[1:]], part.dtype)
    return tf.type_spec_from_value(part)


def _mean(name: str, value: Any, parts: Mapping[str, Any]) -> keras.metrics.Metric:
    metric, values = keras.metrics.Mean(name=name), tf.convert_to_tensor(value)
    if values.shape.rank == 0:
        first = next(part for part in tf.nest.flatten([parts["predictions"], parts["features"]]) if part is not None)
        metric.update_state(values, sample_weight=tf.shape(first)[0])  # it speaks for that many examples
    else:
        metric.update_state(values)
    return metric


def _checked(function: Callable[..., Any], returned: Any) -> Mapping[str, Any]:
    name = getattr(function, "__name__", type(function).__name__)
    if not isinstance(returned, Mapping) or not all(isinstance(key, str) for key in returned):
        raise ConfigError(
            f"the metric function `{name}` returned no metrics by name",
            found=f"{type(returned).__name__}",
            expected="a dict of keras.metrics.Metric, or of tensors",
            fix='return {"auc": metric}, after metric.update_state(labels, predictions["output"])',
        )
    taken = {"loss", "global_step"} & set(returned)
    if taken:
        raise ConfigError(
            f"the metric function `{name}` gives a name that means something else",
            found=", ".join(sorted(taken)),
            expected="names other than loss and global_step",
            fix=f'return {{"my_{min(taken)}": ...}}',
        )
    return returned
