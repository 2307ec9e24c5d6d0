"""KE309 loss-tracker-idle: a `train_step` returns "loss" and updates no metric, so the history says 0.0.

What it finds:
    A `train_step` of the user that returns exactly the names of the model's metrics, and leaves one of these as it is.

Why it matters:
    If the names that a step returns are those of the metrics, Keras shows the results of the metrics and not what the
    step returned. Every compiled model has a metric "loss", which only its own `train_step` updates.

If ignored:
    `fit` shows `loss: 0.0` for ever; EarlyStopping and ModelCheckpoint, which watch it, do not work. An Estimator takes
    the loss that the step returned if nobody has updated the metric.

Example:
    return {"loss": loss}

Instead:
    self.loss_tracker.update_state(loss)
    return {"loss": self.loss_tracker.result()}

Fix:
    Unsafe: the metric "loss" of the model is updated before the step returns; what the step computes does not change.

Evidence:
    `compile("sgd")` and two epochs: history `{'loss': [0.0, 0.0]}`; with `compile("sgd", loss="mse")` the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import insert_before
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Function, Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_FIX = Fix("update the metric before the step returns", Applicability.DISPLAY)
_MESSAGE = 'train_step returns "loss" and updates no metric of that name: the history says 0.0'
# What updates metrics, whatever the author has called them.
_UPDATES = frozenset({"update_state", "compute_metrics", "compute_loss_and_metrics"})


def in_source(source: Source) -> Iterator[Problem]:
    """Find a `train_step` that returns nothing but a loss, in a class without metrics of its own."""
    for one in source.classes:
        step = one.methods.get("train_step")
        if one.kind != "model" or step is None or "metrics" in one.methods or _updates_metrics(step):
            continue
        returned = [node for node in ast.walk(step) if isinstance(node, ast.Return)]
        if len(returned) == 1 and _is_loss_alone(returned[0].value):
            yield Problem(step, _MESSAGE, fix=_fix(returned[0]))


def _updates_metrics(step: Function) -> bool:
    names = {node.attr for node in ast.walk(step) if isinstance(node, ast.Attribute)}
    # A step that calls that of its base class, or another method with what it has, may do it there.
    calls = [node for node in ast.walk(step) if isinstance(node, ast.Call)]
    own = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute) and _is_self(node.func.value)}
    return bool(names & _UPDATES) or "train_step" in names or bool(own - {"call", "compute_loss"})


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _is_loss_alone(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Dict) or len(value.keys) != 1 or not isinstance(value.keys[0], ast.Constant):
        return False
    return value.keys[0].value == "loss" and not (
        isinstance(value.values[0], ast.Call) and "result" in ast.unparse(value)
    )


def _fix(returned: ast.Return) -> Fix:
    loss = returned.value.values[0] if isinstance(returned.value, ast.Dict) else None
    if not isinstance(loss, ast.Name):
        return _FIX
    code = f'for metric in self.metrics:\n    if metric.name == "loss":\n        metric.update_state({loss.id})\n'
    return Fix(_FIX.title, Applicability.UNSAFE, (insert_before(returned, code),))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find metrics whose names a step of the user returns, and which its graph does not write."""
    step = type(live.model).train_step
    if live.step is None or step is live.keras.Model.train_step:
        return
    results = live.step.traced.results
    shown = _shown(live)
    if not isinstance(results, dict) or results.keys() != shown.keys():
        return
    written = {id(captured.holding.variable) for captured, _ in live.step.writes() if captured.holding}
    for name in shown:
        metrics = [one for one in live.model.metrics if one.name == name and one.variables]
        if metrics and not any(id(one) in written for metric in metrics for one in metric.variables):
            message = _MESSAGE.replace('"loss"', f'"{name}"')
            evidence = f"no operation of train_step writes to the metric, so its result stays {shown[name]:.3g}"
            yield Problem(live.place_of(step), message, evidence=evidence, fix=_FIX)


def _shown(live: LiveModel) -> dict[str, float]:
    """Return what Keras shows of the metrics before the first step; empty if it cannot be asked yet."""
    try:
        with live.unchanged():
            live.model.reset_metrics()
            return {name: float(value) for name, value in live.model.get_metrics_result().items()}
    except Exception:  # noqa: BLE001 - metrics that are built by the first batch cannot be asked
        return {}
