"""The engine of the chief in a cluster with parameter servers: workers make the steps on weights that they share.

The chief reads the batches as one process does, and hands them out; so position, order and resume are exact. What
its workers make of them is asynchronous: a gradient may be of weights that others have updated meanwhile.
The user's own model is on the chief. It holds the result whenever somebody looks at it (`refresh`, `synchronize`),
and what it is given there reaches the servers before the next step.
Why this way: docs/decisions/0015-parameter-servers.md
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_estimator.arguments import MetricFunction
from keras_estimator.cluster import Task
from keras_estimator.engines.engine import State, Stride, patience_secs
from keras_estimator.engines.tensorflow.engine import TensorFlowEngine
from keras_estimator.engines.tensorflow.loops import as_floats
from keras_estimator.engines.tensorflow.parts import AnyFeed
from keras_estimator.engines.tensorflow.served_model import (
    Outcome,
    ServedModel,
    are_rows,
    arguments_of,
    can_be_joined,
)
from keras_estimator.engines.tensorflow.server_cluster import Servers, check_joined, connect
from keras_estimator.engines.tensorflow.state import parted_seed
from keras_estimator.engines.tensorflow.steps import train_step
from keras_estimator.errors import ConfigError, ModelError
from keras_estimator.model import numpy_calls
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.keras_private import compiled_as
from keras_estimator.run_config import ModeKeys, RunConfig, task_of

_LOG = logging.getLogger("keras_estimator")
_MOST_BATCHES_AT_ONCE = 16


class ParameterServerEngine:
    """Trains one live Keras model on the workers and parameter servers of a cluster; all else it does itself.

    Args:
        model: Any `keras.Model` that can be copied.
        config: Its task is the chief of a cluster with parameter servers.

    Raises:
        ModelError: `model` is not a Keras 3 model.
        ConfigError: TensorFlow had started before it could join the cluster, or there is no worker.
    """

    def __init__(self, model: Any, config: RunConfig) -> None:
        self._task = task_of(config)
        _check_workers(self._task)
        check_joined()
        self._patience_secs = patience_secs(config)
        self._wanted_plan = config.plan
        by_itself = dataclasses.replace(
            config,
            train_distribute=None,
            eval_distribute=None,
            plan="graph" if config.plan == "auto" and not getattr(model, "run_eagerly", False) else config.plan,
            _task=Task("chief"),
        )
        self._inner = TensorFlowEngine(model, by_itself)
        self._servers: Servers | None = None
        self._served: tuple[Any, ServedModel] | None = None
        self._functions: dict[str, Any] = {}
        self._trained_on: tuple[AnyFeed, Mapping[Any, Any] | None] | None = None
        self._function: Any = None
        self._is_ahead = False  # whether the servers have newer weights than the model
        self._is_ready = False  # whether the model may have weights to be used and not trained
        self._is_said = False
        self._rates: dict[str, Any] = {}
        self._step = 0  # a number for each step, so that no two draw the same random numbers

    def __getattr__(self, name: str) -> Any:
        """Whatever the chief does by itself needs the newest weights."""
        if name.startswith("_"):
            raise AttributeError(name)
        self.synchronize()
        self._is_ready = True
        return getattr(self._inner, name)

    @property
    def model(self) -> Any:
        """The user's own model."""
        return self._inner.model

    @property
    def plan(self) -> str:
        """How steps are run."""
        return self._inner.plan

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Wait until all workers and parameter servers are there; see `Engine`."""
        self._servers = connect(self._task, self._patience_secs)
        yield

    def prepare(
        self,
        feed: AnyFeed,
        mode: str,
        class_weight: Mapping[Any, Any] | None = None,
        metric_functions: Sequence[MetricFunction] = (),
    ) -> None:
        """Build what a mode needs; for training, a copy of the model on the servers, too; see `Engine`.

        Raises:
            ConfigError: the plan is one that other processes cannot run.
            ModelError: the model is one that other processes cannot run.
            BlueprintError: no copy can be made of it.
        """
        self.synchronize()
        self._is_ready = True
        if mode != ModeKeys.TRAIN:
            self._inner.prepare(feed, mode, class_weight, metric_functions)
            return
        self._check_plan()
        self._inner.prepare(feed, mode, class_weight, metric_functions)
        _check_optimizers(self.model)
        self._trained_on, self._is_ready = (feed, class_weight), False
        served = self._copied()
        key = f"{feed.spec!r} {class_weight!r}"
        if key not in self._functions:
            with numpy_calls.explained():
                self._functions[key] = served.trace(train_step(class_weight), feed.spec)
        self._function = self._functions[key]

    def _copied(self) -> ServedModel:
        """Return the copy on the servers; a new one if the model was compiled anew, or has another step."""
        assert self._servers is not None
        step = self.model.train_step
        key = self.model.optimizer, compiled_as(self.model), getattr(step, "__func__", step)
        if self._served is None or self._served[0] != key:
            self._served = key, ServedModel(self.model, self._servers.devices)
            self._functions.clear()
        return self._served[1]

    def begin_together(self, step: int, data: str) -> None:
        """Say who trains, and what that means; see `Engine`."""
        del data
        assert self._servers is not None
        if not self._is_said:
            self._is_said = True
            workers, servers = self._servers.num_workers, len(self._servers.devices)
            _LOG.info(
                "%d worker%s update the weights on %d parameter server%s, each step as soon as it is made. Results "
                "differ from run to run, and random numbers such as those of dropout are drawn in any order",
                *(workers, "s"[: workers > 1], servers, "s"[: servers > 1]),
            )
        self._step = step

    def train(self, feed: AnyFeed, steps: int) -> Stride:
        """Let the workers make at most `steps` steps; see `Engine`."""
        assert self._servers is not None
        assert self._served is not None
        if self._is_ready and self._trained_on is not None:
            self._inner.prepare(self._trained_on[0], ModeKeys.TRAIN, self._trained_on[1])  # as a hook has used them
            self._is_ready = False
        served = self._served[1]
        try:
            with self._servers.losses_explained():
                served.push()
                self._is_ahead = True
                return self._stride(served, feed, steps)
        except BaseException:
            self._served, self._is_ahead = None, False  # it may hold half a stride, or be gone
            raise

    def _stride(self, served: ServedModel, feed: AnyFeed, steps: int) -> Stride:
        assert self._servers is not None
        limit = feed.limit(steps)
        at_once = min(_MOST_BATCHES_AT_ONCE, math.ceil(limit / (2 * self._servers.num_workers)))
        at_once = at_once if are_rows(feed.spec) else 1
        counts = _Counts(served, self._rates, self._step)
        outcome: Outcome | None = None
        are_of_model: dict[str, bool] = {}

        def calls() -> Iterator[tuple[Any, ...]]:
            for batches in _groups(feed, limit, at_once):
                yield arguments_of(batches, feed.spec), counts.hand_out(len(batches))
                if not counts.is_finite:
                    return

        for value in self._servers.run(self._function, calls()):
            outcome = Outcome(*value)
            counts.take_back(outcome)
            for name, log in outcome.logs.items():
                is_of_model = name in outcome.results and np.array_equal(log, outcome.results[name], equal_nan=True)
                are_of_model[name] = are_of_model.get(name, True) and is_of_model
        made = counts.made
        counts.put()
        self._step += made
        metrics = {} if outcome is None else as_floats(outcome.logs)
        if any(are_of_model.values()):
            of_all = as_floats(self.model.get_metrics_result())
            metrics |= {name: of_all[name] for name, is_of_model in are_of_model.items() if is_of_model}
        ran_out = made < limit and counts.is_finite
        return Stride(made, feed.advance(made) or ran_out, counts.is_finite, metrics)

    def reset_metrics(self) -> None:
        """Start the means of the metrics anew: they are on the chief."""
        self._inner.reset_metrics()

    def metrics_of_pass(self, last: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is reported for a whole pass; see `Engine`."""
        return self._inner.metrics_of_pass(last)

    def gather(self, numbers: Sequence[float]) -> np.ndarray[Any, Any]:
        """Return the numbers of the one process that decides."""
        return np.array([numbers])

    def refresh(self) -> None:
        """Give the user's model the newest weights, before a hook looks at it."""
        self.synchronize()

    def synchronize(self) -> None:
        """Give the user's model the newest weights; see `Engine`."""
        if not self._is_ahead or self._served is None or self._servers is None:
            return
        self._is_ahead = False
        with self._servers.losses_explained():
            self._served[1].pull()

    def write_state(self, state: State, *, source: str) -> None:
        """Set every variable; the servers hear of it before the next step; see `Engine`."""
        self._is_ahead = False
        self._inner.write_state(state, source=source)

    def _check_plan(self) -> None:
        if self._inner.plan != "graph":
            raise ConfigError(
                "workers of a cluster with parameter servers run graphs only",
                found=f"RunConfig(plan={self._wanted_plan!r}), compile(run_eagerly={self.model.run_eagerly})",
                expected='plan="graph" or "auto", and a model that does not run eagerly',
                fix='RunConfig(plan="auto"), and compile without run_eagerly',
            )


