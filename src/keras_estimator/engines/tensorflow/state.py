"""The state of a live model on TensorFlow: read, write, keep, and train what Keras leaves idle."""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import State
from keras_estimator.errors import CheckpointMismatchError, EstimatorWarning, ModelError
from keras_estimator.model.anatomy import Holding, holdings, weight_holdings
from keras_estimator.model.computation.function_graph import READS
from keras_estimator.model.keras_private import all_layers, own_as_weight, storage_of
from keras_estimator.model.source_lines import where_assigned
from keras_estimator.model.user_lines import running_line

_SEEDS_APART = 0x9E3779B1
_MOST_IN_A_LINE = 6
_SEED_GENERATOR = keras.random.SeedGenerator
# Another set of metrics does not make another model.
_METRICS = ("loss_tracker", "compile_metrics", "compile_loss", "metrics")


class ModelState:
    """Every variable of one model by path, also those that only a trace shows."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._unreached: dict[int, tuple[str, tf.Variable]] = {}
        self._pending: State = {}
        self._source = ""
        self._rehearsed: set[bool] = set()
        self._start: Callable[[Any], State] | None = None  # gives what weights begin with
        self._trained: State = {}  # weights while their averages stand in for them
        self._found: dict[str, tf.Variable] | None = None  # as long as there can be no others
        self._is_steady = False

    def variables(self) -> dict[str, tf.Variable]:
        """Return the TensorFlow variables by path."""
        if self._found is not None:
            return dict(self._found)
        found = {holding.path: _value(holding.variable) for holding in holdings(self._model)}
        found |= dict(self._unreached.values())
        self._found = found if self._is_steady else None
        return dict(found)

    def gains_no_variables(self) -> None:
        """Note that nothing runs by which the model could get other variables: they need not be looked for again."""
        self._is_steady = True

    def may_gain_variables(self) -> None:
        """Note that it may have others from now on."""
        self._is_steady, self._found = False, None

    def seeds(self) -> set[int]:
        """Return the ids of the variables that random numbers are drawn with."""
        return {id(_value(held.variable)) for held in holdings(self._model) if isinstance(held.owner, _SEED_GENERATOR)}

    def note_captured(self, captured: Iterable[tf.Variable]) -> None:
        """Take in variables that a traced step uses; those that no path reaches are saved, and said."""
        reached = {id(variable) for variable in self.variables().values()}
        for variable in captured:
            if id(variable) in reached or id(variable) in self._unreached:
                continue
            path = f"unreached/{len(self._unreached)}_{variable.name.partition(':')[0]}"
            self._unreached[id(variable)] = (path, variable)
            text = (
                f"the variable `{variable.name}` {tuple(variable.shape)} is used by the model, but no attribute, "
                f"list, dict or closure of the model leads to it; it is saved as `{path}`, by the order of use. "
                "Hold it in an attribute of a layer to give it a lasting name."
            )
            running_line().warn(EstimatorWarning(text, rule="KE304"))

    def read(self) -> State:
        """Return the value of every variable, those waiting to be built included."""
        variables = self.variables()
        values = {path: _read(variable) for path, variable in variables.items()}
        return values | self._trained | self._pending

    def write(self, state: State, *, source: str) -> None:
        """Set every variable; values without a variable wait for `settle`.

        Raises:
            CheckpointMismatchError: a variable of the model is missing in `state`, or has another
                shape or dtype; nothing was set then.
        """
        self._trained, self._source, self._rehearsed, self._start = {}, source, set(), None
        variables = self.variables()
        missing = [path for path in variables if path not in state and not is_metric(path)]
        differing = [
            f"{path}: {state[path].shape} {state[path].dtype} for {tuple(variable.shape)} {variable.dtype.name}"
            for path, variable in variables.items()
            if path in state and not is_metric(path) and not _fits(state[path], variable)
        ]
        if missing or differing:
            raise _mismatch(source, missing=missing, differing=differing, unknown=[])
        for path, variable in variables.items():
            if path in state and _fits(state[path], variable):
                variable.assign(state[path])
        self._pending = {path: value for path, value in state.items() if path not in variables}

    def write_weights(self, state: State) -> None:
        """Set the weights of the model's layers, and raw variables in them; not the optimizer, metrics and seeds."""
        for holding in weight_holdings(self._model):
            _value(holding.variable).assign(state[holding.path])

    def start_from(self, choose: Callable[[Any], State]) -> None:
        """Set some of the weights as soon as every layer has its own, unless `write` comes first.

        Args:
            choose: Given the model, returns values by path, which are converted to the types of the variables.
        """
        self._start = choose
        if self._is_built():
            self.begin()

    def begin(self) -> None:
        """Set the weights that there are to what `start_from` gives; once more if there will be others."""
        if self._start is None or not weight_holdings(self._model):
            return
        values = self._start(self._model)
        variables = self.variables()
        for path, value in values.items():
            variables[path].assign(value.astype(variables[path].dtype.as_numpy_dtype))
        if self._is_built():
            self._start = None

    def _is_built(self) -> bool:
        return all(layer.built for layer in all_layers(self._model))

    def begin_by(self, forward: Callable[[], Any]) -> None:
        """Let a forward pass that nobody traces make the weights that `start_from` waits for.

        Args:
            forward: Calls the model on a batch, in Python; what it writes is undone.

        Raises:
            ModelError: a layer still has no weights.
        """
        if self._start is None:
            return
        with self.kept(self.variables().values()), contextlib.suppress(NotImplementedError):
            forward()
        if self._is_built():
            self.begin()
        else:
            raise ModelError(
                "no warm start: there are layers without weights when the first step begins",
                found=", ".join(layer.name for layer in all_layers(self._model) if not layer.built),
                expected="a model that is built by calling it",
                fix="build these layers before: layer.build(shape); or let the steps be traced: run_eagerly=False",
            )

    def settle(self, *, complete: bool) -> None:
        """Set variables that were built since `write`.

        Args:
            complete: Whether everything is built by now, so that values left over are an error.

        Raises:
            CheckpointMismatchError: a value is left over, or does not fit.
        """
        if complete or self._is_built():
            self.begin()
            self._start = None
        if not self._pending:
            return
        variables = self.variables()
        built = {path: value for path, value in self._pending.items() if path in variables}
        differing = [
            f"{path}: {value.shape} {value.dtype} for {tuple(variables[path].shape)} {variables[path].dtype.name}"
            for path, value in built.items()
            if not _fits(value, variables[path]) and not is_metric(path)
        ]
        left = [path for path in self._pending if path not in built and not is_metric(path)]
        if differing or (complete and left):
            raise _mismatch(self._source, missing=[], differing=differing, unknown=left)
        for path, value in built.items():
            if _fits(value, variables[path]):
                variables[path].assign(value)
        self._pending = {} if complete else {p: v for p, v in self._pending.items() if p not in built}

    def rehearse(self, step: Callable[[], Any], *, complete: bool) -> None:
        """Let a step that nobody traces make the variables that wait for their values, and undo all else it does.

        Args:
            step: One step of the model, run in Python.
            complete: Whether it makes every variable there is, as a step of training does.

        Raises:
            CheckpointMismatchError: a value is left over, or does not fit.
        """
        if not self._pending or complete in self._rehearsed:
            return
        before = self.read()
        metrics = {path: value for path, value in self._pending.items() if is_metric(path)}
        step()
        self._model.reset_metrics()
        self.write(before, source=self._source)
        self.settle(complete=complete)
        self._rehearsed = {complete}
        if not complete:  # metrics measure from zero now, and have their values when it trains on
            self._model.reset_metrics()
            self._pending |= metrics
            self.put_averages()

    def put_averages(self) -> None:
        """Let the averages of the weights stand in for them, if the optimizer keeps any (`use_ema`).

        `fit` does so when it ends, and the weights that were trained are lost. Here they are kept:
        checkpoints hold them, and training goes on with them.
        """
        optimizer = self._model.optimizer if self._model.compiled else None
        if self._trained or optimizer is None or not getattr(optimizer, "use_ema", False):
            return
        weights = self._model.trainable_variables
        if not optimizer.built and self._pending and weights:
            optimizer.build(weights)
            self.settle(complete=False)
        if optimizer.built and int(optimizer.iterations) > 0:
            kept = {id(_value(weight)) for weight in weights}
            self._trained = {p: np.asarray(v.numpy()) for p, v in self.variables().items() if id(v) in kept}
            optimizer.finalize_variable_values(weights)

    def put_trained(self) -> None:
        """Give the weights their trained values back."""
        if not self._trained:
            return
        variables = self.variables()
        for path, value in self._trained.items():
            variables[path].assign(value)
        self._trained = {}

    @contextlib.contextmanager
    def kept(self, written: Iterable[tf.Variable], carried: dict[int, Any] | None = None) -> Iterator[None]:
        """Give the variables in `written` their present values back at the end.

        Args:
            written: What may be changed meanwhile.
            carried: Values by id of variable that they have meanwhile; what changed is left here at the end.
        """
        carried = {} if carried is None else carried
        before = [(variable, variable.read_value()) for variable in written]
        for variable, _ in before:
            if id(variable) in carried:
                variable.assign(carried[id(variable)])
        try:
            yield
        finally:
            for variable, value in before:
                if id(variable) in carried or not np.array_equal(variable.numpy(), value.numpy()):
                    carried[id(variable)] = variable.read_value()
                variable.assign(value)

    def adopt_idle(self) -> list[str]:
        """Let Keras train raw variables that ask for it, as Keras 2 did; return their paths.

        Keras 3 tracks `keras.Variable`s only: a `tf.Variable` in a layer takes part in the forward
        pass and is never updated. Each one found is wrapped, without a copy, in a `keras.Variable`
        that its layer then owns as a trainable weight.
        """
        known = {id(_value(variable)) for variable in self._model.variables}
        frozen = {id(layer) for layer in all_layers(self._model) if not layer.trainable}
        idle = [
            holding
            for holding in holdings(self._model)
            if holding.is_idle and id(holding.variable) not in known and id(holding.owner) not in frozen
        ]
        if not idle:
            return []
        optimizer = self._model.optimizer
        if optimizer is not None and optimizer.built:
            _warn_of_idle(idle, "the optimizer was built without them, so they stay as they are", "compile() again")
            return []
        for holding in idle:
            owner = holding.owner if isinstance(holding.owner, keras.Layer) else self._model
            own_as_weight(owner, holding.variable, re.sub(r"[^A-Za-z0-9_.-]", "_", holding.path))
        _warn_of_idle(
            idle,
            "Keras 3 never trains such variables; they are trained from here on, as Keras 2 did",
            "make them with self.add_weight(...), or pass trainable=False",
        )
        return [holding.path for holding in idle]


