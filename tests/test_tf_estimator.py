"""What `tf_estimator` offers does what its name did in the original; whole old programs run with it."""

from __future__ import annotations

import inspect
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator import tf_estimator
from keras_estimator.errors import ConfigError, EstimatorWarning
from keras_estimator.hooks.hook import Run
from keras_estimator.hooks.reporting import read_scalars

PROGRAMS = Path(__file__).parent / "data" / "tf_estimator"

# The parameters of the original, in its order.
SIGNATURES = {
    "RunConfig": "model_dir tf_random_seed save_summary_steps save_checkpoints_steps save_checkpoints_secs "
    "session_config keep_checkpoint_max keep_checkpoint_every_n_hours log_step_count_steps train_distribute "
    "device_fn protocol eval_distribute experimental_distribute experimental_max_worker_delay_secs "
    "session_creation_timeout_secs checkpoint_save_graph_def",
    "TrainSpec": "input_fn max_steps hooks saving_listeners",
    "EvalSpec": "input_fn steps name hooks exporters start_delay_secs throttle_secs",
    "WarmStartSettings": "ckpt_to_initialize_from vars_to_warm_start var_name_to_vocab_info var_name_to_prev_var_name",
    "VocabInfo": "new_vocab new_vocab_size num_oov_buckets old_vocab old_vocab_size backup_initializer axis",
    "train_and_evaluate": "estimator train_spec eval_spec",
    "Exporter.export": "self estimator export_path checkpoint_path eval_result is_the_final_export",
    "LatestExporter": "name serving_input_receiver_fn assets_extra as_text exports_to_keep",
    "FinalExporter": "name serving_input_receiver_fn assets_extra as_text",
    "BestExporter": "name serving_input_receiver_fn event_file_pattern compare_fn assets_extra as_text exports_to_keep",
    "CheckpointSaverHook": "checkpoint_dir save_secs save_steps saver checkpoint_basename scaffold listeners "
    "save_graph_def",
    "StepCounterHook": "every_n_steps every_n_secs output_dir summary_writer",
    "LoggingTensorHook": "tensors every_n_iter every_n_secs at_end formatter",
    "StopAtStepHook": "num_steps last_step",
    "NanTensorHook": "loss_tensor fail_on_nan_loss",
    "export.ServingInputReceiver": "features receiver_tensors receiver_tensors_alternatives",
    "export.TensorServingInputReceiver": "features receiver_tensors receiver_tensors_alternatives",
    "export.build_parsing_serving_input_receiver_fn": "feature_spec default_batch_size",
    "export.build_raw_serving_input_receiver_fn": "features default_batch_size",
    "experimental.InMemoryEvaluatorHook": "estimator input_fn steps hooks name every_n_iter",
    "experimental.make_early_stopping_hook": "estimator should_stop_fn run_every_secs run_every_steps",
    "experimental.stop_if_higher_hook": "estimator metric_name threshold eval_dir min_steps run_every_secs "
    "run_every_steps",
    "experimental.stop_if_lower_hook": "estimator metric_name threshold eval_dir min_steps run_every_secs "
    "run_every_steps",
    "experimental.stop_if_no_increase_hook": "estimator metric_name max_steps_without_increase eval_dir min_steps "
    "run_every_secs run_every_steps",
    "experimental.stop_if_no_decrease_hook": "estimator metric_name max_steps_without_decrease eval_dir min_steps "
    "run_every_secs run_every_steps",
    "experimental.make_stop_at_checkpoint_step_hook": "estimator last_step wait_after_file_check_secs",
}


def reached(name: str) -> Any:
    found: Any = tf_estimator
    for part in name.split("."):
        found = getattr(found, part)
    return found


def data() -> ke.Arrays:
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    return ke.Arrays(x, x[:, :1], batch_size=8)


def estimator(folder: Path, **options: Any) -> ke.Estimator:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return ke.model_to_estimator(model, config=ke.RunConfig(folder, progress="off", **options))


def run_at(step: int, **metrics: float) -> Run:
    run = Run(model=None, model_dir=Path("runs"), step=step, first_step=step, last_step=None, save=Path)
    run.metrics = metrics
    return run


