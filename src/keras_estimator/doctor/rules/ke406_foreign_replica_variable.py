"""KE406 foreign-replica-variable: a variable that belongs to no model is written by every replica.

What it finds:
    A variable of a module (a global) that a layer, a loss or a step writes; and in a model that was made under a
    strategy, a written variable that is not of the strategy.

Why it matters:
    What is made when a module is imported is outside of the scope of any strategy. There is one of it, and each replica
    writes it.

If ignored:
    On several devices plain Keras counts once for each replica, and says nothing; `.keras` does not hold the variable.
    An Estimator saves it, and counts alike: the copies of a model share what a module holds. On one device nothing
    happens.

Example:
    total = tf.Variable(0.0)

    class Counts(keras.layers.Layer):
        def call(self, x):
            total.assign_add(1.0)
            return x

Instead:
    class Counts(keras.layers.Layer):
        def build(self, shape):
            self.total = self.add_weight(shape=(), trainable=False, aggregation="only_first_replica")

        def call(self, x):
            self.total.assign_add(1.0)
            return x

Fix:
    For display: others may use the global.

Evidence:
    A counter in the module was 8 after four steps on two devices, and the loss 10.69 instead of 6.44; with an Estimator
    on two devices it was 9.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel
    from keras_estimator.doctor.live_graph import Captured

SEVERITY = Severity.WARNING
_FIX = Fix("make it a weight of the layer: self.add_weight(...)", Applicability.DISPLAY)
_MAKERS = frozenset({"tensorflow.Variable", "keras.Variable", "keras.backend.variable", "keras.backend.Variable"})
_WRITES = frozenset({"assign", "assign_add", "assign_sub"})


def in_source(source: Source) -> Iterator[Problem]:
    """Find writes to variables of the module in functions that Keras traces."""
    of_module = _variables_of_module(source)
    if not of_module:
        return
    for traced in source.traced:
        local = {name.id for name in traced.nodes if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
        for node in traced.nodes:
            function = node.func if isinstance(node, ast.Call) else None
            if (
                isinstance(function, ast.Attribute)
                and function.attr in _WRITES
                and isinstance(function.value, ast.Name)
            ):
                name = function.value.id
                if name in of_module and name not in local and name not in traced.parameters:
                    yield Problem(node, f"`{name}` belongs to no model, and every replica writes it", fix=_FIX)


def _variables_of_module(source: Source) -> set[str]:
    found: set[str] = set()
    for node in source.tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        if source.dotted(node.value.func) in _MAKERS:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look at what the graph of training writes: who holds it, and of which strategy it is."""
    if live.training is None:
        return
    seen: set[int] = set()
    spread = _is_spread(live)
    for captured, operation in live.training.writes():
        if id(captured.resource) not in seen and _is_foreign(captured, is_spread=spread):
            seen.add(id(captured.resource))
            message = f"`{captured.name.rpartition('/')[2]}` belongs to no model, and every replica writes it"
            yield Problem(operation.place, message, layer=operation.layer, evidence=operation.kind, fix=_FIX)


def _is_foreign(captured: Captured, *, is_spread: bool) -> bool:
    is_global = captured.holding is not None and captured.holding.path.startswith("globals/")
    return is_global or (is_spread and getattr(captured.resource, "distribute_strategy", None) is None)


def _is_spread(live: LiveModel) -> bool:
    values = (getattr(held.variable, "value", None) for held in live.holdings if not held.is_raw)
    return any(getattr(value, "distribute_strategy", None) is not None for value in values)
