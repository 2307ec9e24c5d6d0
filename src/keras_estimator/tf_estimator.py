"""The names of tf.estimator, for a file that used it with Keras models: `from keras_estimator import tf_estimator`.

`keras-estimator run` puts this very module into TensorFlow as `tf.estimator`. Arguments have the order of the
original. A name of the original that is not here raises an error that says what to use instead. What can be had
without TensorFlow starts none.
"""

from __future__ import annotations

import abc
import importlib
import logging
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_estimator.errors import ConfigError, EstimatorError, EstimatorWarning
from keras_estimator.errors import NonFiniteLossError as NanLossDuringTrainingError
from keras_estimator.exporters import BestExporter, Exporter, FinalExporter, LatestExporter
from keras_estimator.hooks.evaluation import EvaluationHook
from keras_estimator.hooks.hook import Cadence, Hook, Run
from keras_estimator.hooks.reporting import StepCounter, write_scalars
from keras_estimator.hooks.saving import CheckpointSaver
from keras_estimator.hooks.saving import SavingListener as CheckpointSaverListener
from keras_estimator.hooks.stopping import NanGuard
from keras_estimator.hooks.stopping import StopAtStep as StopAtStepHook
from keras_estimator.model.user_lines import instruction_of
from keras_estimator.run_config import ModeKeys, RunConfig
from keras_estimator.specs import EvalSpec, TrainSpec

__all__ = [
    "BestExporter",
    "CheckpointSaverHook",
    "CheckpointSaverListener",
    "Estimator",
    "EvalSpec",
    "Exporter",
    "FinalExporter",
    "LatestExporter",
    "LoggingTensorHook",
    "ModeKeys",
    "NanLossDuringTrainingError",
    "NanTensorHook",
    "RunConfig",
    "StepCounterHook",
    "StopAtStepHook",
    "TrainSpec",
    "VocabInfo",
    "WarmStartSettings",
    "add_metrics",
    "experimental",
    "export",
    "train_and_evaluate",
]

_LOG = logging.getLogger("keras_estimator")
# What starts TensorFlow or NumPy is imported when it is first asked for.
_LATER = {"add_metrics": "conversion", "train_and_evaluate": "training"}
_LATER |= dict.fromkeys(("VocabInfo", "WarmStartSettings"), "warm_start")
_EXPERIMENTAL = {
    "InMemoryEvaluatorHook": "tf_estimator",
    "make_early_stopping_hook": "hooks.early_stopping",
    "make_stop_at_checkpoint_step_hook": "tf_estimator",
    "stop_if_higher_hook": "hooks.early_stopping",
    "stop_if_lower_hook": "hooks.early_stopping",
    "stop_if_no_decrease_hook": "hooks.early_stopping",
    "stop_if_no_increase_hook": "hooks.early_stopping",
}
_EXPORT = {
    "ClassificationOutput": "engines.tensorflow.signatures",
    "PredictOutput": "engines.tensorflow.signatures",
    "RegressionOutput": "engines.tensorflow.signatures",
    "ServingInputReceiver": "engines.tensorflow.receivers",
    "TensorServingInputReceiver": "engines.tensorflow.receivers",
    "build_parsing_serving_input_receiver_fn": "engines.tensorflow.receivers",
    "build_raw_serving_input_receiver_fn": "engines.tensorflow.receivers",
}
_OWN_STEP = "write what model_fn does as a keras.Model with its own train_step, and convert it: "
_CONVERT = "keras_estimator.model_to_estimator(keras_model=model)"
# What to use for the names that are not there; the first pattern that fits counts.
_INSTEAD = (
    (r"EstimatorSpec", _OWN_STEP + _CONVERT),
    (
        r".*(Classifier|Regressor|Estimator)|LinearSDCA|KMeans|.*logit_fn.*",
        f"build the network with keras.layers, compile it, and convert it: {_CONVERT}",
    ),
    (r".*Head", "state loss and metrics in model.compile(optimizer=..., loss=..., metrics=[...])"),
    (r"SummarySaverHook", "RunConfig(save_summary_steps=100)"),
    (r"ProfilerHook", "estimator.train(..., callbacks=[keras.callbacks.TensorBoard(folder, profile_batch=(10, 20))])"),
    (r"Session.*|SecondOrStepTimer|.*Hook", "override the moments you need in a class of keras_estimator.Hook"),
    (r".*parse_example_spec", "write the dict by hand: {'x': tf.io.FixedLenFeature([4], tf.float32)}"),
    (r".*supervised_input_receiver_fn|.*Output", "estimator.export_saved_model(folder): the signature is the model's"),
    (r"inputs|.*_input_fn", "give the arrays or the DataFrame itself: estimator.train((x, y))"),
    (r"tpu", "run on CPUs or GPUs: RunConfig()"),
)

