"""Check what the methods of an Estimator are given."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import logging
import numbers
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from keras_estimator.errors import ConfigError, NoCheckpointError
from keras_estimator.run_config import ModeKeys, RunConfig

_FOR_METRICS = ("features", "labels", "predictions", "sample_weight", "config")
_LOG = logging.getLogger("keras_estimator")


def with_model_dir(config: RunConfig, model_dir: str | Path | None) -> RunConfig:
    """Return `config` with the one folder of an estimator in it; a temporary one if none was given.

    Raises:
        ConfigError: `model_dir` and `config.model_dir` differ, it is a file, or it is missing for an evaluator.
    """
    if model_dir is not None and config.model_dir is not None and Path(model_dir) != Path(config.model_dir):
        raise ConfigError(
            "two folders are given for one estimator",
            found=f"model_dir={str(model_dir)!r}, config.model_dir={str(config.model_dir)!r}",
            expected="the same folder, or one of the two",
            fix=f"pass config.replace(model_dir={str(model_dir)!r})",
        )
    if model_dir is None and config.model_dir is None:
        if config.task_type == "evaluator":
            raise ConfigError(
                "an evaluator needs the folder of the run",
                found=f"TF_CONFIG makes this process evaluator {config.task_id}; no model_dir",
                expected="the model_dir of the process that trains, to find its checkpoints",
                fix='RunConfig(model_dir="..."), or "model_dir" in TF_CONFIG, for both',
            )
        model_dir = tempfile.mkdtemp(prefix="keras-estimator-")
        _LOG.warning("no model_dir was given: using the temporary folder %s", model_dir)
    config = config if model_dir is None else config.replace(model_dir=str(model_dir))
    folder = Path(str(config.model_dir))
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            "model_dir is a file",
            found=str(folder),
            expected="a folder, or a path where one can be made",
            fix=f"pass model_dir={str(folder.with_suffix(''))!r}",
        )
    return config


def check_steps(steps: int | None, max_steps: int | None) -> None:
    """Check how long a call is to run.

    Raises:
        ConfigError: both are given, or one is no positive whole number.
    """
    if steps is not None and max_steps is not None:
        raise ConfigError(
            "`steps` and `max_steps` are both given",
            found=f"steps={steps}, max_steps={max_steps}",
            expected="one of the two: `steps` counts from here, `max_steps` from step 0",
            fix=f"pass max_steps={max_steps} alone",
        )
    given: dict[str, Any] = {"steps": steps, "max_steps": max_steps}
    for name, value in given.items():
        if value is not None and not (isinstance(value, numbers.Integral) and int(value) > 0):
            raise ConfigError(
                f"`{name}` must be a positive whole number",
                found=f"{name}={value!r}",
                expected=f"{name} > 0, or None",
                fix=f"pass {name}=None to go on until the data end",
            )


def check_no_hooks(hooks: Collection[Any] | None) -> None:
    """Check that `predict` was given no hooks.

    Raises:
        ConfigError: it was.
    """
    if hooks:
        raise ConfigError(
            "predict has no moments for hooks",
            found=f"hooks={[type(hook).__name__ for hook in hooks]}",
            expected="hooks=None",
            fix="do it between the predictions: for p in estimator.predict(data): ...",
        )


def check_exported_mode(mode: str) -> None:
    """Check what of a model is to be exported.

    Raises:
        ConfigError: it is not the predicting model.
    """
    if mode != ModeKeys.PREDICT:
        raise ConfigError(
            "only the predicting model is exported",
            found=f"experimental_mode={mode!r}",
            expected=f"{ModeKeys.PREDICT.value!r}",
            fix="leave experimental_mode out; to train elsewhere, share the checkpoints",
        )


@dataclasses.dataclass(frozen=True, eq=False)
class MetricFunction:
    """A function of the user's that measures, and is given what it asks for by name.

    Attributes:
        name: What the user calls it.
        function: Takes some of `features`, `labels`, `predictions`, `sample_weight` and `config`.
        wanted: Which of them.
    """

    name: str
    function: Callable[..., Any]
    wanted: tuple[str, ...]

    def __call__(self, **given: Any) -> Any:
        """Call it with what it asks for."""
        return self.function(**{name: given[name] for name in self.wanted})


def metric_function(function: Any) -> MetricFunction:
    """Look at a function for `add_metrics`.

    Raises:
        ConfigError: it cannot be called, or has to be given other arguments than there are.
    """
    name = getattr(function, "__name__", type(function).__name__)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = None
    bound = function.keywords if isinstance(function, functools.partial) else {}
    asked = [p for p in parameters or () if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in bound]
    wanted = tuple(p.name for p in asked if p.name in _FOR_METRICS and p.kind != p.POSITIONAL_ONLY)
    unknown = [p.name for p in asked if p.name not in wanted and p.default is p.empty]
    if not wanted or unknown:
        raise ConfigError(
            f"add_metrics cannot call `{name}`",
            found="no function" if parameters is None else f"arguments {', '.join(p.name for p in asked) or 'none'}",
            expected=f"a function of some of {', '.join(_FOR_METRICS)}, by these names",
            fix="def metric_fn(labels, predictions): ...",
        )
    return MetricFunction(name, function, wanted)


def check_names_differ(added: Collection[str], of_model: Collection[str]) -> None:
    """Check that functions of `add_metrics` give no name that something else has in the results of `evaluate`.

    Raises:
        ConfigError: they do.
    """
    both = sorted(set(added) & {*of_model, "loss", "global_step"})
    if both:
        raise ConfigError(
            "a metric function and the model measure something of the same name",
            found=", ".join(both),
            expected=f"names other than {', '.join([*of_model, 'global_step'])}",
            fix=f'return {{"other_{both[0]}": ...}}',
        )


def checked_params(params: Any) -> dict[str, Any]:
    """Return a copy of hyper-parameters; none are an empty dict.

    Raises:
        ConfigError: they are no values by name, or a value cannot be copied.
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise ConfigError(
            "hyper-parameters need names",
            found=f"params={params!r}"[:200],
            expected="a dict with names as keys, or None",
            fix="params=vars(args) of an argparse.Namespace; params=dataclasses.asdict(it) of a dataclass",
        )
    copied = {}
    for name, value in params.items():
        try:
            copied[name] = copy.deepcopy(value)
        except (TypeError, ValueError, RecursionError, copy.Error) as error:
            raise ConfigError(
                "a hyper-parameter is a plain value that can be copied",
                found=f"params[{name!r}]: {type(value).__module__}.{type(value).__qualname__} ({error})",
                expected="numbers, texts, booleans, None, and lists and dicts of them",
                fix=f"leave {name!r} out, and let a closure or functools.partial bring it to the input_fn",
            ) from error
    return copied


