"""One process of `bench.scaling`, on a core of its own: trains a workload alone, or in a cluster by its TF_CONFIG.

    python -m bench.scaling_member WORKLOAD CORE MODEL_DIR

answers requests as bench/worker.py does:

| request                  | answer                                                                              |
|--------------------------|-------------------------------------------------------------------------------------|
| none: it is prepared     | on how many cores it may run, and of how many processes it is one                   |
| `do: train`, `steps`     | the seconds from before the first of the steps to after the last                    |
| `do: sum`, `times`       | the seconds of so many sums of all gradients over the processes, and nothing beside |
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

if hasattr(os, "sched_setaffinity"):  # before TensorFlow counts the cores it has
    os.sched_setaffinity(0, {int(sys.argv[2])})

import keras_estimator as ke  # before the first tensor, as it joins the cluster

# isort: split
import tensorflow as tf

from bench.worker import answer
from bench.workloads import SEED, WORKLOADS
from keras_estimator.cluster import read_task
from keras_estimator.engines.tensorflow.workers import Workers


class Stopwatch(ke.Hook):
    """Times the steps of a call of `train`, without what it does around them."""

    def begin(self, run: ke.Run) -> None:
        self.began = time.perf_counter()

    def end(self, run: ke.Run) -> None:
        self.seconds = time.perf_counter() - self.began


class Member:
    """One process with its model.

    Args:
        name: The workload; a batch of all processes has its `batch_size` rows for each of them.
        model_dir: Where all processes would save.
    """

    def __init__(self, name: str, model_dir: str) -> None:
        workload, self.task = WORKLOADS[name], read_task(os.environ)
        self.size = max(1, len(self.task.trainers))
        tf.keras.utils.set_random_seed(SEED)
        self.model = workload.make_model(tf)
        config = ke.RunConfig(model_dir, save_checkpoints_steps=None, save_checkpoints_secs=None, progress="off")
        self.estimator = ke.model_to_estimator(self.model, config=config)
        x, y = workload.make_arrays()
        rows = workload.batch_size * self.size
        self.data = ke.Arrays(x, y, batch_size=rows, seed=SEED, epochs=None, drop_remainder=True)
        self._sums: Any = None

    def train(self, steps: int) -> float:
        """Make so many steps, with all others; return the seconds."""
        stopwatch = Stopwatch()
        self.estimator.train(self.data, hooks=[stopwatch], steps=steps)
        return stopwatch.seconds

    def sum(self, times: int) -> float:
        """Sum what has the size of the gradients over all processes so often; return the seconds."""
        self._sums = self._sums or self._compiled_sums()
        self._sums(tf.constant(1))  # the others are there, and TensorFlow has traced it
        began = time.perf_counter()
        self._sums(tf.constant(times))
        return time.perf_counter() - began

    def _compiled_sums(self) -> Any:
        workers = Workers(self.task, patience_secs=60)
        gradients = [tf.zeros(variable.shape) for variable in self.model.trainable_variables]

        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def sums(times: Any) -> None:
            for _ in tf.range(times):
                workers.sum(gradients)

        return sums


def _prepare() -> tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]:
    member = Member(sys.argv[1], sys.argv[3])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    does: dict[str, Callable[[dict[str, Any]], float]] = {
        "train": lambda request: member.train(request["steps"]),
        "sum": lambda request: member.sum(request["times"]),
    }
    return {"cores": cores, "processes": member.size}, lambda request: {"seconds": does[request["do"]](request)}


if __name__ == "__main__":
    answer(_prepare)
