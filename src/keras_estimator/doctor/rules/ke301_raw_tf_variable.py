"""KE301 raw-tf-variable: a `tf.Variable` in a layer is no weight: Keras neither saves, loads nor trains it.

What it finds:
    An attribute of a layer, a model, a metric or another object of Keras that is a raw `tf.Variable`.

Why it matters:
    Keras tracks `keras.Variable`s only. A raw one is not in `weights`, `count_params` does not count it, `.keras` and
    `save_weights` do not hold its value, a trainable one is never trained by `fit`, and under a strategy each replica
    has its own.

If ignored:
    Keras's own `save` and `load_model` set the variable back to its first value without a word, and `fit` does not
    train it. An Estimator carries it, and trains it if it is trainable.

Example:
    self.counter = tf.Variable(0, trainable=False)

Instead:
    self.counter = self.add_weight(
        name="counter",
        shape=(),
        dtype="int32",
        initializer="zeros",
        trainable=False,
        aggregation="only_first_replica",
    )

Fix:
    Safe for numbers of a layer or model that are not to be trained: `assign_add` and reading work as before, also an
    integer with a floating tensor. Unsafe for one that is trained from then on, and for one of a metric, which
    `reset_state` then sets back. For display if the first value is computed.

Evidence:
    Row 42 of the zoo: 4.0 came back as 0.0 from `.keras`, clone and deepcopy without a word; row 43: a trainable one
    was 1.5 after 3 epochs as before them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.weight_calls import in_width, weight_for

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_TITLE = "make it a weight: self.add_weight(...)"


def in_source(source: Source) -> Iterator[Problem]:
    """Find assignments of a raw variable to an attribute."""
    for call in source.calls:
        if source.dotted(call.func) != "tensorflow.Variable":
            continue
        target, owner = _target(source, call), source.class_of(call)
        if target is not None and owner is not None:
            fix = _fix(source, call, target.attr, owner)
            yield Problem(source.statement_of(call), f"self.{target.attr} is a raw tf.Variable", fix=fix)


def _target(source: Source, call: ast.Call) -> ast.Attribute | None:
    """Return the attribute of `self` that a call is assigned to."""
    statement = source.parent(call)
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return next((one for one in targets if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "self"), None)


def _fix(source: Source, call: ast.Call, name: str, owner: KerasClass) -> Fix:
    weight = weight_for(source, call, name, owner, used_as=name)
    if weight is None:
        return Fix(_TITLE, Applicability.DISPLAY)
    changes = (replace(call, in_width(source, call, weight.code)), *weight.imports)
    return Fix(_TITLE, Applicability.SAFE if weight.is_same else Applicability.UNSAFE, changes)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find raw variables in attributes of the objects that a model is made of."""
    for held in live.holdings:
        is_direct = held.is_raw and getattr(held.owner, held.attribute or " ", None) is held.variable
        if is_direct and live.place_of(type(held.owner)) is not None:
            yield Problem(
                live.place_of_attribute(held.owner, held.attribute),
                f"self.{held.attribute} is a raw tf.Variable",
                layer=held.path.rpartition("/")[0],
                evidence=f"`{held.path}` is not among the {len(live.model.weights)} weights of the model",
            )
