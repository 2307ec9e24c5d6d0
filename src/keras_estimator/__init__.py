"""Any Keras model, as it is, becomes an Estimator: trains, resumes, evaluates, predicts and exports.

The names below are all there is to use; every other module is an inside of one of them. Each is
imported when it is first asked for, so that `import keras_estimator` starts neither Keras nor a backend,
but for a process that TF_CONFIG makes part of a cluster.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_estimator.conversion import add_metrics as add_metrics
    from keras_estimator.conversion import model_to_estimator as model_to_estimator
    from keras_estimator.doctor.diagnose import diagnose as diagnose
    from keras_estimator.doctor.findings import Finding as Finding
    from keras_estimator.doctor.report import Report as Report
    from keras_estimator.engines.tensorflow.receivers import ServingInputReceiver as ServingInputReceiver
    from keras_estimator.engines.tensorflow.receivers import (
        build_parsing_serving_input_receiver_fn as build_parsing_serving_input_receiver_fn,
    )
    from keras_estimator.engines.tensorflow.receivers import (
        build_raw_serving_input_receiver_fn as build_raw_serving_input_receiver_fn,
    )
    from keras_estimator.errors import BlueprintError as BlueprintError
    from keras_estimator.errors import CheckpointError as CheckpointError
    from keras_estimator.errors import CheckpointMismatchError as CheckpointMismatchError
    from keras_estimator.errors import ConfigError as ConfigError
    from keras_estimator.errors import CorruptCheckpointError as CorruptCheckpointError
    from keras_estimator.errors import EmptyInputError as EmptyInputError
    from keras_estimator.errors import EstimatorError as EstimatorError
    from keras_estimator.errors import EstimatorWarning as EstimatorWarning
    from keras_estimator.errors import ExportError as ExportError
    from keras_estimator.errors import FixError as FixError
    from keras_estimator.errors import InputError as InputError
    from keras_estimator.errors import ModelDirInUseError as ModelDirInUseError
    from keras_estimator.errors import ModelError as ModelError
    from keras_estimator.errors import NoCheckpointError as NoCheckpointError
    from keras_estimator.errors import NonFiniteLossError as NonFiniteLossError
    from keras_estimator.errors import NotCompiledError as NotCompiledError
    from keras_estimator.errors import NumpyCallError as NumpyCallError
    from keras_estimator.errors import WorkerLostError as WorkerLostError
    from keras_estimator.errors import WorkersDifferError as WorkersDifferError
    from keras_estimator.estimator import Estimator as Estimator
    from keras_estimator.exporters import BestExporter as BestExporter
    from keras_estimator.exporters import Exporter as Exporter
    from keras_estimator.exporters import FinalExporter as FinalExporter
    from keras_estimator.exporters import LatestExporter as LatestExporter
    from keras_estimator.hooks.early_stopping import EarlyStopping as EarlyStopping
    from keras_estimator.hooks.early_stopping import make_early_stopping_hook as make_early_stopping_hook
    from keras_estimator.hooks.early_stopping import stop_if_higher_hook as stop_if_higher_hook
    from keras_estimator.hooks.early_stopping import stop_if_lower_hook as stop_if_lower_hook
    from keras_estimator.hooks.early_stopping import stop_if_no_decrease_hook as stop_if_no_decrease_hook
    from keras_estimator.hooks.early_stopping import stop_if_no_increase_hook as stop_if_no_increase_hook
    from keras_estimator.hooks.evaluation import EvaluationHook as EvaluationHook
    from keras_estimator.hooks.hook import Cadence as Cadence
    from keras_estimator.hooks.hook import Evaluation as Evaluation
    from keras_estimator.hooks.hook import Hook as Hook
    from keras_estimator.hooks.hook import Run as Run
    from keras_estimator.hooks.keeping import KeepBest as KeepBest
    from keras_estimator.hooks.progress import ProgressBar as ProgressBar
    from keras_estimator.hooks.reporting import MetricsLogger as MetricsLogger
    from keras_estimator.hooks.reporting import StepCounter as StepCounter
    from keras_estimator.hooks.reporting import SummaryWriter as SummaryWriter
    from keras_estimator.hooks.saving import CheckpointSaver as CheckpointSaver
    from keras_estimator.hooks.stopping import NanGuard as NanGuard
    from keras_estimator.hooks.stopping import StopAtStep as StopAtStep
    from keras_estimator.inputs import Arrays as Arrays
    from keras_estimator.model.blueprint import Blueprint as Blueprint
    from keras_estimator.model.numpy_calls import numpy_on_tensors as numpy_on_tensors
    from keras_estimator.run_config import ModeKeys as ModeKeys
    from keras_estimator.run_config import RunConfig as RunConfig
    from keras_estimator.specs import EvalSpec as EvalSpec
    from keras_estimator.specs import TrainSpec as TrainSpec
    from keras_estimator.training import train_and_evaluate as train_and_evaluate
    from keras_estimator.warm_start import VocabInfo as VocabInfo
    from keras_estimator.warm_start import WarmStartSettings as WarmStartSettings

__version__ = "0.1.0"

# The same names again, for Python; tests/test_public_names.py keeps the two lists equal.
# No module of this folder may be called like a public name: once imported, it would stand in its place.
_NAMES_BY_MODULE = {
    "conversion": ("add_metrics", "model_to_estimator"),
    "doctor.diagnose": ("diagnose",),
    "doctor.findings": ("Finding",),
    "doctor.report": ("Report",),
    "engines.tensorflow.receivers": (
        "ServingInputReceiver",
        "build_parsing_serving_input_receiver_fn",
        "build_raw_serving_input_receiver_fn",
    ),
    "errors": (
        "BlueprintError",
        "CheckpointError",
        "CheckpointMismatchError",
        "ConfigError",
        "CorruptCheckpointError",
        "EmptyInputError",
        "EstimatorError",
        "EstimatorWarning",
        "ExportError",
        "FixError",
        "InputError",
        "ModelDirInUseError",
        "ModelError",
        "NoCheckpointError",
        "NonFiniteLossError",
        "NotCompiledError",
        "NumpyCallError",
        "WorkerLostError",
        "WorkersDifferError",
    ),
    "estimator": ("Estimator",),
    "exporters": ("BestExporter", "Exporter", "FinalExporter", "LatestExporter"),
    "hooks.early_stopping": (
        "EarlyStopping",
        "make_early_stopping_hook",
        "stop_if_higher_hook",
        "stop_if_lower_hook",
        "stop_if_no_decrease_hook",
        "stop_if_no_increase_hook",
    ),
    "hooks.evaluation": ("EvaluationHook",),
    "hooks.hook": ("Cadence", "Evaluation", "Hook", "Run"),
    "hooks.keeping": ("KeepBest",),
    "hooks.progress": ("ProgressBar",),
    "hooks.reporting": ("MetricsLogger", "StepCounter", "SummaryWriter"),
    "hooks.saving": ("CheckpointSaver",),
    "hooks.stopping": ("NanGuard", "StopAtStep"),
    "inputs": ("Arrays",),
    "model.blueprint": ("Blueprint",),
    "model.numpy_calls": ("numpy_on_tensors",),
    "run_config": ("ModeKeys", "RunConfig"),
    "specs": ("EvalSpec", "TrainSpec"),
    "training": ("train_and_evaluate",),
    "warm_start": ("VocabInfo", "WarmStartSettings"),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = sorted(_HOMES)


if os.environ.get("TF_CONFIG", "").strip():
    # TensorFlow can become a member of a cluster only before its first tensor.
    importlib.import_module(f"{__name__}.engines.engine").join_cluster(os.environ)
    importlib.import_module(f"{__name__}.errors").end_with_own_status()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
