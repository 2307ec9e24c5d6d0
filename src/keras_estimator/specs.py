"""What `train_and_evaluate` is asked for: how to train, and when to evaluate on which data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from keras_estimator.errors import ConfigError
from keras_estimator.exporters import Exporter
from keras_estimator.run_config import is_count, is_span

_CLOCKS = ("every_steps", "every_secs", "every_epochs")


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """How to train.

    Args:
        input_fn: The data, or a callable that returns them, as for `Estimator.train`.
        max_steps: Train until this step in all. None: until the data end.
        hooks: Called while training.
        saving_listeners: Told before and after each checkpoint, as in tf.estimator.
        callbacks: `keras.callbacks.Callback`s, called as `fit` calls them.
        class_weight: Class number to weight, or output name to such a dict.

    Raises:
        ConfigError: a value cannot be used.
    """

    input_fn: Any
    max_steps: int | None = None
    hooks: Sequence[Any] | None = None
    saving_listeners: Sequence[Any] | None = None
    _: dataclasses.KW_ONLY
    callbacks: Sequence[Any] | None = None
    class_weight: Any = None

    def __post_init__(self) -> None:
        _check_data("TrainSpec", self.input_fn)
        _check_count("TrainSpec", "max_steps", self.max_steps)
        for name in ("hooks", "saving_listeners", "callbacks"):
            _check_list("TrainSpec", name, getattr(self, name))


@dataclasses.dataclass(frozen=True)
class EvalSpec:
    """On which data to evaluate, and when.

    With none of the clocks the model is evaluated whenever a checkpoint was written, but not again within
    `throttle_secs`, as in tf.estimator. A clock is independent of checkpoints. The last step is evaluated in
    any case.

    Args:
        input_fn: The data, or a callable that returns them, as for `Estimator.evaluate`.
        steps: How many batches to read each time. None: until the data end.
        name: Tells several evaluations apart: in TensorBoard (`eval_<name>`), logs and results.
        hooks: Called around the batches.
        exporters: One or more exporters, asked after each evaluation.
        start_delay_secs: What an evaluator in a process of its own waits before it begins.
        throttle_secs: The least seconds between two evaluations of checkpoints.
        every_steps: Evaluate whenever the step is a multiple of this.
        every_secs: Evaluate when this many seconds have passed since the last time.
        every_epochs: Evaluate after every so many passes over the training data.

    Raises:
        ConfigError: a value cannot be used, or two clocks are set.
    """

    input_fn: Any
    steps: int | None = 100
    name: str | None = None
    hooks: Sequence[Any] | None = None
    exporters: Exporter | Sequence[Exporter] | None = None
    start_delay_secs: float = 120
    throttle_secs: float = 600
    _: dataclasses.KW_ONLY
    every_steps: int | None = None
    every_secs: float | None = None
    every_epochs: int | None = None

    def __post_init__(self) -> None:
        _check_data("EvalSpec", self.input_fn)
        for name in ("steps", "every_steps", "every_epochs"):
            _check_count("EvalSpec", name, getattr(self, name))
        for name in ("start_delay_secs", "throttle_secs"):
            _check_secs(name, getattr(self, name), least=0)
        if self.every_secs is not None:
            _check_secs("every_secs", self.every_secs, least=1e-3)
        _check_list("EvalSpec", "hooks", self.hooks)
        _check_name(self.name)
        clocks = [f"{name}={getattr(self, name)}" for name in _CLOCKS if getattr(self, name) is not None]
        if len(clocks) > 1:
            raise ConfigError(
                "several clocks are set for one evaluation",
                found=", ".join(clocks),
                expected=f"at most one of {', '.join(_CLOCKS)}",
                fix=f"EvalSpec(..., {clocks[0]}); for another rhythm pass a second EvalSpec with another name",
            )
        object.__setattr__(self, "exporters", _checked_exporters(self.exporters))

    @property
    def follows_checkpoints(self) -> bool:
        """Whether no clock is set, so that checkpoints are evaluated."""
        return all(getattr(self, name) is None for name in _CLOCKS)

    @property
    def shown_name(self) -> str:
        """What it is called in logs."""
        return f"`{self.name}`" if self.name else "the model"


def _check_data(spec: str, input_fn: Any) -> None:
    if input_fn is None:
        raise ConfigError(
            f"{spec} has no data",
            found="input_fn=None",
            expected="data, or a callable that returns them",
            fix=f"{spec}(lambda: dataset.batch(32), ...)",
        )


def _check_count(spec: str, name: str, value: Any) -> None:
    if value is None or is_count(value, least=1):
        return
    raise ConfigError(
        f"{spec} cannot use this `{name}`",
        found=f"{name}={value!r}",
        expected="a whole number > 0, or None",
        fix=f"{spec}(..., {name}=100)",
    )


def _check_secs(name: str, value: Any, *, least: float) -> None:
    if is_span(value, zero_allowed=True) and value >= least:
        return
    raise ConfigError(
        f"EvalSpec cannot use this `{name}`",
        found=f"{name}={value!r}",
        expected="seconds >= 0" if least == 0 else "seconds > 0, or None",
        fix=f"EvalSpec(..., {name}=60)",
    )


def _check_list(spec: str, name: str, value: Any) -> None:
    if value is None or (isinstance(value, Sequence) and not isinstance(value, str)):
        return
    raise ConfigError(
        f"{spec} wants a list of {name}",
        found=f"{name}={type(value).__name__}",
        expected="a list, or None",
        fix=f"{spec}(..., {name}=[...])",
    )


def _check_name(name: Any) -> None:
    if name is None or (isinstance(name, str) and name.strip() and not {"/", "\\"} & set(name)):
        return
    raise ConfigError(
        "EvalSpec cannot use this `name`",
        found=f"name={name!r}",
        expected="a text that can be part of the name of a folder, or None",
        fix='EvalSpec(..., name="valid")',
    )


def _checked_exporters(exporters: Any) -> tuple[Exporter, ...]:
    given = (exporters,) if isinstance(exporters, Exporter) else tuple(exporters or ())
    for exporter in given:
        if not isinstance(exporter, Exporter):
            raise ConfigError(
                "this is no exporter",
                found=f"{type(exporter).__module__}.{type(exporter).__qualname__}",
                expected="a LatestExporter, FinalExporter, BestExporter, or a class of your own made from Exporter",
                fix='EvalSpec(..., exporters=[LatestExporter("latest")])',
            )
    names = [exporter.name for exporter in given]
    if len(set(names)) < len(names) or not all(names):
        raise ConfigError(
            "exporters need names that differ",
            found=f"names {names!r}",
            expected="a name for each, as it is the folder below model_dir/export",
            fix='[BestExporter("best"), LatestExporter("latest")]',
        )
    return given
