"""A copy of a model whose variables are on parameter servers, and the function by which workers train it.

What two workers would spoil for each other does not go to the servers. Sums of metrics, seeds, and whole numbers such
as counts of steps are variables of the one call that updates them: it gets their values, and gives back what it has
made of them. So each step is counted once, whoever had to compute it again, and no two steps drop out the same.

    chief ── batches, counts, seeds ─▶ worker: while there is a batch: train_step ◀── weights ── ps
      ◀──── counts, sums of metrics ────────────────┘        └── updates ─▶ ps

The private part of TensorFlow used here is the handle of a variable, which is another one while the function is
traced; tests/test_served_model.py fails when that changes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context as eager_context

from keras_estimator.engines.tensorflow.loops import is_finite, named_tensors, no_metric
from keras_estimator.engines.tensorflow.state import ModelState, is_metric
from keras_estimator.errors import ModelError
from keras_estimator.model.blueprint import Blueprint
from keras_estimator.model.computation.graph_hash import CALLS_OF_PYTHON, nodes_of
from keras_estimator.model.keras_private import storage_of

_MOST_COUNTS = 16  # a larger variable of whole numbers is a table, and stays on a server


class Outcome(NamedTuple):
    """What a call of the function gives back.

    Attributes:
        carried: The values of the carried variables at its end.
        logs: What the last step returned.
        results: What the metrics of the model say of the batches of this call.
        is_finite: Whether the losses of all its steps were finite.
    """

    carried: list[Any]
    logs: dict[str, Any]
    results: dict[str, Any]
    is_finite: Any


class ServedModel:
    """A model on the chief, and its copy on the parameter servers.

    Args:
        model: Built for training, with all variables.
        devices: Those of the parameter servers.

    Attributes:
        carried: By path, the variables of the model on the chief that each call has its own of.
        seeds: The paths of those that random numbers are drawn with.
        reset_values: By path, the values from which metrics begin to measure.

    Raises:
        BlueprintError: there can be no copy of the model.
        ModelError: the copy has other variables.
    """

    def __init__(self, model: Any, devices: Sequence[str]) -> None:
        self._copy = _copy(model, devices)
        state = ModelState(model)
        here, there = state.variables(), ModelState(self._copy).variables()
        if here.keys() != there.keys():
            raise ModelError(
                "a copy of the model on parameter servers has other variables",
                found=", ".join(sorted(here.keys() ^ there.keys())[:6]),
                expected="variables that attributes of the model and its layers lead to",
                fix="hold them as attributes of layers; or train without parameter servers",
            )
        metrics = {id(storage_of(variable)) for variable in model.metrics_variables}
        seeds = state.seeds()
        self.carried = {
            path: variable
            for path, variable in here.items()
            if is_metric(path) or id(variable) in metrics or _is_count(variable)
        }
        self._metrics = {path: v for path, v in self.carried.items() if is_metric(path) or id(v) in metrics}
        self.seeds = {path for path, variable in self.carried.items() if id(variable) in seeds}
        # A variable that no copy is made of, as a class or a global holds it, stays where it is.
        self._held = {p: (v, there[p]) for p, v in here.items() if p not in self.carried and v is not there[p]}
        self._there = [there[path] for path in self.carried]
        self.reset_values = self._reset_values(model)
        self._read = tf.function(self._values_there, autograph=False).get_concrete_function()
        self._differ = tf.function(self._differences, autograph=False)
        self._known = self._values_here()

    def _reset_values(self, model: Any) -> dict[str, np.ndarray[Any, Any]]:
        before = {path: variable.numpy() for path, variable in self._metrics.items()}
        model.reset_metrics()
        values = {path: variable.numpy() for path, variable in self._metrics.items()}
        for path, variable in self._metrics.items():
            variable.assign(before[path])
        return values

    def push(self) -> None:
        """Give the copy what the model on the chief was given since `pull`, by a hook or from a checkpoint."""
        differ = np.asarray(self._differ(self._known) if self._held else [], bool)
        for (here, there), changed in zip(self._held.values(), differ, strict=True):
            if changed:
                there.assign(here.read_value())
        if np.any(differ):
            self._known = self._values_here()

    def pull(self) -> None:
        """Give the model on the chief the values that the copy has."""
        for (here, _), value in zip(self._held.values(), self._read(), strict=True):
            here.assign(value)
        self._known = self._values_here()

    def _values_here(self) -> list[tf.Tensor]:
        return [here.read_value() for here, _ in self._held.values()]

    def _values_there(self) -> list[tf.Tensor]:
        values = []
        for here, there in self._held.values():
            value = there.read_value()
            with tf.device(here.device):
                values.append(tf.identity(value))
        return values

    def _differences(self, known: list[tf.Tensor]) -> tf.Tensor:
        pairs = zip(self._held.values(), known, strict=True)
        return tf.stack([tf.reduce_any(tf.not_equal(here, value)) for (here, _), value in pairs])

    def trace(self, step: Callable[[Any, Any], Any], spec: Any) -> Any:
        """Return the function that makes the steps of some batches, as a concrete one; nothing runs.

        It takes `arguments_of(batches)` and the values of the carried variables, and returns an `Outcome`.

        Args:
            step: Takes a model and a batch.
            spec: One batch as a nest of `tf.TypeSpec`.

        Raises:
            ModelError: the model calls Python in each step, or holds a variable that nothing leads to.
        """
        of_values = [tf.TensorSpec(there.shape, there.dtype) for there in self._there]

        def steps(batches: Any, values: list[tf.Tensor]) -> Outcome:
            compiled = tf.function(named_tensors(lambda batch: step(self._copy, batch)), autograph=False)
            with self._own_values(values) as read:
                logs, are_finite = _each(compiled, batches, spec)
                results = named_tensors(lambda _: self._copy.get_metrics_result())(None)
                with tf.control_dependencies([*logs.values(), *results.values()]):
                    return Outcome(read(), logs, results, are_finite)

        # Without a scope of the strategy: the steps of Keras then find no strategy either.
        traced = tf.function(steps, autograph=False).get_concrete_function(_spec_of_batches(spec), of_values)
        self._check(traced)
        return traced

    @contextlib.contextmanager
    def _own_values(self, values: list[tf.Tensor]) -> Iterator[Callable[[], list[tf.Tensor]]]:
        """Let the carried variables of the copy be variables of the graph that is traced; yield what reads them."""
        before = [there._handle for there in self._there]  # noqa: SLF001 - the step has to find the variable it knows
        handles = []
        for there, value in zip(self._there, values, strict=True):
            name = eager_context.anonymous_name()
            handle = tf.raw_ops.VarHandleOp(dtype=there.dtype, shape=there.shape, container="", shared_name=name)
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)
            there._handle = handle  # noqa: SLF001 - see above
            handles.append(handle)

        def read() -> list[tf.Tensor]:
            dtypes = [there.dtype for there in self._there]
            read = [tf.raw_ops.ReadVariableOp(resource=h, dtype=d) for h, d in zip(handles, dtypes, strict=True)]
            with tf.control_dependencies(read):
                for handle in handles:
                    tf.raw_ops.DestroyResourceOp(resource=handle)
            return read

        try:
            yield read
        finally:
            for there, handle in zip(self._there, before, strict=True):
                there._handle = handle  # noqa: SLF001 - see above

    def _check(self, traced: Any) -> None:
        calls = sorted({node.op for node in nodes_of(traced.graph.as_graph_def())} & CALLS_OF_PYTHON)
        if calls:
            raise ModelError(
                "the model calls Python in each step, which a worker cannot do for the chief",
                found=f"tf.py_function or tf.numpy_function ({', '.join(calls)}) in the model, its loss or its metrics",
                expected="operations of TensorFlow or keras.ops",
                fix="call NumPy functions directly, which run as keras.ops then; or do it in the input_fn",
                rule="KE213",
            )
        known = {id(there.handle) for _, there in self._held.values()}
        lost = [
            handle.device
            for handle in traced.captured_inputs
            if handle.dtype == tf.resource and "/job:ps" in handle.device and id(handle) not in known
        ]
        if lost:
            raise ModelError(
                "the model has a variable that nothing leads to, so it would be lost on a parameter server",
                found=f"{len(lost)} in the graph of a step",
                expected="variables that attributes, lists, dicts or closures of the model lead to",
                fix="hold it in an attribute of a layer: self.scale = tf.Variable(1.0)",
            )


def arguments_of(batches: Sequence[Any], spec: Any) -> Any:
    """Return batches as one argument of the function: several only if `are_rows(spec)` and they `can_be_joined`."""
    if not are_rows(spec):
        (batch,) = batches
        return batch
    leaves = list(zip(*map(tf.nest.flatten, batches), strict=True))
    rows = [tf.concat(parts, 0) if len(parts) > 1 else parts[0] for parts in leaves]
    sizes = [[leaf.shape[0] for leaf in parts] for parts in leaves]
    return tf.nest.pack_sequence_as(spec, rows), tf.constant(sizes, tf.int64)


def can_be_joined(batch: Any, other: Any) -> bool:
    """Tell whether two batches differ in nothing but their numbers of rows."""
    pairs = zip(tf.nest.flatten(batch), tf.nest.flatten(other), strict=True)
    return all(leaf.shape[1:] == another.shape[1:] for leaf, another in pairs)


def are_rows(spec: Any) -> bool:
    """Tell whether a batch consists of dense rows, so that several can be sent as one."""
    return all(isinstance(leaf, tf.TensorSpec) and bool(leaf.shape.rank) for leaf in tf.nest.flatten(spec))


def _spec_of_batches(spec: Any) -> Any:
    if not are_rows(spec):
        return spec
    joined = tf.nest.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype), spec)
    return joined, tf.TensorSpec((len(tf.nest.flatten(spec)), None), tf.int64)


def _each(step: Any, batches: Any, spec: Any) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Make a step with each batch; return what the last one gave, and whether all losses were finite."""
    if not are_rows(spec):
        logs = step(batches)
        return logs, is_finite(logs)
    rows, sizes = batches
    ends = tf.cumsum(sizes, axis=1)
    outputs = step.get_concrete_function(spec).structured_outputs

    def body(index: tf.Tensor, logs: Any, were_finite: tf.Tensor) -> Any:
        del logs
        leaves = [
            tf.ensure_shape(leaf[ends[place, index] - sizes[place, index] : ends[place, index]], of.shape)
            for place, (leaf, of) in enumerate(zip(tf.nest.flatten(rows), tf.nest.flatten(spec), strict=True))
        ]
        new = step(tf.nest.pack_sequence_as(spec, leaves))
        return index + 1, new, were_finite & is_finite(new)

    scalar = tf.TensorShape(())
    invariants = (scalar, {name: t.shape for name, t in outputs.items()}, scalar)
    start = (tf.constant(0), tf.nest.map_structure(no_metric, outputs), tf.constant(value=True))
    _, logs, are_finite = tf.while_loop(
        lambda index, *_: index < tf.shape(sizes)[1], body, start, shape_invariants=invariants, parallel_iterations=1
    )
    return logs, are_finite


def _is_count(variable: tf.Variable) -> bool:
    size = variable.shape.num_elements()
    return variable.dtype.is_integer and size is not None and size <= _MOST_COUNTS


def _copy(model: Any, devices: Sequence[str]) -> keras.Model:
    """Return a copy whose variables are on the devices, one after the other.

    Not in a scope of the strategy: Keras's optimizers would ask it for what it has not.
    """
    turns = itertools.cycle(devices)

    def place(make: Callable[..., Any], **options: Any) -> Any:
        with tf.device(next(turns)):
            return make(**options)

    with tf.variable_creator_scope(place):
        return Blueprint.of(model).build()
