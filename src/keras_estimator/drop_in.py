"""The names of tf.estimator in today's TensorFlow, and `keras-estimator run`, which puts them there for a script."""

from __future__ import annotations

import functools
import importlib
import re
import runpy
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_estimator import conversion
from keras_estimator.console import show_log
from keras_estimator.engines.tensorflow import receivers, signatures, variable_reads
from keras_estimator.errors import ConfigError, EstimatorError, NonFiniteLossError
from keras_estimator.hooks.saving import SavingListener
from keras_estimator.hooks.stopping import StopAtStep
from keras_estimator.model import numpy_calls
from keras_estimator.model.user_lines import instruction_of
from keras_estimator.run_config import ModeKeys, RunConfig

_ESTIMATOR = {
    "CheckpointSaverListener": SavingListener,
    "ModeKeys": ModeKeys,
    "NanLossDuringTrainingError": NonFiniteLossError,
    "RunConfig": RunConfig,
    "StopAtStepHook": StopAtStep,
}
_EXPORT = {
    "ClassificationOutput": signatures.ClassificationOutput,
    "PredictOutput": signatures.PredictOutput,
    "RegressionOutput": signatures.RegressionOutput,
    "ServingInputReceiver": receivers.ServingInputReceiver,
    "TensorServingInputReceiver": receivers.TensorServingInputReceiver,
    "build_parsing_serving_input_receiver_fn": receivers.build_parsing_serving_input_receiver_fn,
    "build_raw_serving_input_receiver_fn": receivers.build_raw_serving_input_receiver_fn,
}
# What to use for the names that are not there; the first pattern that fits counts.
_INSTEAD = (
    (
        r"Estimator|EstimatorSpec",
        "write what model_fn does as a keras.Model with its own train_step, and convert it: "
        "tf.keras.estimator.model_to_estimator(keras_model=model)",
    ),
    (
        r".*(Classifier|Regressor|Estimator)|LinearSDCA|KMeans|.*logit_fn.*",
        "build the network with keras.layers, compile it, and convert it: "
        "tf.keras.estimator.model_to_estimator(keras_model=model)",
    ),
    (r".*Head", "state loss and metrics in model.compile(optimizer=..., loss=..., metrics=[...])"),
    (r"add_metrics", "state the metrics in model.compile(metrics=[...])"),
    (
        r"TrainSpec|EvalSpec|train_and_evaluate|InMemoryEvaluatorHook",
        "estimator.train(input_fn, max_steps=1000), then estimator.evaluate(input_fn), in turn",
    ),
    (r".*Exporter", "estimator.export_saved_model(folder, serving_input_receiver_fn) after train or evaluate"),
    (r"WarmStartSettings|VocabInfo", "load the weights before the model is converted: model.load_weights(path)"),
    (r"CheckpointSaverHook", "tf.estimator.RunConfig(save_checkpoints_steps=1000)"),
    (r"StepCounterHook|LoggingTensorHook", "tf.estimator.RunConfig(log_step_count_steps=100)"),
    (r"SummarySaverHook", "tf.estimator.RunConfig(save_summary_steps=100)"),
    (r"NanTensorHook", "leave it out: a loss that is NaN ends the training by itself"),
    (r"ProfilerHook", "estimator.train(..., callbacks=[keras.callbacks.TensorBoard(folder, profile_batch=(10, 20))])"),
    (
        r"stop_if_.*|make_early_stopping_hook|make_stop_at_checkpoint_step_hook",
        "estimator.train(..., max_steps=1000), and stop calling it when estimator.evaluate gets no better",
    ),
    (r"Session.*|SecondOrStepTimer|.*Hook", "override the moments you need in a class of keras_estimator.Hook"),
    (r".*parse_example_spec", "write the dict by hand: {'x': tf.io.FixedLenFeature([4], tf.float32)}"),
    (
        r".*supervised_input_receiver_fn|.*Output",
        "estimator.export_saved_model(folder), whose signature is the model's",
    ),
    (r"inputs|.*_input_fn", "give the arrays or the DataFrame itself: estimator.train((x, y))"),
    (r"tpu", "run on CPUs or GPUs: tf.estimator.RunConfig()"),
)