def _warn_of_idle(idle: list[Holding], what: str, way_out: str) -> None:
    lines: dict[str, list[str]] = {}
    for held in idle:
        line = f"`{held.path}` made at {where_assigned(held.owner, held.attribute)}"
        lines.setdefault(_rule_about(held), []).append(line)
    for rule, some in lines.items():
        text = f"raw trainable tf.Variables: {'; '.join(some)}: {what}. Way out: {way_out}."
        running_line().warn(EstimatorWarning(text, rule=rule))


def _rule_about(idle: Holding) -> str:
    if isinstance(idle.owner, types.FunctionType):
        return "KE304"
    return "KE301" if getattr(idle.owner, idle.attribute, None) is idle.variable else "KE302"


def written_variables(graph: Any, variables: Iterable[tf.Variable]) -> list[tf.Variable]:
    """Return those of `variables` that a traced graph may write: used by more than known reads."""
    by_handle = {id(variable.handle): variable for variable in variables}
    return [
        by_handle[id(handle)]
        for handle, inner in graph.captures
        if id(handle) in by_handle and any(operation.type not in READS for operation in inner.consumers())
    ]


def _read(variable: tf.Variable) -> np.ndarray[Any, Any]:
    # `variable.numpy()` without what it does for tapes and caches: a third of the time, which counts for small models.
    return np.asarray(tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype).numpy())


