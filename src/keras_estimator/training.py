"""Train a model and evaluate it on the way, as TrainSpec and EvalSpecs say; the same command goes on after a kill."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from keras_estimator.errors import ConfigError
from keras_estimator.estimator import Estimator
from keras_estimator.evaluator import follow
from keras_estimator.hooks.early_stopping import EarlyStopping
from keras_estimator.hooks.evaluation import EvaluationHook
from keras_estimator.hooks.keeping import KeepBest
from keras_estimator.hooks.remote_evaluation import RemoteEvaluationHook
from keras_estimator.specs import EvalSpec, TrainSpec

_LOG = logging.getLogger("keras_estimator")
_Evaluating = EvaluationHook | RemoteEvaluationHook


def train_and_evaluate(
    estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec | Sequence[EvalSpec]
) -> tuple[Any, Any]:
    """Train until `train_spec` is fulfilled, and evaluate and export on the way.

    Evaluations run on the weights that the model has then: nothing is rebuilt or loaded for them. A run that
    was killed ends, by the same command, with the evaluations and exports it would have had without the kill.

    In a cluster (TF_CONFIG), a spec without a clock is evaluated by an evaluator, a process of its own: started
    by the same program, it does not train but follows the checkpoints, and ends when the training has ended.

    Args:
        estimator: What is trained.
        train_spec: On which data, and how long.
        eval_spec: On which data to evaluate, and when; or several, with names that differ.

    Returns:
        The results of the last evaluation, and what each exporter gave then (the folder, or None). With several
        specs both are dicts by the names of the specs (`""` for the one without a name). What another process
        evaluates is as far as this one has heard of it; None, and no exports, if it has not.

    Raises:
        ConfigError: one of the arguments is of another type, or two specs have one name.
        EstimatorError: whatever `train`, `evaluate` and `export_saved_model` raise.
    """
    specs = _checked(estimator, train_spec, eval_spec)
    hooks = (_followed if estimator.config.task_type == "evaluator" else _trained)(estimator, train_spec, specs)
    if isinstance(eval_spec, EvalSpec):
        hook = hooks.get(eval_spec.name or "")
        return (hook.metrics, hook.exported) if hook is not None else (None, [])
    return {name: hook.metrics for name, hook in hooks.items()}, {name: hook.exported for name, hook in hooks.items()}


def _trained(estimator: Estimator, train_spec: TrainSpec, specs: Sequence[EvalSpec]) -> Mapping[str, _Evaluating]:
    config = estimator.config
    for hook in train_spec.hooks or ():
        if isinstance(hook, EarlyStopping | KeepBest):
            hook.watched.choose([spec.name or "" for spec in specs])
    has_evaluator = config.task_type in ("chief", "worker") and bool(config.cluster_spec)
    hooks: dict[str, _Evaluating] = {
        spec.name or "": RemoteEvaluationHook(spec, estimator.eval_dir(spec.name))
        if has_evaluator and spec.follows_checkpoints
        else EvaluationHook(estimator, spec)
        for spec in specs
    }
    estimator.train(
        train_spec.input_fn,
        [*(train_spec.hooks or ()), *hooks.values()],
        max_steps=train_spec.max_steps,
        saving_listeners=train_spec.saving_listeners,
        callbacks=train_spec.callbacks,
        class_weight=train_spec.class_weight,
    )
    return hooks


def _followed(estimator: Estimator, train_spec: TrainSpec, specs: Sequence[EvalSpec]) -> Mapping[str, _Evaluating]:
    for spec in specs:
        if not spec.follows_checkpoints:
            _LOG.info("%s has a clock: it is evaluated by the process that trains, not here", spec.shown_name)
    return follow(estimator, [spec for spec in specs if spec.follows_checkpoints], train_spec.max_steps)


def _checked(estimator: Any, train_spec: Any, eval_spec: Any) -> list[EvalSpec]:
    specs = [eval_spec] if isinstance(eval_spec, EvalSpec) else eval_spec
    are_specs = isinstance(specs, Sequence) and bool(specs) and all(isinstance(spec, EvalSpec) for spec in specs)
    for name, value, fits, wanted in (
        ("estimator", estimator, isinstance(estimator, Estimator), "what model_to_estimator returns"),
        ("train_spec", train_spec, isinstance(train_spec, TrainSpec), "a TrainSpec"),
        ("eval_spec", eval_spec, are_specs, "an EvalSpec, or a list of them"),
    ):
        if not fits:
            raise ConfigError(
                f"train_and_evaluate cannot use this `{name}`",
                found=f"{type(value).__module__}.{type(value).__qualname__}",
                expected=wanted,
                fix="train_and_evaluate(estimator, TrainSpec(data, max_steps=1000), EvalSpec(data))",
            )
    names = [spec.name or "" for spec in specs]
    if len(set(names)) < len(names):
        raise ConfigError(
            "evaluations need names that differ",
            found=f"names {names!r}",
            expected="a name for each, as it is a folder and a curve in TensorBoard",
            fix='[EvalSpec(valid_data, name="valid"), EvalSpec(test_data, name="test")]',
        )
    exports = [exporter.name for spec in specs for exporter in spec.exporters or ()]  # type: ignore[union-attr]  # a tuple, once the spec was checked
    if len(set(exports)) < len(exports):
        raise ConfigError(
            "exporters of several evaluations need names that differ",
            found=f"names {exports!r}",
            expected="a name for each, as it is the folder below model_dir/export",
            fix='BestExporter("best_by_valid"), BestExporter("best_by_test")',
        )
    return list(specs)