@functools.cache
def install() -> None:
    """Make the old names present in this process: `tf.keras.estimator` and what there is of `tf.estimator`.

    A name of the original that is not there yet raises an error that says what to use instead.
    """
    of_keras = _module("tensorflow.keras.estimator", {"model_to_estimator": conversion.model_to_estimator})
    parts = {
        "experimental": _module("tensorflow.estimator.experimental", {}),
        "export": _module("tensorflow.estimator.export", _EXPORT),
    }
    of_tensorflow = _module("tensorflow.estimator", _ESTIMATOR | parts)
    # Two copies of the same module: one is what `tf.keras` loads, the other what `import tensorflow.keras` finds.
    for name in ("tensorflow.keras", "keras._tf_keras.keras"):
        _put(name, of_keras)
    for name in ("tensorflow", "tensorflow.compat.v1", "tensorflow.compat.v2"):
        _put(name, of_tensorflow)


def run_script(path: str | Path, args: Sequence[str] = ()) -> None:
    """Run an old script unchanged, as `python script.py args` would.

    The old names are there, NumPy works on tensors also while a model is built, and an integer
    tf.Variable may meet a floating tensor.

    Args:
        path: The script.
        args: Its arguments.

    Raises:
        ConfigError: there is no such script.
        SystemExit: the script ended itself. Whatever else it raises passes through too; if nobody
            catches it, Python shows where it happened from the script on.
    """
    script = Path(path)
    if not script.is_file():
        raise ConfigError(
            "there is no such script",
            found=str(path),
            expected="the path of a Python file",
            fix="keras-estimator run path/to/script.py",
        )
    show_log()
    install()
    numpy_calls.install()
    variable_reads.install()
    argv, first = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [str(path), *args], str(script.resolve().parent)
    try:
        with numpy_calls.explained():
            runpy.run_path(str(path), run_name="__main__")
    except Exception as error:
        sys.excepthook = functools.partial(_show, error, str(path), sys.excepthook)
        raise
    finally:
        sys.argv, sys.path[0] = argv, first


def _module(name: str, names: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name, f"The names of {name} that keras-estimator has.")
    vars(module).update(names)

    def missing(wanted: str) -> Any:
        instead = (advice for pattern, advice in _INSTEAD if re.fullmatch(pattern, wanted))
        text = EstimatorError(
            f"{name}.{wanted} is not there",
            found=f"TensorFlow {tf.__version__}; tf.estimator was removed in 2.16",
            expected=f"what keras-estimator puts in its place: {', '.join(sorted(names)) or 'nothing yet'}",
            fix=next(instead, "tf.keras.estimator.model_to_estimator turns any Keras model into an Estimator"),
        )
        # `from module import name` forgets the text of an AttributeError, but not that of an ImportError.
        caller = sys._getframe(1)  # noqa: SLF001 - the documented way to look at the caller
        kind = ImportError if instruction_of(caller) == "IMPORT_FROM" else AttributeError
        raise kind(str(text))

    vars(module)["__getattr__"] = missing
    sys.modules[name] = module
    return module


def _put(name: str, module: types.ModuleType) -> None:
    vars(importlib.import_module(name))["estimator"] = module


def _show(error: BaseException, script: str, show: Any, kind: Any, value: Any, trace: Any) -> None:
    """Show an exception as Python does, without the frames of ours that ran the script."""
    at: BaseException | None = value
    while at is not None and value is error:
        at.__traceback__ = _from_script(at.__traceback__, script)
        at = at.__cause__ or at.__context__
    show(kind, value, value.__traceback__ if value is error else trace)


def _from_script(trace: types.TracebackType | None, script: str) -> types.TracebackType | None:
    places = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace)]
    for _ in range(places.index(script) if script in places else len(places)):
        trace = trace.tb_next if trace is not None else None
    return trace
