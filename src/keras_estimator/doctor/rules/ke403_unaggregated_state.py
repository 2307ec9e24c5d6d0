"""KE403 unaggregated-state: a layer notes something about its rows, and nobody puts the notes of replicas together.

What it finds:
    A variable with `aggregation="none"`, which is the default, to which something is assigned that comes from the data.

Why it matters:
    Under a strategy each replica has the variable once, and assigns what it learns from its own rows.

If ignored:
    On several devices plain Keras lets the replicas drift apart without a word; what is saved and served is what the
    first one saw. An Estimator takes the mean of floating numbers over the replicas before it saves or measures, and
    keeps the whole numbers of the first, with a warning. On one device nothing happens.

Example:
    self.center = self.add_weight(shape=(), trainable=False)

Instead:
    self.center = self.add_weight(shape=(), trainable=False, aggregation="mean")

Fix:
    Safe for a moving average, `v.assign(0.9 * v + 0.1 * new)`, of floating numbers: on one device nothing changes.
    Unsafe otherwise: the mean of sums is half of the sum, on two replicas.

Evidence:
    `0.9 * v + 0.1 * mean(x)` of eight rows on two devices: .0665 on one, .0199 on the other, .0432 on one device alone;
    with `aggregation="mean"` .0432 on both.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.data_flow import from_data, writes_from
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import add_argument
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.state_writes import Write, created, is_floating, writes_of

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel
    from keras_estimator.doctor.live_graph import Captured

SEVERITY = Severity.WARNING
_TITLE = 'let replicas agree: aggregation="mean"'


def in_source(source: Source) -> Iterator[Problem]:
    """Find weights without an aggregation to which tensors of the batch are assigned."""
    for one in source.classes:
        if one.kind in ("layer", "model"):
            yield from _in_class(source, one)


def _in_class(source: Source, one: KerasClass) -> Iterator[Problem]:
    made = created(one)
    writes = [write for write in writes_of(source, one) if write.is_of_data] if made else []
    for name, call in made.items():
        of_it = [write for write in writes if write.attribute == name]
        words = {word.arg for word in call.keywords}
        if of_it and None not in words and "aggregation" not in words:
            message = f"self.{name} is assigned what each replica learns from its own rows"
            yield Problem(source.statement_of(call), message, fix=_fix(call, name, of_it))


def _fix(call: ast.Call, name: str, writes: list[Write]) -> Fix:
    if not is_floating(call):
        return Fix("measure it with a keras.metrics.Metric, whose sums are brought together", Applicability.DISPLAY)
    is_average = all(write.method == "assign" and write.reads(name) for write in writes)
    applicability = Applicability.SAFE if is_average else Applicability.UNSAFE
    return Fix(_TITLE, applicability, (add_argument(call, 'aggregation="mean"'),))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Follow the data through the graph of training to what is assigned."""
    if live.training is None:
        return
    seen: set[int] = set()
    for captured, operation in writes_from(live.training, from_data(live.training)):
        if id(captured.resource) in seen or not _drifts(live, captured):
            continue
        seen.add(id(captured.resource))
        held = captured.holding
        of_layer = held is not None and live.is_a(held.owner, "keras.Layer")
        place = (
            live.place_of_attribute(held.owner, held.attribute) if held is not None and of_layer else operation.place
        )
        message = f"`{captured.name}` is assigned what each replica learns from its own rows"
        evidence = f"{operation.kind}, aggregation=none, shape {tuple(captured.resource.shape)}"
        fix = Fix(_TITLE, Applicability.DISPLAY) if captured.resource.dtype.is_floating else None
        yield Problem(place, message, layer=operation.layer, evidence=evidence, fix=fix)


def _drifts(live: LiveModel, captured: Captured) -> bool:
    owner = captured.holding.owner if captured.holding is not None else None
    # A state for each row of the batch is nothing that replicas could agree on.
    is_of_rows = getattr(owner, "stateful", False) is True
    # The moving statistics of a BatchNormalization are told of by KE402.
    others = ("keras.random.SeedGenerator", "keras.metrics.Metric", "keras.layers.BatchNormalization")
    is_kept = any(live.is_a(owner, name) for name in others)
    return not (is_of_rows or is_kept) and captured.resource.aggregation == live.tf.VariableAggregation.NONE
