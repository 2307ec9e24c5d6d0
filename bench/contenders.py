"""Who is measured: keras-estimator, `fit`, a hand-written loop and the original, behind one interface.

A contender lives in a process of its own (worker.py). It imports its library when it prepares, so
that each process holds only what it measures.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from typing import Any

import numpy as np

from bench.workloads import SEED, Workload

EVALUATED_BATCHES = 20


class Contender:
    """One way to train, evaluate and predict a workload's model.

    Args:
        workload: What is trained.
    """

    def __init__(self, workload: Workload) -> None:
        self.tf: Any = importlib.import_module("tensorflow")
        self.workload = workload
        self.x, self.y = workload.make_arrays()
        rows = workload.batch_size
        self.batch = self.x[:rows], self.y[:rows]
        self.evaluated = self.x[: EVALUATED_BATCHES * rows], self.y[: EVALUATED_BATCHES * rows]
        self.tf.keras.utils.set_random_seed(SEED)
        self.model: Any = workload.make_model(self.tf)
        self.forward_batches = [self.tf.constant(x) for x in np.split(self.evaluated[0], EVALUATED_BATCHES)]
        # Traced at once: the original's conversion makes models from before it unusable.
        forward = self.tf.function(lambda x: self.model(x, training=False))
        self.forward = forward.get_concrete_function(self.forward_batches[0])

    def train(self, steps: int) -> tuple[int, float]:
        """Train; return the steps made, and the seconds from before the first to after the last."""
        raise NotImplementedError

    def evaluate(self) -> None:
        """Evaluate `EVALUATED_BATCHES` batches, as a user would."""
        raise NotImplementedError

    def predict(self) -> None:
        """Predict one batch, as a user would."""
        raise NotImplementedError

    def predictor(self) -> None:
        """Predict one batch by a handle that stays in memory, where there is one."""
        raise NotImplementedError

    def forward_passes(self, batches: int) -> None:
        """Compute the bare compiled model, batch after batch: nothing is read, and no loss or metric computed.

        Args:
            batches: How many, at most `EVALUATED_BATCHES`.
        """
        for x in self.forward_batches[:batches]:
            self.forward(x)

    def train_dataset(self) -> Any:
        """Return the training pipeline; it serves as an input_fn."""
        return self.workload.dataset(self.tf, self.x, self.y)

    def evaluated_dataset(self) -> Any:
        """Return what is evaluated."""
        return self.tf.data.Dataset.from_tensor_slices(self.evaluated).batch(self.workload.batch_size)

    def predicted_dataset(self) -> Any:
        """Return the one batch that is predicted."""
        return self.tf.data.Dataset.from_tensor_slices(self.batch[0]).batch(self.workload.batch_size)


class Fit(Contender):
    """`Model.fit`, `evaluate` and `predict`."""

    steps_per_execution = 1

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.model.steps_per_execution = self.steps_per_execution
        self.dataset = self.train_dataset()
        self.evaluation = self.evaluated_dataset()

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
        self.model.predict(self.batch[0], verbose=0)

    def predictor(self) -> None:
        self.model.predict_on_batch(self.batch[0])


class Fit50(Fit):
    """`fit` with 50 steps per execution."""

    steps_per_execution = 50


class FitArrays(Fit):
    """`fit` of arrays in memory instead of a dataset; it makes whole epochs."""

    def train(self, steps: int) -> tuple[int, float]:
        in_epoch = len(self.x) // self.workload.batch_size
        epochs = max(1, round(steps / in_epoch))
        how = {"batch_size": self.workload.batch_size, "epochs": epochs, "shuffle": True}
        return epochs * in_epoch, self.timed_fit(self.x, self.y, **how)


class FitArrays50(FitArrays):
    """The same with 50 steps per execution."""

    steps_per_execution = 50


class Loop(Contender):
    """What one writes by hand for speed: `train_step` in a `tf.range` loop in a `tf.function`."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        tf, model = self.tf, self.model
        self.dataset = self.train_dataset()

        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def loop(iterator: Any, steps: Any) -> None:
            for _ in tf.range(steps):
                model.train_step(next(iterator))

        self.loop = loop

    def train(self, steps: int) -> tuple[int, float]:
        begin = time.perf_counter()
        self.loop(iter(self.dataset), self.tf.constant(steps))
        return steps, time.perf_counter() - begin


class Ours(Contender):
    """keras-estimator with its defaults, but for checkpoints in between."""

    data_position = "continue"

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
            progress="off",
        )
        self.estimator = ke.model_to_estimator(keras_model=self.model, model_dir=tempfile.mkdtemp(), config=config)
        self.training = self.train_dataset
        self.handle: Any = None

    def train(self, steps: int) -> tuple[int, float]:
        self.estimator.train(self.training, hooks=[self.stopwatch], steps=steps)
        return steps, self.stopwatch.seconds

    def evaluate(self) -> None:
        self.estimator.evaluate(self.evaluated_dataset)

    def predict(self) -> None:
        list(self.estimator.predict(self.predicted_dataset, yield_single_examples=False))

    def predictor(self) -> None:
        self.handle = self.handle or self.estimator.predictor()
        self.handle(self.batch[0])


class OursRestart(Ours):
    """keras-estimator, each call reading its data from the beginning, as every peer does."""

    data_position = "restart"


class OursArrays(Ours):
    """keras-estimator with arrays in memory instead of an input_fn."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        ke, rows = importlib.import_module("keras_estimator"), workload.batch_size
        self.training = ke.Arrays(self.x, self.y, batch_size=rows, drop_remainder=True)
        self.evaluation = ke.Arrays(*self.evaluated, batch_size=rows)
        self.predicted = ke.Arrays(self.batch[0], batch_size=rows)

    def evaluate(self) -> None:
        self.estimator.evaluate(self.evaluation)

    def predict(self) -> None:
        list(self.estimator.predict(self.predicted, yield_single_examples=False))


class Original(Contender):
    """`tf.keras.estimator.model_to_estimator` of TensorFlow 2.15, without checkpoints while it trains."""

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


CONTENDERS: dict[str, type[Contender]] = {
    "ours": Ours,
    "ours-restart": OursRestart,
    "ours-arrays": OursArrays,
    "fit": Fit,
    "fit50": Fit50,
    "fit-arrays": FitArrays,
    "fit50-arrays": FitArrays50,
    "loop": Loop,
    "original": Original,
}
