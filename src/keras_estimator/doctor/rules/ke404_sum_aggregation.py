"""KE404 sum-aggregation: replicas add up what each assigned to a variable, its old value included.

What it finds:
    A variable with `aggregation="sum"` to which is assigned what is computed from its own value, as a counter does, or
    something that is the same in all replicas.

Why it matters:
    What is added up is what each replica assigns: `count + 1` of two replicas is `2 * count + 2`.

If ignored:
    On several devices plain Keras counts wrong and says nothing. An Estimator does not look at the aggregation: whole
    numbers stay those of the first replica, floating ones become the mean. On one device nothing happens.

Example:
    self.count = self.add_weight(shape=(), dtype="int32", trainable=False, aggregation="sum")

Instead:
    self.count = self.add_weight(shape=(), dtype="int32", trainable=False, aggregation="only_first_replica")

Fix:
    Unsafe: "only_first_replica" for what is the same in all replicas, such as a count of steps; "mean" for what comes
    from the rows. On one device both are the same as "sum".

Evidence:
    A counter was 30 after four steps on two devices instead of 4; with "only_first_replica" it was 4.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.data_flow import Flow, from_data, from_variable, writes_from
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.state_writes import Write, created, is_floating, writes_of

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel
    from keras_estimator.doctor.live_graph import Captured, Operation

SEVERITY = Severity.WARNING


def in_source(source: Source) -> Iterator[Problem]:
    """Find weights that are added up and assigned from their own value."""
    for one in source.classes:
        if one.kind in ("layer", "model"):
            yield from _in_class(source, one)


def _in_class(source: Source, one: KerasClass) -> Iterator[Problem]:
    for name, call in created(one).items():
        words = {word.arg: word.value for word in call.keywords}
        aggregation = words.get("aggregation")
        if not isinstance(aggregation, ast.Constant) or aggregation.value != "sum" or "synchronization" in words:
            continue
        wrong = [write for write in writes_of(source, one) if write.attribute == name and _is_wrong(write, name)]
        if wrong:
            of_rows = any(write.is_of_data for write in wrong)
            message = f"self.{name} becomes the sum of what all replicas assign, old value included"
            yield Problem(source.statement_of(call), message, fix=_fix(call, aggregation, of_rows=of_rows))


def _is_wrong(write: Write, name: str) -> bool:
    # A weight of Keras adds by assigning its value and the number.
    return write.method != "assign" or write.reads(name) or not write.is_of_data


def _fix(call: ast.Call, aggregation: ast.expr, *, of_rows: bool) -> Fix:
    if of_rows and not is_floating(call):
        return Fix("measure it with a keras.metrics.Metric, whose sums are brought together", Applicability.DISPLAY)
    other = '"mean"' if of_rows else '"only_first_replica"'
    return Fix(f"use aggregation={other}", Applicability.UNSAFE, (replace(aggregation, other),))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Follow values of variables through the graph of training to what is assigned to them."""
    if live.training is None:
        return
    data = from_data(live.training)
    seen: set[int] = set()
    for captured, operation in live.training.writes():
        held = captured.holding
        if held is None or id(captured.resource) in seen or not _is_summed(live, captured):
            continue
        if _comes_back(live, captured, operation) or not _is_given(data, operation):
            seen.add(id(captured.resource))
            message = f"`{captured.name}` becomes the sum of what all replicas assign, old value included"
            evidence = f"{operation.kind}, aggregation=sum"
            place = live.place_of_attribute(held.owner, held.attribute)
            yield Problem(place, message, layer=operation.layer, evidence=evidence)


def _is_summed(live: LiveModel, captured: Captured) -> bool:
    variable = captured.resource
    on_read = live.tf.VariableSynchronization.ON_READ  # summed when read, as metrics are
    return bool(variable.aggregation == live.tf.VariableAggregation.SUM and variable.synchronization != on_read)


def _comes_back(live: LiveModel, captured: Captured, operation: Operation) -> bool:
    assert live.training is not None
    own = from_variable(live.training, captured)
    return any(written is captured and one is operation for written, one in writes_from(live.training, own))


def _is_given(flow: Flow, operation: Operation) -> bool:
    return any(flow.has(tensor) for tensor in operation.operation.inputs)
