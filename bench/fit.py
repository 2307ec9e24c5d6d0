"""`Model.fit`, `evaluate` and `predict` of Keras in all their settings, on TensorFlow and on JAX."""

from __future__ import annotations

import importlib
import time
import types
from typing import Any

from bench.contenders import Contender
from bench.workloads import Workload


class Fit(Contender):
    """`fit` as it is given: one step per execution, and Keras decides whether to compile by XLA."""

    executes_many = False
    jit_compile: bool | None = None

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        if self.executes_many:
            self.model.steps_per_execution = workload.at_once
        if self.jit_compile is not None:
            self.model.jit_compile = self.jit_compile
        self.open()

    def open(self) -> None:
        """Make what is read ready."""
        self.dataset, self.evaluation, self.prediction = (
            self.train_dataset(),
            self.evaluated_dataset(),
            self.predicted_dataset(),
        )

    def train(self, steps: int) -> tuple[int, float]:
        return steps, self.timed_fit(self.dataset, steps_per_epoch=steps)

    def timed_fit(self, *data: Any, **how: Any) -> float:
        """Call `fit`; return the seconds from the begin of its first epoch to the end of its last."""
        moments: list[float] = []
        note = lambda *_: moments.append(time.perf_counter())  # noqa: E731 - two callbacks, one line
        epochs = self.tf.keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)
        self.model.fit(*data, verbose=0, callbacks=[epochs], **how)
        return moments[-1] - moments[0]

    def evaluate(self) -> None:
        self.model.evaluate(self.evaluation, verbose=0)

    def predict(self) -> None:
        self.model.predict(self.prediction, verbose=0)

    def predict_one(self) -> None:
        self.model.predict(self.example, verbose=0)

    def answer(self) -> None:
        """Predict one example without what `predict` sets up."""
        self.model.predict_on_batch(self.example)


class Fit50(Fit):
    """`fit` with many steps per execution."""

    executes_many = True


class FitXla(Fit):
    """`fit` compiled by XLA."""

    jit_compile = True


class Fit50Xla(Fit50):
    """`fit` with many steps per execution, compiled by XLA."""

    jit_compile = True


class FitArrays(Fit):
    """`fit` of arrays in memory instead of a dataset; it makes whole epochs."""

    def open(self) -> None:
        """Do nothing: the arrays are there."""

    def train(self, steps: int) -> tuple[int, float]:
        in_epoch = len(self.y) // self.workload.batch_size
        epochs = max(1, round(steps / in_epoch))
        how = {"batch_size": self.workload.batch_size, "epochs": epochs, "shuffle": True}
        return epochs * in_epoch, self.timed_fit(self.x, self.y, **how)

    def evaluate(self) -> None:
        self.model.evaluate(*self.evaluated, batch_size=self.workload.batch_size, verbose=0)

    def predict(self) -> None:
        self.model.predict(self.evaluated[0], batch_size=self.workload.batch_size, verbose=0)


class Fit50Arrays(FitArrays):
    """The same with many steps per execution."""

    executes_many = True


class JaxArrays(FitArrays):
    """Keras on JAX, which compiles by XLA; there is no TensorFlow in its environment to read datasets."""

    def imported(self) -> Any:
        """Import Keras on JAX; `KERAS_BACKEND` says so (bench/environments.py)."""
        keras, jax = (importlib.import_module(name) for name in ("keras", "jax"))
        if keras.backend.backend() != "jax":
            raise RuntimeError(f"Keras runs on {keras.backend.backend()} here, and this row is Keras on JAX")
        return types.SimpleNamespace(keras=keras, nn=jax.nn)