if TYPE_CHECKING:
    from keras_estimator.conversion import add_metrics
    from keras_estimator.estimator import Estimator
    from keras_estimator.training import train_and_evaluate
    from keras_estimator.warm_start import VocabInfo, WarmStartSettings
else:

    class Estimator(abc.ABC):  # noqa: B024 - it stands for a class that is imported only when a model is converted
        """What `model_to_estimator` returns, for `isinstance` and annotations; it is not made of a model_fn here."""

        def __init__(self, model_fn: Any = None, *args: Any, **options: Any) -> None:
            del args, options
            raise ConfigError(
                "an Estimator is made of a Keras model, not of a model_fn",
                found=f"Estimator({getattr(model_fn, '__name__', repr(model_fn))}, ...)",
                expected="a keras.Model",
                fix=_OWN_STEP + _CONVERT,
            )

        @classmethod
        def __subclasshook__(cls, other: type) -> Any:
            there = sys.modules.get("keras_estimator.estimator")
            if cls is not Estimator or there is None:
                return NotImplemented
            return issubclass(other, there.Estimator)


def NanTensorHook(  # noqa: N802 - the original's name
    loss_tensor: Any,
    fail_on_nan_loss: bool = True,  # noqa: FBT001, FBT002 - the original's signature
) -> NanGuard:
    """Return a hook that ends the training when the loss of the model is NaN or infinite.

    Args:
        loss_tensor: Has no meaning unless it is the loss; a warning says so.
        fail_on_nan_loss: Whether to raise a NanLossDuringTrainingError.
    """
    if _metric_of(loss_tensor) != "loss":
        text = (
            f"NanTensorHook watches the loss of the model and not {loss_tensor!r}, as there is no graph; "
            'NanTensorHook("loss") silences this'
        )
        warnings.warn(text, EstimatorWarning, stacklevel=2)
    return NanGuard(fail_on_nan_loss=fail_on_nan_loss)


def CheckpointSaverHook(  # noqa: N802, PLR0913 - the original's name and signature
    checkpoint_dir: Any,
    save_secs: float | None = None,
    save_steps: int | None = None,
    saver: Any = None,
    checkpoint_basename: str = "model.ckpt",
    scaffold: Any = None,
    listeners: Iterable[Any] | None = None,
    save_graph_def: bool = True,  # noqa: FBT001, FBT002 - the original's signature
) -> CheckpointSaver:
    """Return a hook that writes checkpoints to the model_dir of the Estimator, in place of the RunConfig's.

    Args:
        checkpoint_dir: Has no meaning, as a warning says.
        save_secs: Every so many seconds.
        save_steps: Every so many steps.
        saver: Must be None: all variables are saved.
        checkpoint_basename: Has no meaning.
        scaffold: Must be None.
        listeners: Told before and after each checkpoint.
        save_graph_def: Has no meaning: checkpoints hold no graph.

    Raises:
        ConfigError: there is a saver or a scaffold, or not one clock.
    """
    del checkpoint_basename, save_graph_def
    _refuse("CheckpointSaverHook", "a checkpoint holds all variables of the model", saver=saver, scaffold=scaffold)
    if (save_secs is None) == (save_steps is None):
        raise ConfigError(
            "CheckpointSaverHook needs one clock",
            found=f"save_secs={save_secs}, save_steps={save_steps}",
            expected="one of the two",
            fix="CheckpointSaverHook(model_dir, save_steps=1000)",
        )
    text = (
        f"CheckpointSaverHook({str(checkpoint_dir)!r}) writes checkpoints to the model_dir of the Estimator, whatever "
        "the folder; RunConfig(save_checkpoints_steps=...) says the same without one"
    )
    warnings.warn(text, EstimatorWarning, stacklevel=2)
    return CheckpointSaver(save_steps, save_secs, listeners=listeners or ())


