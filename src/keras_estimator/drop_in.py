"""The names of tf.estimator in today's TensorFlow, and `keras-estimator run`, which puts them there for a script."""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_estimator import tf_estimator
from keras_estimator.console import show_log
from keras_estimator.engines.tensorflow import variable_reads
from keras_estimator.errors import ConfigError, show_and_end
from keras_estimator.model import numpy_calls


@functools.cache
def install() -> None:
    """Make the old names present in this process: `tf.keras.estimator`, and `tf_estimator` as `tf.estimator`.

    A name of the original that is not there raises an error that says what to use instead.
    """
    of_keras = tf_estimator.module_of("tf.keras.estimator", {"model_to_estimator": "conversion"})
    sys.modules["tensorflow.keras.estimator"] = of_keras
    sys.modules["tensorflow.estimator"] = tf_estimator
    for part in ("experimental", "export"):
        sys.modules[f"tensorflow.estimator.{part}"] = getattr(tf_estimator, part)
    # Two copies of the same module: one is what `tf.keras` loads, the other what `import tensorflow.keras` finds.
    for name in ("tensorflow.keras", "keras._tf_keras.keras"):
        _put(name, of_keras)
    for name in ("tensorflow", "tensorflow.compat.v1", "tensorflow.compat.v2"):
        _put(name, tf_estimator)


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


def _put(name: str, module: types.ModuleType) -> None:
    vars(importlib.import_module(name))["estimator"] = module


def _show(error: BaseException, script: str, show: Any, kind: Any, value: Any, trace: Any) -> None:
    """Show an exception as Python does, without the frames of ours that ran the script, and end with its status."""
    at: BaseException | None = value
    while at is not None and value is error:
        at.__traceback__ = _from_script(at.__traceback__, script)
        at = at.__cause__ or at.__context__
    # Here and not only where the cluster is joined: the script may have put an excepthook of its own before that.
    show_and_end(show, kind, value, value.__traceback__ if value is error else trace)


def _from_script(trace: types.TracebackType | None, script: str) -> types.TracebackType | None:
    places = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace)]
    for _ in range(places.index(script) if script in places else len(places)):
        trace = trace.tb_next if trace is not None else None
    return trace
