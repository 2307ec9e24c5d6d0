"""KE504 serving-mutates: an answer changes the model, so the next answer of the same server is another one.

What it finds:
    A variable that is assigned in what a model answers with, in inference too: of a layer of Keras, such as one that
    is stateful, or of nobody. Assignments in classes of your own are found by KE306.

Why it matters:
    An export keeps variables and what is assigned to them. Requests of one client then change the answers to others,
    and two servers of one model drift apart.

If ignored:
    A model exported by plain Keras goes on writing in the server, and `predict` and `evaluate` write, too. An Estimator
    exports it with a warning that names the variable and the line.

Example:
    def call(self, x):
        self.seen.assign_add(1.0)

Instead:
    def call(self, x, training=False):
        if training:
            self.seen.assign_add(1.0)

Fix:
    For display: write only while it trains; of a stateful layer, give the state in and out instead.

Evidence:
    A counter that is added to the answer: three requests to one exported model got 1, 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_FIX = Fix("write only while it trains: if training:", Applicability.DISPLAY)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look at what the graph of the answer writes."""
    seen: set[int] = set()
    for captured, operation in live.inference.writes() if live.inference is not None else ():
        owner = captured.holding.owner if captured.holding is not None else None
        is_meant = live.is_a(owner, "keras.random.SeedGenerator")
        is_of_user = owner is not None and live.place_of(type(owner)) is not None
        if id(captured.resource) in seen or is_meant or is_of_user:
            continue
        seen.add(id(captured.resource))
        stateful = getattr(owner, "stateful", False) is True
        message = f"`{captured.name}` is written by every answer, in inference too"
        evidence = f"{operation.kind} in the graph of the answer"
        # A stateful layer was asked for.
        severity, fix = (Severity.INFO, None) if stateful else (None, _FIX)
        yield Problem(operation.place, message, layer=operation.layer, evidence=evidence, fix=fix, severity=severity)