def existing(checkpoint: str | Path) -> Path:
    """Return the path of a checkpoint that is there.

    Raises:
        NoCheckpointError: it is not.
    """
    path = Path(checkpoint)
    if not path.exists():
        raise NoCheckpointError(
            "there is no such checkpoint",
            found=str(path),
            expected="the folder of a checkpoint, as latest_checkpoint() returns it",
            fix=f"ls {path.parent}",
        )
    return path


def renamed(metrics: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return metrics under the names of `metric_names_map`; `loss` keeps its own.

    Raises:
        ConfigError: `names` does not name just the metrics there are, or gives one name twice.
    """
    own = [name for name in metrics if name != "loss"]
    if names and set(names) != set(own):
        raise ConfigError(
            "`metric_names_map` does not name just the metrics of the model",
            found=", ".join(names),
            expected=", ".join(own),
            fix=f"pass metric_names_map={ ({name: name for name in own}) }",
        )
    if len({"loss", "global_step", *names.values()}) < len(names) + 2:
        raise ConfigError(
            "`metric_names_map` gives one name to two results",
            found=", ".join(map(str, names.values())),
            expected="names that differ, and none of them `loss` or `global_step`",
            fix=f"pass metric_names_map={ ({name: name for name in own}) }",
        )
    return {names.get(name, name): value for name, value in metrics.items()}