class StepCounterHook(Hook):
    """Logs steps per second, and writes them for TensorBoard as `global_step/sec`.

    Args:
        every_n_steps: How often.
        every_n_secs: The same in seconds; one of the two is None.
        output_dir: Where to write them; None: they are only logged.
        summary_writer: Must be None.

    Raises:
        ConfigError: there is a writer, or there are two clocks.
    """

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: str | None = None,
        summary_writer: Any = None,
    ) -> None:
        _refuse("StepCounterHook", "output_dir is where the steps per second go", summary_writer=summary_writer)
        self.cadence = Cadence(every_n_steps, every_n_secs)
        self._output_dir = output_dir

    def begin(self, run: Run) -> None:
        """Start counting."""
        self._counter = StepCounter(run.step)

    def after_steps(self, run: Run) -> None:
        """Say how fast it was."""
        rate = self._counter.steps_per_sec(run.step)
        _LOG.info("global_step/sec: %g", rate)
        if self._output_dir is not None:
            write_scalars(self._output_dir, run.step, {"global_step/sec": rate})


class LoggingTensorHook(Hook):
    """Logs metrics of the training, such as `loss = 0.25, step = 100`.

    Values are means since the last report (`RunConfig.log_step_count_steps`).

    Args:
        tensors: Names: "loss", "global_step", or what the model is compiled with; "loss:0" is "loss". Or
            a dict of what to call them to such names. Tensors themselves exist no more.
        every_n_iter: How often.
        every_n_secs: The same in seconds; at most one of the two.
        at_end: Whether also after the last step.
        formatter: Given a dict of value by tag, returns the text.

    Raises:
        ConfigError: something is no name, or nothing says when. While training: there is no such metric.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any] | Sequence[Any],
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        formatter: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        if every_n_iter is None and every_n_secs is None and not at_end:
            raise ConfigError(
                "LoggingTensorHook is never called",
                found="every_n_iter=None, every_n_secs=None, at_end=False",
                expected="one of the three",
                fix="LoggingTensorHook(['loss'], every_n_iter=100)",
            )
        self.cadence = Cadence(every_n_iter, every_n_secs)
        self._names = dict(tensors) if isinstance(tensors, Mapping) else {name: name for name in tensors}
        for wanted in self._names.values():
            if not isinstance(wanted, str):
                raise ConfigError(
                    "LoggingTensorHook knows metrics by name; there is no graph with tensors",
                    found=f"{type(wanted).__name__}: {wanted!r}"[:200],
                    expected="the name of a metric",
                    fix="LoggingTensorHook({'loss': 'loss'}, every_n_iter=100)",
                )
        self._at_end = at_end
        self._formatter = formatter

    def begin(self, run: Run) -> None:
        """Note where it starts."""
        self._logged_step = run.step

    def after_steps(self, run: Run) -> None:
        """Log the values."""
        values = self._values({**run.metrics, "global_step": run.step})
        plain = ", ".join(f"{tag} = {value:.6g}" for tag, value in values.items())
        _LOG.info("%s", plain if self._formatter is None else self._formatter(values))
        self._logged_step = run.step

    def end(self, run: Run) -> None:
        """Log the last values if that was asked for."""
        if self._at_end and run.step != self._logged_step:
            self.after_steps(run)

    def _values(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for tag, wanted in self._names.items():
            # Who calls "Mean:0" the loss wants to see the loss.
            name = next((each for each in (_metric_of(wanted), tag) if each in metrics), None)
            if name is None:
                raise ConfigError(
                    "LoggingTensorHook cannot log what the model does not measure",
                    found=repr(wanted),
                    expected=f"one of {', '.join(metrics)}",
                    fix="name one of those, or compile the model with it: model.compile(..., metrics=[...])",
                )
            values[tag] = metrics[name]
        return values


def InMemoryEvaluatorHook(  # noqa: N802 - the original's name
    estimator: Estimator,
    input_fn: Any,
    steps: int | None = None,
    hooks: Sequence[Any] | None = None,
    name: str | None = None,
    every_n_iter: int = 100,
) -> EvaluationHook:
    """Return a hook that evaluates before the first step, every so many steps, and after the last one.

    Args:
        estimator: The Estimator that trains.
        input_fn: The data, as for `evaluate`.
        steps: How many batches to read each time; None: until the data end.
        hooks: Called around the batches.
        name: Tells several evaluations apart.
        every_n_iter: How often.

    Raises:
        ConfigError: a value cannot be used.
    """
    return EvaluationHook(estimator, EvalSpec(input_fn, steps, name, hooks, every_steps=every_n_iter), at_start=True)


def make_stop_at_checkpoint_step_hook(
    estimator: Estimator, last_step: int, wait_after_file_check_secs: float = 30
) -> StopAtStepHook:
    """Return a hook that ends the training at a step; there are no other workers to wait for.

    Args:
        estimator: The Estimator that trains.
        last_step: The step.
        wait_after_file_check_secs: Has no meaning for a single process.
    """
    del estimator, wait_after_file_check_secs
    return StopAtStepHook(last_step=last_step)


def _metric_of(tensor: Any) -> str:
    return tensor.removesuffix(":0") if isinstance(tensor, str) else ""


def _refuse(hook: str, why: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"{hook} cannot use a `{name}`: {why}",
                found=f"{name}={type(value).__name__}",
                expected=f"{name}=None",
                fix=f"leave `{name}` out",
            )


def module_of(original: str, homes: Mapping[str, str]) -> types.ModuleType:
    """Return a module with names of the original, and with advice for those that it does not have.

    Args:
        original: What it is called, such as `tf.estimator.export`.
        homes: Name to the module of ours that has it, which is imported when the name is first asked for.
    """
    module = types.ModuleType(original, f"The names of {original} that keras-estimator has.")

    def find(wanted: str) -> Any:
        if wanted not in homes:
            raise _missing(original, wanted, homes, sys._getframe(1))  # noqa: SLF001 - the documented way to the caller
        value = vars(module)[wanted] = getattr(importlib.import_module(f"keras_estimator.{homes[wanted]}"), wanted)
        return value

    vars(module).update(__getattr__=find, __dir__=lambda: sorted(homes), __all__=sorted(homes))
    return module


def _missing(original: str, wanted: str, there: Iterable[str], caller: types.FrameType) -> Exception:
    instead = (advice for pattern, advice in _INSTEAD if re.fullmatch(pattern, wanted))
    text = EstimatorError(
        f"{original}.{wanted} is not there",
        found="a name that keras-estimator does not have; TensorFlow 2.16 removed all of tf.estimator",
        expected=f"one of {', '.join(sorted(there))}",
        fix=next(instead, "keras_estimator.model_to_estimator turns any Keras model into an Estimator"),
    )
    # `from module import name` forgets the text of an AttributeError, but not that of an ImportError.
    kind = ImportError if instruction_of(caller) == "IMPORT_FROM" else AttributeError
    return kind(str(text))


experimental = module_of("tf.estimator.experimental", _EXPERIMENTAL)
export = module_of("tf.estimator.export", _EXPORT)
# So that `from keras_estimator.tf_estimator.export import ...` finds them.
sys.modules.update({f"{__name__}.experimental": experimental, f"{__name__}.export": export})


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise _missing("tf.estimator", name, __all__, sys._getframe(1))  # noqa: SLF001 - the documented way to the caller
    value = globals()[name] = getattr(importlib.import_module(f"keras_estimator.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
