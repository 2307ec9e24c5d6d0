"""What one writes by hand for speed: Keras's own steps in a compiled loop, in the three ways that can be the best."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.contenders import Contender
from bench.workloads import Workload


class Loop(Contender):
    """`train_step` in a `tf.range` loop in a `tf.function`, around an iterator that stays open."""

    jit_compile = False
    is_stacked = False

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        model = self.model
        batches = self.train_dataset()
        model.train_step(next(iter(batches)))  # which makes the variables of the optimizer and the metrics
        self.training = iter(self._stacks(batches, workload.at_once).prefetch(2))
        self.evaluation = self._stacks(self.evaluated_dataset(), workload.evaluated)
        self.prediction = self.predicted_dataset()
        self.training_loop = self._loop(model.train_step, workload.at_once)
        self.evaluation_loop = self._loop(model.test_step, workload.evaluated)
        self.forward = self.tf.function(lambda x: model(x, training=False), jit_compile=self.jit_compile)

    def _stacks(self, batches: Any, at_once: int) -> Any:
        return batches.batch(at_once, drop_remainder=True) if self.is_stacked else batches

    def _loop(self, step: Callable[[Any], Any], at_once: int) -> Callable[[Any, int], None]:
        tf = self.tf

        def stack(batches: Any) -> None:
            for place in tf.range(at_once):
                step(tf.nest.map_structure(lambda each, at=place: each[at], batches))

        unit = tf.function(stack if self.is_stacked else step, jit_compile=True) if self.jit_compile else step

        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def loop(iterator: Any, times: Any) -> None:
            for _ in tf.range(times):
                unit(next(iterator))

        def run(iterator: Any, steps: int) -> None:
            loop(iterator, tf.constant(steps // at_once if self.is_stacked else steps))

        return run

    def train(self, steps: int) -> tuple[int, float]:
        begin = time.perf_counter()
        self.training_loop(self.training, steps)
        return steps, time.perf_counter() - begin

    def evaluate(self) -> None:
        self.model.reset_metrics()
        self.evaluation_loop(iter(self.evaluation), self.workload.evaluated)
        self.tf.nest.map_structure(float, self.model.get_metrics_result())

    def predict(self) -> None:
        for x in self.prediction:
            self.forward(x).numpy()

    def predict_one(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Call the compiled model: an array in, an array out."""
        self.forward(self.example).numpy()


class LoopXla(Loop):
    """The same loop around a step that is compiled by XLA."""

    jit_compile = True


class LoopStacked(LoopXla):
    """A loop inside XLA over many batches that are read at once."""

    is_stacked = True
