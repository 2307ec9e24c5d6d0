"""KE408 mean-on-int: a variable of whole numbers asks for the mean over replicas, which TensorFlow refuses.

What it finds:
    `aggregation="mean"` for a variable that is no floating number.

Why it matters:
    A mean of whole numbers is none, so the variable cannot be made under a strategy.

If ignored:
    Under a strategy plain Keras raises "creating distributed tf.Variable with aggregation=MEAN and a non-floating dtype
    is not supported". An Estimator makes no distributed variables, and keeps the number of the first replica.

Example:
    self.count = self.add_weight(shape=(), dtype="int32", trainable=False, aggregation="mean")

Instead:
    self.count = self.add_weight(shape=(), dtype="int32", trainable=False, aggregation="only_first_replica")

Fix:
    Safe: on one device there is no difference, and on several it did not work at all.

Evidence:
    Keras 3.15, in the scope of a MirroredStrategy of one or two devices: a ValueError when the weight is made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.state_writes import dtype_of
from keras_estimator.doctor.tensors import own_attribute

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_MEANS = ("tensorflow.VariableAggregation.MEAN", "tensorflow.compat.v1.VariableAggregation.MEAN")
_WHOLE = ("int", "uint", "bool")
_REFUSED = "aggregation=MEAN and a non-floating dtype"


def in_source(source: Source) -> Iterator[Problem]:
    """Find variables that state both."""
    for call in source.calls:
        aggregation = next((word.value for word in call.keywords if word.arg == "aggregation"), None)
        if aggregation is None or not _is_whole(source, call):
            continue
        is_text = isinstance(aggregation, ast.Constant) and aggregation.value == "mean"
        if is_text or source.dotted(aggregation) in _MEANS:
            other = '"only_first_replica"' if is_text else _first(source, aggregation)
            title = f"use aggregation={other}"
            fix = Fix(title, Applicability.SAFE, (replace(aggregation, other),))
            yield Problem(source.statement_of(call), "whole numbers have no mean over replicas", fix=fix)


def _is_whole(source: Source, call: ast.Call) -> bool:
    is_weight = own_attribute(call.func) in ("add_weight", "add_variable")
    dotted = source.dotted(call.func)
    if not is_weight and dotted not in ("tensorflow.Variable", "keras.Variable"):
        return False
    stated = dtype_of(call)
    if stated or dotted != "tensorflow.Variable" or any(word.arg in ("dtype", None) for word in call.keywords):
        return stated.startswith(_WHOLE)
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, int)


def _first(source: Source, aggregation: ast.expr) -> str:
    return source.code(aggregation).removesuffix("MEAN") + "ONLY_FIRST_REPLICA"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look at the aggregations of the variables that a model holds."""
    for held in live.holdings:
        if _aggregation(held.variable) == "mean" and "float" not in str(held.variable.dtype):
            place = live.place_of_attribute(held.owner, held.attribute) if held.attribute else None
            evidence = f"`{held.path}`: {held.variable.dtype}, aggregation=mean"
            layer = live.layer_named(held.path)
            yield Problem(place, "whole numbers have no mean over replicas", layer=layer, evidence=evidence)


def _aggregation(variable: Any) -> str:
    aggregation = getattr(variable, "aggregation", None)
    return str(getattr(aggregation, "name", aggregation)).lower()


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what TensorFlow says of such a variable."""
    if _REFUSED in failure.text:
        yield Problem(failure.place, "whole numbers have no mean over replicas", evidence=failure.line)
