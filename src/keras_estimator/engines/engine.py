"""What every engine does: run one live Keras model on one backend.

An engine never decides when something happens; the loop does. It owns what is compiled, and traces
each of train, evaluate and predict once for one kind of batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_estimator.arguments import MetricFunction
from keras_estimator.cluster import Task, read_task
from keras_estimator.errors import ConfigError
from keras_estimator.input_functions import InputContext
from keras_estimator.inputs import Source
from keras_estimator.run_config import RunConfig, check_trains, task_of

_PATIENCE_SECS = 7200.0  # as tf.estimator had it

State = dict[str, np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Position:
    """How far data were read: whole passes, and batches of the pass under way."""

    passes: int = 0
    batches: int = 0


@dataclasses.dataclass(frozen=True)
class Stride:
    """What came of one call of an engine for many steps.

    Attributes:
        steps: Steps that were made; fewer than asked for if the data ended or the loss did.
        ended: Whether the pass over the data ended.
        is_finite: Whether the loss of the last step was finite.
        metrics: Metrics after the last step, as Python floats (arrays where a metric is one).
    """

    steps: int
    ended: bool
    is_finite: bool
    metrics: dict[str, Any]


class Feed(Protocol):
    """Batches of one source; only its engine looks inside."""

    def seek(self, position: Position, place: Mapping[str, Any] | None = None) -> bool:
        """Go on from `position`; called before the first batch is read, and between passes.

        Args:
            position: How far the data were read.
            place: What `place` returned there, in another process.

        Returns:
            Whether the batches before it need not be read for that.

        Raises:
            CheckpointError: `place` never returned that.
        """

    def place(self) -> dict[str, Any] | None:
        """Return, as JSON values, what another process needs to go on without reading what lies before."""

    def __len__(self) -> int:
        """Return how many batches a pass has; 0 if that is not known."""

    def unrepeatable(self) -> list[str]:
        """Say what makes the data come otherwise in each process, such as a shuffle without a seed."""

    def close(self) -> None:
        """Let go of the data without waiting for threads that read ahead."""


class Engine(Protocol):
    """One live model on one backend."""

    model: Any
    plan: str

    def open(self, source: Source, *, whole: bool = False) -> Feed:
        """Look at `source`, reading no batch of it (of a generator one, which is put back).

        Args:
            source: The data.
            whole: Whether columns that the model does not take are kept, for metric functions.
        """

    def input_context(self, mode: str) -> InputContext:
        """Return which part of the data this process may read: all, if no other process reads with it."""

    def describe(self, feed: Feed) -> str:
        """Return what is known of the data without reading them, as one line that another process gives, too."""

    def prepare(
        self,
        feed: Feed,
        mode: str,
        class_weight: Mapping[Any, Any] | None = None,
        metric_functions: Sequence[MetricFunction] = (),
    ) -> None:
        """Build whatever `mode` needs from the spec of `feed`; no batch is read for it.

        Args:
            feed: The batches to come.
            mode: One of `ModeKeys`.
            class_weight: For training, as in `Estimator.train`.
            metric_functions: For evaluation: what measures besides the metrics of the model.

        Raises:
            NotCompiledError: the mode needs a loss and the model has none.
            InputError: the data do not fit the model.
        """

    def ready_to_use(self) -> None:
        """Give the model the weights that it predicts with: their averages if its optimizer keeps any.

        `prepare` does so, too, and for training takes it back.
        """

    def train(self, feed: Feed, steps: int) -> Stride:
        """Make at most `steps` steps."""

    def reset_metrics(self) -> None:
        """Start the means of the metrics anew."""

    def metrics_of_pass(self, last: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is reported for a whole pass, given what its last step returned.

        It is what Keras's `fit` and `evaluate` report: the model's metrics if the step returns just those by
        name, which a step of the user's may give other values; else what the step returned.
        """

    def test(self, feed: Feed, steps: int) -> Stride:
        """Measure at most `steps` batches of a prepared feed; metrics go on from the last call within one `kept`."""

    def added_metrics(self, feed: Feed) -> Mapping[str, Any]:
        """Return what the metric functions have measured of `feed` within `kept`."""

    def kept(self, feed: Feed) -> contextlib.AbstractContextManager[None]:
        """Start the metrics anew, and give everything that `test` writes its value back at the end."""

    def output_names(self) -> list[str] | None:
        """Return the names of the model's outputs; None if it has none."""

    def predict(self, feed: Feed) -> Iterator[Any]:
        """Yield the outputs of each batch as NumPy arrays, in the structure the model gives."""

    def predict_arrays(self, x: Any) -> Any:
        """Return the outputs for `x` without any data pipeline; keep the model as it is."""

    def read_state(self) -> State:
        """Return the value of every variable of the model by path."""

    def write_state(self, state: State, *, source: str) -> None:
        """Set every variable from `state`; what does not exist yet is set when it is built.

        Args:
            state: Arrays by path.
            source: Where they come from, for the error.

        Raises:
            CheckpointMismatchError: `state` belongs to another model.
        """

    def write_weights(self, state: State) -> None:
        """Set the weights of the model's layers from `state`; optimizers, metrics and seeds stay as they are."""

    def start_from(self, choose: Callable[[Any], State]) -> None:
        """Set some of the weights as soon as every layer has its own, unless `write_state` comes first.

        Args:
            choose: Given the model, returns values by path, which are converted to the types of the variables. What
                it raises, this raises, or `prepare` if there are no weights yet.
        """

    def joined(self) -> contextlib.AbstractContextManager[None]:
        """Wait for the other processes of the cluster, and watch them; nothing to do for one that trains alone.

        Raises:
            WorkerLostError: one of them is gone, or does not answer.
        """

    def begin_together(self, step: int, data: str) -> None:
        """Make sure that all processes train the same model from the same step, before the first one.

        Args:
            step: Where this process is.
            data: What it trains on, as text.

        Raises:
            WorkersDifferError: one of them is somewhere else, or has another model.
        """

    def gather(self, numbers: Sequence[float]) -> np.ndarray[Any, Any]:
        """Return the numbers of all processes that train together, a row for each, the chief's first."""

    def refresh(self) -> None:
        """Let the model hold what the newest step has left, before a hook looks at it; mostly it does anyway."""

    def synchronize(self) -> None:
        """Let all processes have one state, before it is saved or measured; all have to call it.

        Raises:
            WorkersDifferError: their weights have become different.
        """

    def export(self, directory_base: str | Path, **options: Any) -> str:
        """Write the model for serving below `directory_base` and return the folder."""


