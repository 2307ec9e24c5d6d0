"""The devices and processes that share every step: one replica of the model for each device, one step for all.

    replica 0 ─▶ loss, gradients ─┐                ┌─▶ update
    replica 1 ─▶ loss, gradients ─┴─▶ sum over all ─┴─▶ update

The replicas of one process are traced (or run, if eagerly) in threads, one at a time: each goes as far as its next
sum, then the next one does; the last adds up, together with the other processes if there are any. So the graph
of a step has each sum once, between what all devices do before it and after it, and its order is always the same.
MirroredStrategy takes turns in the same way for its `merge_call`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from keras_estimator.engines.tensorflow.workers import Workers
from keras_estimator.errors import ModelError
from keras_estimator.model.keras_private import taking_settings_of_thread
from keras_estimator.run_config import RunConfig, strategy_of


class Replica(Protocol):
    """One of all that share a step, as its own step sees it.

    Attributes:
        index: The number of this one.
    """

    index: int

    @property
    def size(self) -> int:
        """How many they are, in all processes."""

    def sum(self, tensors: Sequence[tf.Tensor], form: tf.Tensor | None = None) -> list[tf.Tensor]:
        """Return the sums over all replicas; all have to ask, for the same number, dtypes and shapes.

        Args:
            tensors: What this one adds.
            form: A small number that tells shapes apart, if they change from step to step.
        """


class Replicas:
    """All replicas: those on the devices of this process, and those of the other processes of its cluster.

    Args:
        devices: Of this process.
        workers: All processes that train together; None for one alone.
    """

    def __init__(self, devices: Sequence[str], workers: Workers | None) -> None:
        self.devices = tuple(devices)
        self.workers = workers

    @property
    def size(self) -> int:
        """How many there are in all processes."""
        return len(self.devices) * (self.workers.size if self.workers else 1)

    @property
    def first(self) -> int:
        """The number of the first one in this process; the chief's first is 0."""
        return len(self.devices) * (self.workers.index if self.workers else 0)

    @property
    def names(self) -> list[str]:
        """One for each, in their order."""
        processes = self.workers.names if self.workers else []
        if len(self.devices) == 1:
            return processes
        return [f"{of} {device}".strip() for of in processes or [""] for device in self.devices]

    def gather(self, rows: Sequence[Sequence[float]]) -> np.ndarray[Any, Any]:
        """Return the numbers of all replicas, a row for each; all processes have to call it.

        Args:
            rows: Those of this process.

        Raises:
            WorkerLostError: a process is gone or does not answer.
        """
        own = np.array(rows, np.float64)
        if self.workers is None:
            return own
        return self.workers.gather([float(number) for number in own.ravel()]).reshape(self.size, own.shape[1])

    def total(self, rows: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Return the sums over all replicas of vectors of float64, one of each replica of this process.

        Raises:
            WorkerLostError: a process is gone or does not answer.
        """
        own: np.ndarray[Any, Any] = np.sum(rows, axis=0)
        return own if self.workers is None else self.workers.total(own)

    @contextlib.contextmanager
    def meeting(self) -> Iterator[None]:
        """Compute what needs all processes.

        Raises:
            WorkerLostError: one of them is gone or does not answer.
        """
        with contextlib.nullcontext() if self.workers is None else self.workers.meeting():
            yield

    def run(self, step: Callable[[int, Replica], Any]) -> list[Any]:
        """Run one step on every device of this process; return what came of it on each.

        Args:
            step: Takes the number of a device and the replica there.

        Raises:
            ModelError: the replicas do not ask for the same sums.
        """
        if len(self.devices) == 1 and self.workers is not None:
            return [step(0, self.workers)]
        turns = _Turns(self, step)
        threads = [threading.Thread(target=turns.take, args=(place,)) for place in range(1, len(self.devices))]
        for thread in threads:
            thread.start()
        turns.take(0)
        for thread in threads:
            thread.join()
        if turns.error is not None:
            raise turns.error
        return turns.results


class _Turns:
    """One step of all replicas of a process, whose threads take turns."""

    def __init__(self, replicas: Replicas, step: Callable[[int, Replica], Any]) -> None:
        self._replicas = replicas
        self._step = step
        self._graph = _graph_here()
        self._settings = taking_settings_of_thread()
        self._condition = threading.Condition()
        self._turn = 0
        self._asked: list[list[tf.Tensor] | None] = []
        self._form: tf.Tensor | None = None
        self._sums: list[tf.Tensor] = []
        self.results: list[Any] = [None] * len(replicas.devices)
        self.error: BaseException | None = None

    def take(self, place: int) -> None:
        """Do what one replica does, from its first turn to its last."""
        try:
            with contextlib.ExitStack() as inside:
                if place:  # the first one runs in the thread of the caller
                    inside.enter_context(self._settings())
                    inside.enter_context(self._graph.as_default() if self._graph else contextlib.nullcontext())
                inside.enter_context(tf.device(self._replicas.devices[place]))
                self._wait_for_turn(place)
                self.results[place] = self._step(place, _Here(self, self._replicas, place))
                self._next_turn(place, None)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits for all
            with self._condition:
                self.error = self.error or error
                self._condition.notify_all()

    def sum(self, place: int, tensors: Sequence[tf.Tensor], form: tf.Tensor | None) -> list[tf.Tensor]:
        """Return the sums over all replicas; the others take their turns meanwhile."""
        if _graph_here() is not self._graph:
            raise _inside_of_a_function()
        self._form = form
        self._next_turn(place, list(tensors))
        self._wait_for_turn(place)
        return self._sums

    def _wait_for_turn(self, place: int) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._turn == place or self.error is not None)
            if self.error is not None:
                raise self.error

    def _next_turn(self, place: int, asked: list[tf.Tensor] | None) -> None:
        """End a turn; at the end of a round, add up what all have asked for (None: they have ended)."""
        self._asked.append(asked)
        if place == len(self.results) - 1:
            if len({None if each is None else len(each) for each in self._asked}) > 1:
                raise ModelError(
                    "the replicas of the model on several devices do not compute the same",
                    found=f"sums over all replicas of {[None if e is None else len(e) for e in self._asked]} tensors",
                    expected="the same code on every device",
                    fix="let what a step computes not depend on counters or random numbers of Python",
                    rule="KE410",
                )
            if asked is not None:
                self._sums = self._added_up()
            self._asked = []
        with self._condition:
            self._turn = (place + 1) % len(self.results)
            self._condition.notify_all()

    def _added_up(self) -> list[tf.Tensor]:
        sums = [tf.add_n(parts) for parts in zip(*(each or [] for each in self._asked), strict=True)]
        return sums if self._replicas.workers is None else self._replicas.workers.sum(sums, self._form)


class _Here:
    """One replica of this process, for its own step."""

    def __init__(self, turns: _Turns, replicas: Replicas, place: int) -> None:
        self._turns = turns
        self._place = place
        self.size = replicas.size
        self.index = replicas.first + place

    def sum(self, tensors: Sequence[tf.Tensor], form: tf.Tensor | None = None) -> list[tf.Tensor]:
        return self._turns.sum(self._place, tensors, form)


def devices_of(config: RunConfig) -> list[str]:
    """Return the devices on which this process trains: one, unless its `train_distribute` says more."""
    kind, strategy = strategy_of(config.train_distribute)
    if strategy is not None and kind in ("mirrored", "central_storage", "one_device"):
        return list(strategy.extended.worker_devices)
    if kind not in ("mirrored", "central_storage", "multi_worker_mirrored"):
        return [""]
    gpus, cpus = (tf.config.list_logical_devices(type_of_device) for type_of_device in ("GPU", "CPU"))
    found = gpus or cpus[: 1 if kind == "multi_worker_mirrored" else None]
    # Without the job and task in front, which TensorFlow knows only once it has joined a cluster.
    return ["/device:" + device.name.rpartition("/device:")[2] for device in found]


def _graph_here() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _inside_of_a_function() -> ModelError:
    return ModelError(
        "a sum over all devices is asked for inside of a tf.function, tf.cond or tf.while_loop",
        found="an optimizer's apply, or context.all_reduce, within one",
        expected="it in train_step or call themselves, where all replicas meet",
        fix="take the decorator @tf.function away (the step is compiled anyway), or compute the sum before tf.cond",
    )
