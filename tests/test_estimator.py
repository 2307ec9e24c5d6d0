"""Train, evaluate, predict, go on: what a user of an Estimator relies on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke

ROWS = 101  # a prime: the last batch is always a short one
QUIET = ke.RunConfig(progress="off")


def data(rows: int = ROWS):
    x = np.random.RandomState(0).normal(size=(rows, 4)).astype("float32")
    return x, (x[:, :1] - 2 * x[:, 1:2]).astype("float32")


def model(**options) -> keras.Model:
    keras.utils.set_random_seed(5)
    layers = keras.layers
    built = keras.Sequential(
        [
            layers.Input((4,), name="x"),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, name="y"),
        ]
    )
    built.compile(**({"optimizer": "adam", "loss": "mse", "metrics": ["mae"]} | options))
    return built


def estimator(folder: Path, **options) -> ke.Estimator:
    return ke.model_to_estimator(model(**options), model_dir=folder, config=QUIET)


def state(of: ke.Estimator) -> dict[str, np.ndarray]:
    return {name: of.get_variable_value(name) for name in of.get_variable_names()}


def shuffled_arrays():
    return ke.Arrays(*data(), batch_size=8, seed=3)


def shuffled_pipeline():
    return tf.data.Dataset.from_tensor_slices(data()).shuffle(ROWS, seed=3).repeat().batch(8)


def batches():
    x, y = data()
    return [(x[i : i + 8], y[i : i + 8]) for i in range(0, ROWS, 8)] * 4


@pytest.mark.parametrize("read", [shuffled_arrays, shuffled_pipeline, batches])
@pytest.mark.parametrize("stop", [1, 13, 29])
def test_a_run_that_stopped_and_went_on_has_the_bits_of_one_that_did_not(read, stop: int, tmp_path: Path) -> None:
    whole = estimator(tmp_path / "whole").train(read, max_steps=40)
    estimator(tmp_path / "parts").train(read, max_steps=stop)
    parts = estimator(tmp_path / "parts").train(read, max_steps=40)
    wanted, found = state(whole), state(parts)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_steps_count_from_here_and_max_steps_from_the_beginning(tmp_path: Path) -> None:
    trained = estimator(tmp_path).train(data(), steps=3).train(data(), steps=4)
    assert trained.evaluate(data())["global_step"] == 7
    assert trained.train(data(), max_steps=7).evaluate(data())["global_step"] == 7
    assert trained.train(data(), max_steps=9).evaluate(data())["global_step"] == 9


@pytest.mark.parametrize("steps", [{"steps": 1, "max_steps": 2}, {"steps": 0}, {"max_steps": -1}])
def test_steps_that_make_no_sense_are_refused(steps: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ke.ConfigError, match="steps"):
        estimator(tmp_path).train(data(), **steps)


def test_a_finite_dataset_is_one_pass_for_each_call(tmp_path: Path) -> None:
    trained = estimator(tmp_path)
    for passes in (1, 2, 3):
        trained.train(lambda: tf.data.Dataset.from_tensor_slices(data()).batch(10))
        assert trained.evaluate(data())["global_step"] == passes * 11


def test_other_data_are_read_from_their_beginning_and_it_is_said(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", "keras_estimator")
    trained = estimator(tmp_path).train(data(), steps=2)
    x, y = data(64)
    trained.train((x + 1, y), steps=2)
    assert "reading them from their beginning" in caplog.text


def test_the_data_can_be_restarted_by_configuration(tmp_path: Path) -> None:
    seen: list[float] = []

    class Peek(keras.layers.Layer):
        def call(self, x):
            return x

    def read():
        for number in range(20):
            seen.append(number)
            yield np.full((2, 4), number, "float32"), np.zeros((2, 1), "float32")

    config = ke.RunConfig(progress="off", data_position="restart")
    small = keras.Sequential([keras.Input((4,)), Peek(), keras.layers.Dense(1)])
    small.compile("sgd", "mse")
    trained = ke.model_to_estimator(small, model_dir=tmp_path, config=config)
    trained.train(read, steps=3)
    seen.clear()
    trained.train(read, steps=3)
    assert seen[0] == 0


def test_evaluate_weighs_examples_and_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    trained = estimator(tmp_path).train(data(), steps=20)
    before = state(trained)
    x, y = data()
    found = trained.evaluate(lambda: tf.data.Dataset.from_tensor_slices((x, y)).batch(50))  # 50, 50 and 1 rows
    predicted = trained.predictor()(x)
    assert found["loss"] == pytest.approx(float(np.mean((predicted - y) ** 2)), rel=1e-5)
    assert found["mae"] == pytest.approx(float(np.mean(np.abs(predicted - y))), rel=1e-5)
    assert all(type(value) is float for name, value in found.items() if name != "global_step")
    for name, value in state(trained).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_an_older_checkpoint_can_be_measured_and_the_newest_stays(tmp_path: Path) -> None:
    config = ke.RunConfig(progress="off", save_checkpoints_steps=5)
    trained = ke.model_to_estimator(model(), model_dir=tmp_path, config=config).train(data(), steps=5)
    old, old_result = trained.latest_checkpoint(), trained.evaluate(data())
    trained.train(data(), steps=5)
    new_result = trained.evaluate(data())
    assert trained.evaluate(data(), checkpoint_path=old) == old_result != new_result
    assert trained.evaluate(data()) == new_result
    with pytest.raises(ke.NoCheckpointError, match="no such checkpoint"):
        trained.evaluate(data(), checkpoint_path=tmp_path / "nowhere")


def test_results_are_written_for_tensorboard_under_the_name_of_the_evaluation(tmp_path: Path) -> None:
    trained = estimator(tmp_path).train(data(), steps=2)
    trained.evaluate(data())
    trained.evaluate(data(), name="valid")
    assert list((tmp_path / "eval").iterdir())
    assert list((tmp_path / "eval_valid").iterdir())
    assert list((tmp_path / "train").iterdir())


def test_predictions_come_by_output_name_for_each_example_or_batch(tmp_path: Path) -> None:
    trained = estimator(tmp_path)
    x, y = data()
    single = list(trained.predict((x, y)))
    assert len(single) == ROWS
    assert single[0]["y"].shape == (1,)
    whole = list(
        trained.predict(lambda: tf.data.Dataset.from_tensor_slices((x, y)).batch(50), yield_single_examples=False)
    )
    assert [len(batch["y"]) for batch in whole] == [50, 50, 1]
    np.testing.assert_allclose(np.stack([row["y"] for row in single]), trained.model.predict(x, verbose=0), rtol=1e-6)
    with pytest.raises(ke.ConfigError, match="no such output"):
        next(trained.predict(x, predict_keys="z"))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own save, under NumPy 2.4
def test_the_given_model_is_the_one_that_trains_and_stays_usable(tmp_path: Path) -> None:
    given = model()
    weights = given.get_weights()
    trained = ke.model_to_estimator(given, model_dir=tmp_path / "a", config=QUIET)
    assert trained.model is given
    for before, after in zip(weights, given.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    trained.train(data(), steps=10)
    x, y = data()
    assert given.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(trained.evaluate((x, y))["loss"])
    given.save(tmp_path / "model.keras")
    given.fit(x, y, verbose=0)
    again = ke.model_to_estimator(given, model_dir=tmp_path / "b", config=QUIET).train(data(), steps=1)
    assert again.evaluate(data())["global_step"] == 1


def test_an_uncompiled_model_predicts_and_says_what_it_needs_to_train(tmp_path: Path) -> None:
    bare = ke.model_to_estimator(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), model_dir=tmp_path)
    assert len(list(bare.predict(data()[0]))) == ROWS
    for call in (bare.train, bare.evaluate):
        with pytest.raises(ke.NotCompiledError, match="compile"):
            call(data())
    bare.model.compile("sgd", "mse")
    assert bare.train(data(), steps=1).evaluate(data())["global_step"] == 1


def test_a_subclassed_model_is_built_from_the_spec_and_restored_where_it_is_not_built_yet(tmp_path: Path) -> None:
    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.head = keras.layers.Dense(3), keras.layers.Dense(1)

        def call(self, x):
            return self.head(self.hidden(x))

    def fresh() -> keras.Model:
        built = Plain()
        built.compile("adam", "mse")
        return built

    trained = ke.model_to_estimator(fresh, model_dir=tmp_path, config=QUIET).train(data(), steps=5)
    again = ke.model_to_estimator(fresh, model_dir=tmp_path, config=QUIET)
    assert again.evaluate(data()) == trained.evaluate(data())
    trained.train(data(), max_steps=9)
    other = ke.model_to_estimator(fresh, model_dir=tmp_path / "no", config=QUIET)
    assert next(ke.model_to_estimator(fresh, model_dir=tmp_path).predict(data()[0])).keys() == {"output_1"}
    assert other.latest_checkpoint() is None


def test_a_checkpoint_of_another_model_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    estimator(tmp_path).train(data(), steps=1)
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1, name="y")])
    other.compile("adam", "mse")
    before = other.get_weights()
    with pytest.raises(ke.CheckpointMismatchError, match="another model") as caught:
        ke.model_to_estimator(other, model_dir=tmp_path).evaluate(data())
    assert "dense/kernel" in caught.value.found
    for was, now in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_a_damaged_checkpoint_is_passed_over_aloud(tmp_path: Path) -> None:
    config = ke.RunConfig(progress="off", save_checkpoints_steps=3)
    ke.model_to_estimator(model(), model_dir=tmp_path, config=config).train(data(), max_steps=6)
    (tmp_path / "checkpoints" / "step-6" / "state.safetensors").write_bytes(b"\0" * 100)
    again = ke.model_to_estimator(model(), model_dir=tmp_path, config=config)
    with pytest.warns(ke.EstimatorWarning, match="step-6"):
        assert again.evaluate(data())["global_step"] == 3


def test_a_loss_that_is_not_finite_ends_the_run_at_that_step(tmp_path: Path) -> None:
    x, y = data()
    y[50] = np.nan
    with pytest.raises(ke.NonFiniteLossError, match="at step 7"):
        estimator(tmp_path).train(ke.Arrays(x, y, batch_size=8, shuffle=False), steps=40)


@pytest.mark.parametrize(
    "nothing",
    [
        lambda: tf.data.Dataset.from_tensor_slices(data()).batch(10).take(0),
        lambda: iter(()),
        lambda: (np.zeros((0, 4), "float32"), np.zeros((0, 1), "float32")),
    ],
)
def test_data_without_a_batch_are_refused(nothing, tmp_path: Path) -> None:
    for call in (estimator(tmp_path).train, estimator(tmp_path).evaluate):
        with pytest.raises(ke.EmptyInputError):
            call(nothing)


def test_keras_callbacks_and_hooks_both_run(tmp_path: Path) -> None:
    class Steps(ke.Hook):
        cadence = ke.Cadence(every_steps=5)

        def __init__(self) -> None:
            self.steps: list[int] = []

        def after_steps(self, run: ke.Run) -> None:
            self.steps.append(run.step)
            if run.step == 20:
                run.stop("enough")

    hook, epochs = Steps(), []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append((epoch, set(logs))))
    trained = estimator(tmp_path).train(
        ke.Arrays(*data(), batch_size=16), steps=100, hooks=[hook], callbacks=[callback]
    )
    assert hook.steps == [5, 10, 15, 20]
    assert epochs[:2] == [(0, {"loss", "mae"}), (1, {"loss", "mae"})]
    assert trained.evaluate(data())["global_step"] == 20


def test_the_names_of_metrics_can_be_mapped(tmp_path: Path) -> None:
    named = ke.model_to_estimator(model(), model_dir=tmp_path, config=QUIET, metric_names_map={"mae": "error"})
    assert set(named.evaluate(data())) == {"loss", "error", "global_step"}
    wrong = ke.model_to_estimator(model(), model_dir=tmp_path, config=QUIET, metric_names_map={"acc": "a"})
    with pytest.raises(ke.ConfigError, match="metric_names_map"):
        wrong.evaluate(data())


TRAIN_FOR_LONG = """
import sys; sys.path.insert(0, {tests!r})
from test_estimator import data, model
import keras_estimator as ke
config = ke.RunConfig(progress="off", save_checkpoints_steps=1_000_000)
estimator = ke.model_to_estimator(model(), model_dir={folder!r}, config=config)
print("ready", flush=True)
estimator.train(data(), max_steps=10_000_000)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_process_that_is_asked_to_end_saves_first(number: int, status: int, tmp_path: Path) -> None:
    code = TRAIN_FOR_LONG.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while not list(tmp_path.glob("train/events*")):
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(60) in {status, 130}
    newest = estimator(tmp_path).latest_checkpoint()
    assert newest is not None
    assert int(Path(newest).name.removeprefix("step-")) > 0