def join_cluster(environment: Mapping[str, str]) -> None:
    """Let the backend join the cluster of TF_CONFIG, if that makes this process one of several that train.

    A TF_CONFIG that cannot be used is left to RunConfig to say.
    """
    try:
        task = read_task(environment)
    except ConfigError:
        return
    if keras.config.backend() != "tensorflow" or len(task.trainers) < 2:
        return
    if not task.num_ps_replicas:
        importlib.import_module("keras_estimator.engines.tensorflow.workers").join(task)
    elif task.is_chief:
        importlib.import_module("keras_estimator.engines.tensorflow.server_cluster").join(task)


def patience_secs(config: RunConfig) -> float:
    """Return how long to wait for the other processes of a cluster to start."""
    return float(config.session_creation_timeout_secs or _PATIENCE_SECS)


def has_served(config: RunConfig) -> bool:
    """Check that this process is one that trains; one that only serves the chief of a cluster does that, to the end.

    Returns:
        Whether it has served, so that there is nothing to train.

    Raises:
        ConfigError: it is none of these.
        WorkerLostError: the chief did not come in time.
    """
    check_trains(config)
    task = task_of(config)
    if not task.num_ps_replicas or task.is_chief:
        return False
    importlib.import_module("keras_estimator.engines.tensorflow.serving_tasks").serve(task, patience_secs(config))
    return True


def engine_for(model: Any, config: RunConfig) -> Engine:
    """Return the engine of Keras's current backend around `model`.

    Raises:
        ConfigError: there is no engine for that backend.
    """
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"there is no engine for the backend `{backend}`",
            found=f"keras.config.backend() == {backend!r}",
            expected="tensorflow",
            fix="set KERAS_BACKEND=tensorflow before Keras is imported",
        )
    task = task_of(config)
    if task.num_ps_replicas and task.is_chief:
        kind, name = "parameter_servers", "ParameterServerEngine"
    else:
        kind, name = "engine", "TensorFlowEngine"
    if task.num_ps_replicas and not task.is_chief:
        # It serves; what it does besides, it does by itself.
        alone = Task(task.type, task.index)
        config = dataclasses.replace(config, train_distribute=None, eval_distribute=None, _task=alone)
    engine: Engine = getattr(importlib.import_module(f"keras_estimator.engines.tensorflow.{kind}"), name)(model, config)
    return engine