class _Counts:
    """The variables that each call carries: what it gets, and what comes of all calls of a stride.

    Args:
        served: Whose carried variables they are.
        rates: By how much each grows in a step, as far as it is known; kept up to date.
        step: The number of the first step.

    Attributes:
        made: How many steps were made.
        is_finite: Whether all losses were finite.
    """

    def __init__(self, served: ServedModel, rates: dict[str, Any], step: int) -> None:
        self._variables, self._reset_values, self._seeds = served.carried, served.reset_values, served.seeds
        self._rates, self._step = rates, step
        self._start = {path: variable.numpy() for path, variable in self._variables.items()}
        self._sums = {path: np.zeros(value.shape, _wide(value)) for path, value in self._start.items()}
        self._given: list[tuple[int, list[np.ndarray[Any, Any]]]] = []
        self._handed_out = self.made = 0
        self.is_finite = True

    def hand_out(self, steps: int) -> list[tf.Tensor]:
        """Return the values that the next call begins with."""
        values = [self._value(path, start) for path, start in self._start.items()]
        self._given.append((steps, values))
        self._handed_out += steps
        return [tf.constant(value) for value in values]

    def _value(self, path: str, start: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if path in self._reset_values:
            return self._reset_values[path]  # it measures its own batches
        if path in self._seeds:
            return parted_seed(start, self._step + self._handed_out + 1)
        # What it will be once the calls before this one are done; Keras counts one for each step.
        rate = self._rates.get(path, 1.0 if path.endswith("/iterations") else 0.0)
        ahead: np.ndarray[Any, Any] = (start + np.rint(rate * self._handed_out)).astype(start.dtype)
        return ahead

    def take_back(self, outcome: Outcome) -> None:
        """Note what came of the oldest call that was handed out."""
        steps, given = self._given.pop(0)
        for path, before, after in zip(self._start, given, map(np.asarray, outcome.carried), strict=True):
            grown = after.astype(_wide(after)) - before
            self._sums[path] += grown
            if path not in self._reset_values and path not in self._seeds:
                self._rates[path] = grown / steps
        self.made += steps
        self.is_finite = self.is_finite and bool(outcome.is_finite)

    def put(self) -> None:
        """Give the variables of the user's model what came of all calls."""
        for path, variable in self._variables.items():
            variable.assign((self._start[path] + self._sums[path]).astype(self._start[path].dtype))


def _wide(value: np.ndarray[Any, Any]) -> Any:
    """Return the type in which values like these are added up."""
    return np.float64 if value.dtype.kind not in "iu" else np.int64


def _groups(feed: AnyFeed, limit: int, size: int) -> Iterator[list[Any]]:
    """Yield the batches of a feed, some at once: those that differ in nothing but their numbers of rows."""
    batches: list[Any] = []
    for batch in itertools.islice(feed, limit):
        if batches and (len(batches) == size or not can_be_joined(batches[0], batch)):
            yield batches
            batches = []
        batches.append(batch)
    if batches:
        yield batches


def _check_workers(task: Task) -> None:
    if task.num_worker_replicas < 2:
        raise ConfigError(
            "a cluster with parameter servers needs a worker: the chief hands out the batches and computes no step",
            found="TF_CONFIG names no worker",
            expected="one worker or more beside the chief",
            fix="keras-estimator launch --workers 2 --ps 1 script.py (the chief is one of the 2)",
        )


def _check_optimizers(model: Any) -> None:
    optimizers = {id(held.owner): held.owner for held in holdings(model) if hasattr(held.owner, "iterations")}
    for optimizer in optimizers.values():
        steps = getattr(optimizer, "gradient_accumulation_steps", None)
        if steps:
            raise ModelError(
                "gradients cannot be accumulated on parameter servers: workers would update in the middle of others",
                found=f"{type(optimizer).__name__}(gradient_accumulation_steps={steps})",
                expected="an update after each batch",
                fix=f"leave gradient_accumulation_steps out, and make batches of {steps} times the rows",
            )
