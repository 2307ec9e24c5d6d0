"""Replicas on several devices of one process take turns, meet in sums, and fail together."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.tensorflow.replicas import Replica, Replicas, devices_of
from keras_estimator.errors import ModelError

THREE = ["/cpu:0"] * 3  # one device may be named more than once, here: what takes turns are the replicas


def summed(place: int, replica: Replica) -> tuple[int, list[tf.Tensor]]:
    first = replica.sum([tf.constant([1.0, place]), tf.constant(place)])
    return replica.index, [*first, *replica.sum([first[1] + place])]


@pytest.mark.parametrize("in_a_graph", [False, True])
def test_all_get_the_sums_of_all(in_a_graph: bool):
    found = (tf.function(Replicas(THREE, None).run) if in_a_graph else Replicas(THREE, None).run)(summed)
    for place, (index, (floats, whole, again)) in enumerate(found):
        assert index == place
        assert floats.numpy().tolist() == [3.0, 3.0]
        assert (int(whole), int(again)) == (3, 3 * 3 + 3)


def test_they_take_turns_in_order():
    said: list[tuple[int, str]] = []

    def step(place: int, replica: Replica) -> None:
        said.append((place, "before"))
        replica.sum([tf.zeros(())])
        said.append((place, "after"))

    Replicas(THREE, None).run(step)
    assert said == [(place, when) for when in ("before", "after") for place in range(3)]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_what_one_raises_ends_all(failing: int):
    def step(place: int, replica: Replica) -> None:
        replica.sum([tf.zeros(())])
        if place == failing:
            raise ZeroDivisionError(place)
        replica.sum([tf.zeros(())])

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        Replicas(THREE, None).run(step)
    assert threading.active_count() == before


def test_who_asks_for_another_sum_than_the_others_is_an_error():
    def step(place: int, replica: Replica) -> None:
        if place < 2:
            replica.sum([tf.zeros(())])

    with pytest.raises(ModelError, match="do not compute the same") as caught:
        Replicas(THREE, None).run(step)
    assert caught.value.rule == "KE410"


def test_a_sum_inside_of_a_function_is_an_error_that_names_the_way_out():
    def step(place: int, replica: Replica) -> Any:
        return tf.function(lambda: replica.sum([tf.zeros(())]), autograph=False)()

    with pytest.raises(ModelError, match=r"inside of a tf\.function") as caught:
        tf.function(Replicas(THREE, None).run, autograph=False)(step)
    assert "@tf.function" in caught.value.fix


def test_every_replica_has_the_settings_of_the_thread_that_asks():
    keras.utils.clear_session()  # which makes the settings of all threads anew
    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = Replicas(THREE, None).run(lambda *_: keras.config.dtype_policy().name)
    finally:
        keras.config.set_dtype_policy("float32")
    assert found == ["mixed_float16"] * 3


def test_devices_are_those_of_the_strategy():
    def devices(given: Any) -> list[str]:
        return devices_of(ke.RunConfig(train_distribute=given))

    assert devices(None) == devices("one_device") == devices("parameter_server") == [""]
    all_cpus = [f"/device:CPU:{place}" for place in range(len(tf.config.list_logical_devices("CPU")))]
    assert devices("mirrored") == devices("central_storage") == all_cpus
    assert devices("multi_worker_mirrored") == all_cpus[:1]
    for strategy in (tf.distribute.OneDeviceStrategy("/cpu:0"), tf.distribute.MirroredStrategy(["/cpu:0"])):
        assert [device.rpartition("/device:")[2] for device in devices(strategy)] == ["CPU:0"]


# What hooks and calls change between strides reaches every device; and what is wrong is said.
SCRIPT = """
import sys
import keras_estimator as ke
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
L, X = keras.layers, np.random.RandomState(0).normal(size=(97, 4)).astype("float32")
Y = X[:, :1] * 2

class Scaled(L.Layer):
    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")

    def call(self, x):
        return x * self.scale

class Changing(ke.Hook):
    cadence = ke.Cadence(every_steps=2)

    def after_steps(self, run):
        scaled.scale.assign(scaled.scale * 0.5)
        model.optimizer.learning_rate.assign(model.optimizer.learning_rate * 0.5)

def trained(folder, **options):
    global scaled, model
    keras.utils.set_random_seed(1)
    scaled = Scaled()
    model = keras.Sequential([L.Input((4,)), L.Dense(3), scaled, L.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    config = ke.RunConfig(folder, progress="off", save_checkpoints_steps=3, save_summary_steps=None, **options)
    ours = ke.model_to_estimator(model, config=config)
    data = ke.Arrays(X, Y, batch_size=10, epochs=None)
    for last in (5, 9):  # another call of train goes on with the copies
        ours.train(data, [Changing()], max_steps=last)
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"])  # another optimizer: other copies
    ours.train(data, max_steps=12)
    return model.get_weights(), ours.evaluate(ke.Arrays(X, Y, batch_size=10))

one, one_says = trained(sys.argv[1] + "/one")
both = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
two, two_say = trained(sys.argv[1] + "/two", train_distribute=both, eval_distribute=both)
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
for name in one_says:
    np.testing.assert_allclose(one_says[name], two_say[name], rtol=1e-5)

class Assigning(keras.Sequential):
    def train_step(self, batch):
        logs = super().train_step(batch)
        self.layers[0].bias.assign_add(tf.reduce_mean(batch[0], axis=0)[:3])
        return logs

model = Assigning([L.Input((4,)), L.Dense(3), L.Dense(1)])
model.compile("sgd", "mse")
ours = ke.model_to_estimator(model, config=ke.RunConfig(sys.argv[1] + "/four", train_distribute="mirrored"))
try:
    ours.train((X, Y), max_steps=1)
except ke.EstimatorError as error:
    print("different:", error.found)

class Holding(L.Layer):
    def call(self, x):
        return x
holding = Holding()
holding.file = open(sys.argv[1] + "/file", "w")
model = keras.Sequential([L.Input((4,)), holding, L.Dense(1)])
model.compile("sgd", "mse")
ours = ke.model_to_estimator(model, config=ke.RunConfig(sys.argv[1] + "/three", train_distribute="mirrored"))
try:
    ours.train((X, Y), max_steps=1)
except ke.BlueprintError as error:
    print("refused:", error.found)
"""


@pytest.mark.slow
def test_copies_on_further_devices_follow_the_users_model(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "different: dense" in done.stdout
    assert "refused: " in done.stdout


def test_numbers_of_all_are_rows_and_sums():
    replicas = Replicas(THREE, None)
    assert (replicas.size, replicas.first, replicas.names) == (3, 0, ["/cpu:0"] * 3)
    np.testing.assert_array_equal(replicas.gather([[1, 2]] * 3), [[1, 2]] * 3)
    np.testing.assert_array_equal(replicas.total([np.ones(2)] * 3), [3, 3])
