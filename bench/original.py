"""The original: `tf.keras.estimator.model_to_estimator` of TensorFlow 2.15, in an environment of its own."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from bench.contenders import Contender
from bench.workloads import Workload


class Original(Contender):
    """The original with its defaults, but for checkpoints while it trains."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        tf = self.tf

        class Stopwatch(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc,name-defined]  # comes with the import
            def after_create_session(self, session: Any, coord: Any) -> None:
                self.began = time.perf_counter()

            def end(self, session: Any) -> None:
                self.seconds = time.perf_counter() - self.began

        self.stopwatch = Stopwatch()
        own_classes = {type(layer).__name__: type(layer) for layer in self.model.layers}
        config = tf.estimator.RunConfig(save_checkpoints_steps=None, save_checkpoints_secs=None)
        self.estimator = tf.keras.estimator.model_to_estimator(
            keras_model=self.model,
            custom_objects=own_classes,
            model_dir=tempfile.mkdtemp(),
            config=config,
            checkpoint_format="saver",
        )

    def train(self, steps: int) -> tuple[int, float]:
        self.estimator.train(self.train_dataset, hooks=[self.stopwatch], steps=steps)
        return steps, self.stopwatch.seconds

    def evaluate(self) -> None:
        self.estimator.evaluate(self.evaluated_dataset)

    def predict(self) -> None:
        list(self.estimator.predict(self.predicted_dataset, yield_single_examples=False))

    def predict_one(self) -> None:
        list(self.estimator.predict(self.example_dataset, yield_single_examples=False))
