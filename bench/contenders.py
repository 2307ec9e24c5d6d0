"""What each of those who are measured can do, in a process of its own (bench/worker.py).

A contender imports its library when it is prepared, so that each process holds only what it measures.
"""

from __future__ import annotations

import importlib
from typing import Any

from bench.workloads import SEED, Workload, first_rows


class Contender:
    """One way to train, evaluate and predict a workload's model.

    Besides the methods below it may have `answer`: predict one example by a handle that stays in memory; and
    ours has yardsticks, which are timed beside its calls (see bench/ours.py).

    Args:
        workload: What is trained.
    """

    def __init__(self, workload: Workload) -> None:
        self.tf = self.imported()
        self.workload = workload
        self.x, self.y = workload.make_arrays()
        rows = workload.evaluated * workload.batch_size
        self.evaluated = first_rows(self.x, rows), self.y[:rows]
        self.example = first_rows(self.x, 1)
        self.tf.keras.utils.set_random_seed(SEED)
        self.model: Any = workload.make_model(self.tf)

    def imported(self) -> Any:
        """Import what has `keras` and `nn`."""
        return importlib.import_module("tensorflow")

    def train(self, steps: int) -> tuple[int, float]:
        """Train; return the steps made, and the seconds from before the first to after the last."""
        raise NotImplementedError

    def evaluate(self) -> None:
        """Evaluate the workload's `evaluated` batches, as a user would."""
        raise NotImplementedError

    def predict(self) -> None:
        """Predict as many batches, as a user would."""
        raise NotImplementedError

    def predict_one(self) -> None:
        """Predict one example by the same call."""
        raise NotImplementedError

    def train_dataset(self) -> Any:
        """Return the training pipeline; it serves as an input_fn."""
        return self.workload.dataset(self.tf, self.x, self.y)

    def evaluated_dataset(self) -> Any:
        """Return what is evaluated."""
        return self._batches(self.evaluated)

    def predicted_dataset(self) -> Any:
        """Return what is predicted."""
        return self._batches(self.evaluated[0])

    def example_dataset(self) -> Any:
        """Return the one example."""
        return self._batches(self.example)

    def _batches(self, arrays: Any) -> Any:
        return self.tf.data.Dataset.from_tensor_slices(arrays).batch(self.workload.batch_size)