@pytest.mark.parametrize(("name", "parameters"), SIGNATURES.items(), ids=SIGNATURES)
def test_positional_arguments_have_the_order_of_the_original(name: str, parameters: str):
    found = inspect.signature(reached(name)).parameters.values()
    positional = [parameter.name for parameter in found if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional[: len(parameters.split())] == parameters.split()


@pytest.mark.parametrize("module", [tf_estimator, tf_estimator.export, tf_estimator.experimental], ids=str)
def test_every_name_is_listed_and_leads_to_something_documented(module: Any):
    assert dir(module) == module.__all__ == sorted(module.__all__)
    assert all(getattr(module, name).__doc__ for name in module.__all__)


def test_hooks_specs_and_errors_start_no_backend():
    program = """
import sys
import keras_estimator.tf_estimator as tf_estimator
from keras_estimator.tf_estimator.experimental import InMemoryEvaluatorHook, stop_if_lower_hook
from keras_estimator.tf_estimator import EvalSpec, Estimator, export
assert not isinstance(EvalSpec(lambda: None), Estimator)
print({"tensorflow", "keras", "numpy", "jax", "torch"} & {*sys.modules}, tf_estimator.train_and_evaluate.__module__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set() keras_estimator.training\n"


def test_a_missing_name_says_what_to_use_instead():
    with pytest.raises(AttributeError, match=r"(?s)tf\.estimator\.DNNClassifier is not there.*build the network"):
        tf_estimator.DNNClassifier  # noqa: B018 - reading it is the test
    with pytest.raises(ImportError, match=r"(?s)experimental\.RNNEstimator is not there.*build the network"):
        exec("from keras_estimator.tf_estimator.experimental import RNNEstimator")


def test_estimators_are_estimators(tmp_path: Path):
    class Mine(tf_estimator.Estimator):
        pass

    made = estimator(tmp_path)
    assert isinstance(made, tf_estimator.Estimator)
    assert not isinstance(made.model, tf_estimator.Estimator)
    assert not isinstance(made, Mine)


def test_a_model_fn_is_refused_with_the_way_out():
    def model_fn(features: Any, labels: Any, mode: Any) -> None: ...

    for make in (
        lambda: tf_estimator.Estimator(model_fn, "runs", params={"units": 3}),
        lambda: tf_estimator.Estimator(model_fn=model_fn, config=tf_estimator.RunConfig()),
    ):
        with pytest.raises(ConfigError, match=r"(?s)not of a model_fn.*Estimator\(model_fn, .*train_step") as caught:
            make()
    assert "keras_estimator.model_to_estimator(keras_model=model)" in caught.value.fix


@pytest.mark.parametrize("name", ["loss", "loss:0"])
def test_a_nan_hook_on_the_loss_is_our_guard(name: str):
    guard = tf_estimator.NanTensorHook(name)
    with pytest.raises(tf_estimator.NanLossDuringTrainingError):
        guard.after_steps(run_at(3, loss=float("nan")))
    run = run_at(3, loss=float("nan"))
    tf_estimator.NanTensorHook(name, fail_on_nan_loss=False).after_steps(run)
    assert run.stop_reason == "the loss is nan at step 3"


def test_a_nan_hook_on_something_else_says_that_it_watches_the_loss():
    with pytest.warns(EstimatorWarning, match="watches the loss of the model and not 'dense/kernel:0'") as caught:
        tf_estimator.NanTensorHook("dense/kernel:0")
    assert caught[0].filename == __file__


def test_a_saver_hook_takes_the_place_of_the_config(tmp_path: Path):
    told = []
    listener = SimpleNamespace(
        begin=lambda: None,
        before_save=lambda _, step: told.append(step),
        after_save=lambda *_: None,
        end=lambda *_: None,
    )
    with pytest.warns(EstimatorWarning, match="to the model_dir of the Estimator, whatever the folder") as caught:
        hook = tf_estimator.CheckpointSaverHook(tmp_path, None, 4, listeners=[listener])
    assert caught[0].filename == __file__
    estimator(tmp_path, save_checkpoints_steps=3).train(data(), [hook], max_steps=10)
    assert told == [0, 4, 8, 10]


@pytest.mark.parametrize(
    ("hook", "options", "problem"),
    [
        ("CheckpointSaverHook", {"checkpoint_dir": "runs"}, "needs one clock"),
        ("CheckpointSaverHook", {"checkpoint_dir": "runs", "save_secs": 9, "save_steps": 9}, "needs one clock"),
        ("CheckpointSaverHook", {"checkpoint_dir": "runs", "save_steps": 9, "saver": object()}, "cannot use a `saver`"),
        ("StepCounterHook", {"summary_writer": object()}, "cannot use a `summary_writer`"),
        ("StepCounterHook", {"every_n_secs": 3}, "two clocks"),
        ("LoggingTensorHook", {"tensors": ["loss"]}, "never called"),
        ("LoggingTensorHook", {"tensors": ["loss"], "every_n_iter": 1, "every_n_secs": 1}, "two clocks"),
        ("LoggingTensorHook", {"tensors": {"x": np.zeros(3)}, "every_n_iter": 1}, "metrics by name"),
    ],
)
def test_what_a_hook_cannot_do_is_a_clear_error(hook: str, options: dict[str, Any], problem: str):
    with pytest.raises(ConfigError, match=problem):
        reached(hook)(**options)


def test_a_step_counter_logs_and_writes(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "keras_estimator"):
        hook = tf_estimator.StepCounterHook(5, output_dir=str(tmp_path / "speed"))
        estimator(tmp_path).train(data(), [hook], max_steps=10)
    assert list(read_scalars(tmp_path / "speed")) == [5, 10]
    assert len([text for text in caplog.messages if text.startswith("global_step/sec: ")]) == 2


def test_a_logging_hook_logs_metrics_by_the_names_it_was_given(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "keras_estimator"):
        made = estimator(tmp_path)
        made.train(data(), [tf_estimator.LoggingTensorHook({"loss": "Mean:0", "step": "global_step"}, 4)], max_steps=10)
        shown = tf_estimator.LoggingTensorHook(["mae:0"], at_end=True, formatter=lambda values: f"! {[*values]}")
        made.train(data(), [shown], max_steps=12)
    lines = [text for text in caplog.messages if text.startswith(("loss = ", "!"))]
    assert [re.sub(r"[\d.]+,", "#,", text) for text in lines] == [
        "loss = #, step = 4",
        "loss = #, step = 8",
        "! ['mae:0']",
    ]


def test_a_logging_hook_knows_no_other_tensors(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"(?s)does not measure.*found: +'dense/kernel:0'.*one of loss, mae"):
        estimator(tmp_path).train(data(), [tf_estimator.LoggingTensorHook(["dense/kernel:0"], 2)], max_steps=4)


def test_an_in_memory_evaluator_evaluates_first_then_every_so_often_and_last(tmp_path: Path):
    made = estimator(tmp_path)
    hook = tf_estimator.experimental.InMemoryEvaluatorHook(made, data, 2, None, "test", 4)
    stop = tf_estimator.experimental.make_stop_at_checkpoint_step_hook(made, 10)
    made.train(data(), [hook, stop], max_steps=20)
    assert list(read_scalars(made.eval_dir("test"))) == [0, 4, 8, 10]


def program(name: str, *args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keras_estimator.cli", "run", str(PROGRAMS / f"{name}.py"), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done


def exports(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/saved_model.pb"))


@pytest.mark.slow
def test_an_old_program_stops_early_and_exports_its_latest_model(tmp_path: Path):
    done = program("iris", "--model_dir", "runs", folder=tmp_path)
    accuracy = float(re.search(r"Eval result: .*'accuracy': ([\d.]+)", done.stdout)[1])
    assert accuracy > 0.9
    assert re.search(r"trained to step \d00: `accuracy` is .*, above 0.9", done.stderr)
    (export,) = exports(tmp_path / "runs" / "export" / "exporter")
    assert f"Exported to: ['{export.relative_to(tmp_path)}']" in done.stdout
    assert re.search(r"Latest checkpoint: step-\d00\n", done.stdout)
    assert len(re.findall(r"^[012] [012] [012]$", done.stdout, re.M)) == 3


@pytest.mark.slow
def test_an_old_program_exports_its_best_model(tmp_path: Path):
    done = program("cancer", "runs", folder=tmp_path)
    assert re.findall(r"about to save at (\d+)|done at (\d+)", done.stdout) == [
        *[(step, "") for step in ("0", "20", "40", "45")],
        ("", "45"),
    ]
    assert float(re.search(r"AUC ([\d.]+) after 45 steps", done.stdout)[1]) > 0.9
    early, late = exports(tmp_path / "runs" / "export" / "best")
    assert f"exported to ['{late.relative_to(tmp_path)}']" in done.stdout
    assert early.name < late.name
    assert re.findall(r"^loss = [\d.]+, step = (\d+)$", done.stderr, re.M) == ["20", "40"]
    assert list(read_scalars(tmp_path / "runs")) == [20, 40]


@pytest.mark.slow
def test_a_program_with_changed_imports_needs_nothing_of_tensorflow_replaced(tmp_path: Path):
    command = [sys.executable, str(PROGRAMS / "waves.py"), "runs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    (final,) = exports(tmp_path / "runs" / "export" / "final")
    written = json.loads((tmp_path / "runs" / "export" / "weights" / "metrics.json").read_text())
    printed = ({**written, "global_step": 70}, ["runs/export/weights", str(final.relative_to(tmp_path))])
    assert done.stdout.splitlines()[-1] == str(printed)
    assert list(read_scalars(tmp_path / "runs" / "eval_test")) == [0, 30, 60, 70]
    assert list(read_scalars(tmp_path / "runs" / "eval")) == [40, 70]