def _value(variable: Any) -> Any:
    return storage_of(variable) if isinstance(variable, keras.Variable) else variable


def parted_seed(seed: np.ndarray[Any, Any], number: int) -> np.ndarray[Any, Any]:
    """Return the state of a seed from which other random numbers are drawn; for number 0 it is the same."""
    parted = seed.copy()
    parted.flat[0] ^= np.array(number * _SEEDS_APART % 2**31, seed.dtype)
    return parted


def is_metric(path: str) -> bool:
    """Return whether a path is that of what a metric counts."""
    return any(part in _METRICS for part in path.split("/"))


def _fits(value: np.ndarray[Any, Any], variable: tf.Variable) -> bool:
    same_type = value.dtype == variable.dtype.as_numpy_dtype or value.dtype.kind in "OS"
    return variable.shape.is_compatible_with(value.shape) and same_type


def _mismatch(source: str, *, missing: list[str], differing: list[str], unknown: list[str]) -> CheckpointMismatchError:
    def listed(title: str, paths: list[str]) -> str:
        text = ", ".join(paths) if len(paths) <= _MOST_IN_A_LINE else "".join(f"\n  {path}" for path in paths)
        return f"{title}:{text}" if text.startswith("\n") else f"{title}: {text}" if text else ""

    parts = (
        listed("not in the checkpoint", missing),
        listed("other shape or dtype", differing),
        listed("not in the model", unknown),
    )
    return CheckpointMismatchError(
        f"the checkpoint {source} holds the state of another model",
        found="\n".join(part for part in parts if part),
        expected="the same variables by path, shape and dtype",
        fix="pass the model it was written with; or let this one begin with the weights that fit, elsewhere: "
        f"model_to_estimator(model, model_dir=..., warm_start_from={source!r})",
    )
