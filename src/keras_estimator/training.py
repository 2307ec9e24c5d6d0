"""Train a model and evaluate it on the way, as TrainSpec and EvalSpecs say; the same command goes on after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_estimator.errors import ConfigError
from keras_estimator.estimator import Estimator
from keras_estimator.hooks.evaluation import EvaluationHook
from keras_estimator.specs import EvalSpec, TrainSpec


def train_and_evaluate(
    estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec | Sequence[EvalSpec]
) -> tuple[Any, Any]:
    """Train until `train_spec` is fulfilled, and evaluate and export on the way.

    Evaluations run on the weights that the model has then: nothing is rebuilt or loaded for them. A run that
    was killed ends, by the same command, with the evaluations and exports it would have had without the kill.

    Args:
        estimator: What is trained.
        train_spec: On which data, and how long.
        eval_spec: On which data to evaluate, and when; or several, with names that differ.

    Returns:
        The results of the last evaluation, and what each exporter gave then (the folder, or None). With several
        specs both are dicts by the names of the specs (`""` for the one without a name).

    Raises:
        ConfigError: one of the arguments is of another type, or two specs have one name.
        EstimatorError: whatever `train`, `evaluate` and `export_saved_model` raise.
    """
    specs = _checked(estimator, train_spec, eval_spec)
    hooks = {spec.name or "": EvaluationHook(estimator, spec) for spec in specs}
    estimator.train(
        train_spec.input_fn,
        [*(train_spec.hooks or ()), *hooks.values()],
        max_steps=train_spec.max_steps,
        saving_listeners=train_spec.saving_listeners,
        callbacks=train_spec.callbacks,
        class_weight=train_spec.class_weight,
    )
    if isinstance(eval_spec, EvalSpec):
        (hook,) = hooks.values()
        return hook.metrics, hook.exported
    return {name: hook.metrics for name, hook in hooks.items()}, {name: hook.exported for name, hook in hooks.items()}


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
