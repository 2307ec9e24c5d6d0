"""One replica of this process: its model, which variables it changes by itself, and what it says of a stride."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import Stride
from keras_estimator.engines.tensorflow.loops import as_floats, named_tensors, of_replica
from keras_estimator.engines.tensorflow.shared_steps import SEEN, WEIGHT, Share
from keras_estimator.engines.tensorflow.state import ModelState, is_metric
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.keras_private import storage_of

Variables = dict[str, tf.Variable]


class Member(NamedTuple):
    """The model of one device of this process."""

    model: Any
    state: ModelState

    @property
    def metric_variables(self) -> list[tf.Variable]:
        """What its metrics count."""
        return [storage_of(variable) for variable in self.model.metrics_variables]

    def own_and_equal(self) -> tuple[Variables, Variables]:
        """Return the variables that a replica changes by itself, and those that stay equal in all; by path."""
        seeds, metrics = self.state.seeds(), {id(variable) for variable in self.metric_variables}
        updated = {id(storage_of(variable)) for variable in self.model.trainable_variables}
        for held in holdings(self.model):
            if isinstance(held.owner, keras.optimizers.Optimizer):
                updated.add(id(held.variable if held.is_raw else storage_of(held.variable)))
        own: Variables = {}
        equal: Variables = {}
        for path, variable in self.state.variables().items():
            if id(variable) in seeds | metrics or is_metric(path) or variable.dtype == tf.string:
                continue
            (equal if id(variable) in updated else own)[path] = variable
        return own, equal


def of_share(step: Callable[[Any, Any], Any], member: Member, share: Share) -> dict[str, Any]:
    """Compute the rows of one replica; metrics stay as they are where it has none."""
    before = [(variable, variable.read_value()) for variable in member.metric_variables]
    with share.used():
        metrics = named_tensors(lambda rows: step(member.model, rows))(share.rows)
    for variable, value in before:
        variable.assign(tf.where(share.is_empty, value, variable))
    return {**metrics, **share.marks}


def metrics_of(metrics: Mapping[str, Any], place: int, size: int) -> dict[str, Any]:
    """Return what the step of one replica has returned, by the names it gave."""
    others = tuple(of_replica("", other) for other in range(1, size))
    if not place:
        return {name: value for name, value in metrics.items() if not (others and name.startswith(others))}
    prefix = of_replica("", place)
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


def parts_of(
    member: Member, logs: dict[str, Any], states: list[np.ndarray[Any, Any]], stride: Stride
) -> list[np.ndarray[Any, Any]]:
    """Return what one replica says of a stride: marks, which metrics are of the model, their values, their sums."""
    seen, weight = (np.nan_to_num(float(logs.pop(name, 0.0))) for name in (SEEN, WEIGHT))
    own = as_floats(member.model.get_metrics_result())
    are_of_model = [
        not weight or (name in own and np.array_equal(own[name], value, equal_nan=True)) for name, value in logs.items()
    ]
    marks = [stride.steps, stride.ended, seen, stride.is_finite, weight]
    return [np.array(marks), np.array(are_of_model), flattened(logs.values()), flattened(states)]


def flattened(arrays: Any) -> np.ndarray[Any, Any]:
    """Return the numbers of all arrays in a row, as float64."""
    return np.concatenate([np.zeros(0), *(np.ravel(np.asarray(array)).astype(np.float64) for array in arrays)])


def shaped_like(flat: np.ndarray[Any, Any], like: list[Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield numbers in a row as arrays of the shapes and dtypes of others."""
    place = 0
    for each in map(np.asarray, like):
        yield flat[place : place + each.size].reshape(each.shape).astype(each.dtype)
        place += each.size


def put(variables: Iterable[tf.Variable], flat: np.ndarray[Any, Any]) -> None:
    """Give variables the numbers in a row."""
    given = list(variables)
    for variable, value in zip(given, shaped_like(flat, [each.numpy() for each in given]), strict=True):
        variable.assign(value)
