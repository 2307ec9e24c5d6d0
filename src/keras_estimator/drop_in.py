"""The names of tf.estimator in today's TensorFlow, and `keras-estimator run`, which puts them there for a script."""

from __future__ import annotations

import importlib
import runpy
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_estimator import conversion
from keras_estimator.console import show_log
from keras_estimator.engines.tensorflow import receivers, signatures, variable_reads
from keras_estimator.errors import ConfigError
from keras_estimator.model import numpy_calls
from keras_estimator.run_config import ModeKeys, RunConfig

_EXPORT = {
    name: getattr(receivers, name)
    for name in (
        "ServingInputReceiver",
        "TensorServingInputReceiver",
        "build_parsing_serving_input_receiver_fn",
        "build_raw_serving_input_receiver_fn",
    )
} | {name: getattr(signatures, name) for name in ("PredictOutput", "ClassificationOutput", "RegressionOutput")}


def install() -> None:
    """Make the old names present in this process: `tf.keras.estimator` and what there is of `tf.estimator`.

    A name of the original that is not there yet raises an AttributeError that says what there is.
    """
    of_keras = _module("tensorflow.keras.estimator", {"model_to_estimator": conversion.model_to_estimator})
    export = _module("tensorflow.estimator.export", _EXPORT)
    of_tensorflow = _module("tensorflow.estimator", {"RunConfig": RunConfig, "ModeKeys": ModeKeys, "export": export})
    for name in ("keras._tf_keras.keras", "keras.api._tf_keras.keras", "tensorflow.keras"):
        if (module := _module_called(name)) is not None:
            module.estimator = of_keras  # type: ignore[attr-defined]
    tf.estimator = of_tensorflow
    tf.compat.v1.estimator = of_tensorflow


def run_script(path: str | Path, args: Sequence[str] = ()) -> None:
    """Run an old script unchanged, as `python script.py args` would.

    The old names are there, NumPy works on tensors also while a model is built, and an integer
    tf.Variable may meet a float tensor.

    Args:
        path: The script.
        args: Its arguments.

    Raises:
        ConfigError: there is no such script.
        SystemExit: the script ended itself; whatever else it raises passes through, too.
    """
    script = Path(path)
    if not script.is_file():
        raise ConfigError(
            "there is no such script",
            found=str(path),
            expected="the path of a Python file",
            fix="ls *.py",
        )
    show_log()
    install()
    numpy_calls.install()
    variable_reads.install()
    argv, first = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [str(script), *args], str(script.resolve().parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path[0] = argv, first


def _module(name: str, names: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name, f"The names of {name} that keras-estimator has.")
    vars(module).update(names)

    def missing(wanted: str) -> Any:
        raise AttributeError(
            f"{name}.{wanted} is not there: TensorFlow 2.16 removed it, and keras-estimator has "
            f"{', '.join(names)}. Turn a Keras model into an Estimator with tf.keras.estimator.model_to_estimator."
        )

    vars(module)["__getattr__"] = missing
    sys.modules[name] = module
    return module


def _module_called(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
