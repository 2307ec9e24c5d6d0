"""Train every model below in this process, as TF_CONFIG says: alone, or with others of a cluster.

    DEVICES=1 python trained_together.py FOLDER [NAME...]

writes FOLDER/<name>-<process>.npz: the metrics at each step, every variable at the end, and what `evaluate` says.
Sums over 997 rows end with a short batch; "a_batch_of_one_row" ends with a batch that leaves processes without a row.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_estimator as ke  # first of all, as TensorFlow has to join the cluster before its first tensor

# isort: split
import keras
import numpy as np
import tensorflow as tf

from keras_estimator import drop_in
from keras_estimator.cluster import read_task
from keras_estimator.engines.tensorflow import variable_reads
from keras_estimator.engines.tensorflow.state import ModelState
from keras_estimator.model import numpy_calls

NUM_DEVICES = int(os.environ.get("DEVICES", "1"))  # of each process
if NUM_DEVICES > 1:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * NUM_DEVICES)

L, O = keras.layers, keras.optimizers  # noqa: E741 - short, as L is
ROWS, STEPS = 997, 12
_RANDOM = np.random.RandomState(0)
X = _RANDOM.normal(size=(ROWS, 8))
Y = X[:, :1] * 2 - X[:, 1:2] + 0.1 * _RANDOM.normal(size=(ROWS, 1))
WORDS = _RANDOM.randint(0, 12, size=(ROWS, 6)) * (_RANDOM.uniform(size=(ROWS, 6)) < 0.8)
MODELS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {}
ARTICLE = Path(__file__).parent / "data" / "article"


def model(build: Callable[[], Any]) -> Callable[[], Any]:
    MODELS[build.__name__] = build
    return build


def data(x: Any = X, y: Any = Y, weights: Any = None, batch_size: int = 100) -> ke.Arrays:
    return ke.Arrays(x, y, weights, batch_size=batch_size, seed=1, epochs=None)


def dense(**options: Any) -> keras.Model:
    layers = [L.Dense(16, "tanh", **options), L.Dense(1, **options)]
    return keras.Sequential([L.Input((8,)), *layers])


def normalized() -> keras.Model:
    layers = [L.Dense(8, use_bias=False), L.BatchNormalization(synchronized=True), L.Dense(1)]
    return keras.Sequential([L.Input((8,)), *layers])


@model
def sgd_on_dense() -> Any:
    made = dense()
    made.compile(O.SGD(0.05, momentum=0.9), "mse", metrics=["mae", keras.metrics.R2Score(name="r2")])
    return made, {"data": data()}


@model
def a_batch_of_one_row() -> Any:
    made = normalized()
    made.compile(O.SGD(0.05), "mse", metrics=["mae"])
    return made, {"data": data(X[:91], Y[:91], batch_size=30)}  # 30, 30, 30, 1


@model
def synchronized_normalization() -> Any:
    made = normalized()
    made.compile(O.Adam(0.01), "mse", metrics=["mae"])
    return made, {"data": data()}


@model
def clipped_gradients() -> Any:
    made = dense()
    made.compile(O.Adam(0.01, global_clipnorm=0.05), "mse")
    return made, {"data": data()}


@model
def clipped_values_and_decay() -> Any:
    made = dense()
    made.compile(O.AdamW(0.01, weight_decay=0.1, clipvalue=0.01), "mse")
    return made, {"data": data()}


@model
def accumulated_gradients() -> Any:
    made = dense()
    made.compile(O.Adam(0.01, gradient_accumulation_steps=3), "mse")
    return made, {"data": data()}


@model
def averaged_weights() -> Any:
    made = dense()
    made.compile(O.SGD(0.05, use_ema=True, ema_overwrite_frequency=4), "mse")
    return made, {"data": data()}


@model
def sample_weights() -> Any:
    made = dense()
    made.compile(O.SGD(0.05), "mse", weighted_metrics=["mae"])
    return made, {"data": data(weights=np.linspace(0, 3, ROWS))}


@model
def mean_by_sample_weights() -> Any:
    made = dense()
    made.compile(O.SGD(0.05), keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))
    return made, {"data": data(weights=np.linspace(0, 3, ROWS))}


@model
def summed_loss() -> Any:
    made = dense()
    made.compile(O.SGD(0.0005), keras.losses.MeanSquaredError(reduction="sum"))
    return made, {"data": data()}


@model
def loss_of_one_number() -> Any:
    made = dense()
    made.compile(O.SGD(0.05), lambda y, p: keras.ops.mean(keras.ops.square(y - p)))
    return made, {"data": data()}


@model
def class_weights() -> Any:
    made = keras.Sequential([L.Input((8,)), L.Dense(3, "softmax")])
    made.compile(O.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made, {"data": data(y=np.arange(ROWS) % 3), "class_weight": {0: 1.0, 1: 5.0, 2: 0.2}}


@model
def regularized() -> Any:
    made = dense(kernel_regularizer="l2", activity_regularizer="l2")
    made.compile(O.SGD(0.05), "mse", metrics=["mae"])
    return made, {"data": data()}


@model
def added_losses() -> Any:
    class Added(L.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(0.1 * keras.ops.mean(keras.ops.abs(x)))
            return x

    made = keras.Sequential([L.Input((8,)), L.Dense(8), Added(), L.Dense(1)])
    made.compile(O.SGD(0.05), "mse")
    return made, {"data": data()}


@model
def several_outputs() -> Any:
    given = L.Input((8,), name="given")
    inner = L.Dense(8, "tanh")(given)
    made = keras.Model(given, {"a": L.Dense(1, name="a")(inner), "b": L.Dense(1, name="b")(inner)})
    made.compile(O.SGD(0.05), {"a": "mse", "b": "mae"}, metrics={"a": ["mae"]}, loss_weights={"a": 1.0, "b": 0.3})
    return made, {"data": data({"given": X}, {"a": Y, "b": -Y})}


@model
def masked_sequences() -> Any:
    layers = [L.Embedding(12, 4, mask_zero=True), L.LSTM(5, return_sequences=True), L.Dense(1)]
    made = keras.Sequential([L.Input((6,), dtype="int32"), *layers])
    made.compile(O.Adam(0.05), "mse", metrics=["mae"])
    return made, {"data": data(WORDS.astype("int32"), np.repeat(Y[:, :, None], 6, axis=1))}


@model
def raw_counter() -> Any:
    class Counting(L.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.steps = tf.Variable(0, trainable=False)

        def call(self, x: Any, training: bool = False) -> Any:
            if training:
                self.steps.assign_add(1)
            return x / (1 + tf.cast(self.steps, x.dtype) * 0.01)

    made = keras.Sequential([L.Input((8,)), L.Dense(8), Counting(), L.Dense(1)])
    made.compile(O.SGD(0.05), "mse")
    return made, {"data": data()}


@model
def own_train_step() -> Any:
    class Own(keras.Sequential):
        def train_step(self, batch: Any) -> Any:
            x, y = batch
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            weights = self.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss, "largest": tf.reduce_mean(tf.abs(y))}

    made = Own([L.Input((8,)), L.Dense(8, "tanh"), L.Dense(1)])
    made.compile(O.Adam(0.01), "mse")
    return made, {"data": data()}


@model
def scaled_loss() -> Any:
    made = dense()
    made.compile(O.LossScaleOptimizer(O.SGD(0.05, clipnorm=0.1), initial_scale=2.0**10), "mse")
    return made, {"data": data()}


@model
def a_seeded_pipeline() -> Any:
    made = dense()
    made.compile(O.SGD(0.05), "mse", metrics=["mae"])
    return made, {"data": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(300, seed=3).batch(100).repeat()}


def part_of_rows(input_context: Any) -> tf.data.Dataset:
    """Give 865 rows in batches of 96: of several processes, all but the first have none in the last batch."""
    count, number = input_context.num_input_pipelines, input_context.input_pipeline_id
    return tf.data.Dataset.from_tensor_slices((X[:865], Y[:865])).shard(count, number).batch(96 // count)


@model
def parts_by_input_context() -> Any:
    made = normalized()
    made.compile(O.Adam(0.01), "mse", metrics=["mae"])
    return made, {"data": part_of_rows}


@model
def parts_eagerly() -> Any:
    made = dense()
    made.compile(O.Adam(0.01), "mse", metrics=["mae"], run_eagerly=True)
    return made, {"data": part_of_rows}


@model
def eagerly() -> Any:
    made = dense()
    made.compile(O.SGD(0.05, clipnorm=0.1), "mse", metrics=["mae"], run_eagerly=True)
    return made, {"data": data()}


def _example(number: int) -> Any:
    drop_in.install(), numpy_calls.install(), variable_reads.install()
    made = runpy.run_path(str(ARTICLE / f"example_{number}.py"))["estimator"].model
    made.compile(O.SGD(0.01), "mse")
    rows = np.random.RandomState(3).normal(size=(ROWS, 10))
    return made, {"data": data(rows, rows[:, :1])}


@model
def example_1_of_the_article() -> Any:
    return _example(1)


@model
def example_2_of_the_article_over_all_rows() -> Any:
    def complex_operation(x: Any) -> Any:  # as in the article, but for the mean
        sums = [tf.reduce_sum(x), tf.cast(tf.size(x), x.dtype)]
        total, count = tf.distribute.get_replica_context().all_reduce("SUM", sums)
        return np.sin(x) * total / count

    made = keras.Sequential([L.Input((10,)), L.Dense(32), L.Lambda(complex_operation), L.Dense(1)])
    made.compile(O.SGD(0.01), "mse")
    rows = np.random.RandomState(3).normal(size=(ROWS, 10))
    return made, {"data": data(rows, rows[:, :1])}


@model
def example_3_of_the_article() -> Any:
    return _example(3)


class Noting(ke.Hook):
    """Notes every metric at each step."""

    cadence = ke.Cadence(every_steps=1)

    def __init__(self) -> None:
        self.noted: list[dict[str, Any]] = []

    def after_steps(self, run: ke.Run) -> None:
        self.noted.append(dict(run.metrics))


def train(name: str, folder: Path) -> None:
    task = read_task(os.environ)
    place = task.trainers.index((task.type, task.index)) if task.trainers else 0
    keras.utils.set_random_seed(7 + place)  # the weights that count are those of the chief
    made, options = MODELS[name]()
    keras.utils.set_random_seed(7)
    config = ke.RunConfig(
        str(folder / name),
        log_step_count_steps=4,
        save_summary_steps=None,
        save_checkpoints_steps=8,
        progress="off",
        train_distribute="mirrored" if NUM_DEVICES > 1 else None,
        eval_distribute="mirrored",  # whoever trains together measures together
    )
    noting, given = Noting(), options.pop("data")
    ours = ke.model_to_estimator(made, config=config)
    ours.train(given, [noting], max_steps=STEPS, **options)
    rows = given if isinstance(given, ke.Arrays) else (X, Y)
    if isinstance(rows, ke.Arrays):
        rows = ke.Arrays(rows.x, rows.y, batch_size=64)
    metrics = {f"metric {key}": [noted[key] for noted in noting.noted] for key in noting.noted[0]}
    evaluated = {f"evaluated {key}": value for key, value in ours.evaluate(rows).items()}
    state = {f"variable {path}": value for path, value in ModelState(ours.model).read().items()}
    np.savez(folder / f"{name}-{place}.npz", **metrics, **evaluated, **state)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING)
    keras.config.set_floatx("float64")
    for each in sys.argv[2:] or MODELS:
        train(each, Path(sys.argv[1]))
