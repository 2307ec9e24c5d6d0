"""keras-estimator, and the yardsticks that are timed in the same process beside its calls."""

from __future__ import annotations

import functools
import importlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

from bench.contenders import Contender
from bench.workloads import Workload


class Ours(Contender):
    """keras-estimator with its defaults, but for checkpoints in between."""

    data_position = "continue"
    plan = "auto"

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        ke = importlib.import_module("keras_estimator")

        class Stopwatch(ke.Hook):  # type: ignore[misc,name-defined]  # comes with the import
            def begin(self, run: Any) -> None:
                self.began = time.perf_counter()

            def end(self, run: Any) -> None:
                self.seconds = time.perf_counter() - self.began

        self.stopwatch = Stopwatch()
        config = ke.RunConfig(
            save_checkpoints_steps=None,
            save_checkpoints_secs=None,
            data_position=self.data_position,
            plan=self.plan,
            progress="off",
        )
        self.estimator = ke.model_to_estimator(keras_model=self.model, model_dir=tempfile.mkdtemp(), config=config)
        self.training: Any = self.train_dataset
        self.evaluation: Any = self.evaluated_dataset
        self.prediction: Any = self.predicted_dataset

    def train(self, steps: int) -> tuple[int, float]:
        self.estimator.train(self.training, hooks=[self.stopwatch], steps=steps)
        return steps, self.stopwatch.seconds

    def train_once(self) -> None:
        """Make one step: a whole call on an estimator that has trained before."""
        self.estimator.train(self.training, steps=1)

    def evaluate(self) -> None:
        self.estimator.evaluate(self.evaluation)

    def predict(self) -> None:
        list(self.estimator.predict(self.prediction, yield_single_examples=False))

    def predict_one(self) -> None:
        list(self.estimator.predict(self.example_dataset, yield_single_examples=False))

    def answer(self) -> None:
        """Predict one example by the predictor, which stays in memory."""
        self._predictor(self.example)

    @functools.cached_property
    def _predictor(self) -> Callable[[Any], Any]:
        handle: Callable[[Any], Any] = self.estimator.predictor()
        return handle

    def forward_passes(self) -> None:
        """Compute the bare compiled model on what `evaluate` reads, which lies ready: no loss, no metric."""
        for x in self._ready_batches:
            self._forward(x)

    def bare_answer(self) -> None:
        """Call a bare `tf.function` of the model: an array in, an array out, as of the predictor."""
        self._forward(self.example).numpy()

    def bare_step(self) -> None:
        """Make one bare step: a `tf.function` that reads a batch and gives it to `train_step`."""
        self._step(self._batches_of_steps)

    @functools.cached_property
    def _forward(self) -> Any:
        return self.tf.function(lambda x: self.model(x, training=False))

    @functools.cached_property
    def _ready_batches(self) -> list[Any]:
        return list(self.predicted_dataset())

    @functools.cached_property
    def _batches_of_steps(self) -> Any:
        return iter(self.train_dataset())

    @functools.cached_property
    def _step(self) -> Any:
        # Of a model of its own: the estimator is to stay the one that has trained its model.
        model = self.workload.make_model(self.tf)
        model.train_step(next(self._batches_of_steps))  # which makes the variables of the optimizer and the metrics
        return self.tf.function(lambda batches: model.train_step(next(batches)))


class OursRestart(Ours):
    """keras-estimator, each call reading its data from the beginning, as every peer does."""

    data_position = "restart"


class OursStep(Ours):
    """keras-estimator with a step that XLA compiles."""

    plan = "step"


class OursStacked(Ours):
    """keras-estimator with a loop over several batches that XLA compiles."""

    plan = "stacked"


class OursArrays(Ours):
    """keras-estimator with arrays in memory instead of an input_fn."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        ke, rows = importlib.import_module("keras_estimator"), workload.batch_size
        self.training = ke.Arrays(self.x, self.y, batch_size=rows, drop_remainder=True)
        self.evaluation = ke.Arrays(*self.evaluated, batch_size=rows)
        self.prediction = ke.Arrays(self.evaluated[0], batch_size=rows)


class OursStepArrays(OursArrays):
    """The same with a step that XLA compiles."""

    plan = "step"


class OursStackedArrays(OursArrays):
    """The same with a loop over several batches that XLA compiles."""

    plan = "stacked"
