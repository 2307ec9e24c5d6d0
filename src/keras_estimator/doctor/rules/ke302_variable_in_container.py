"""KE302 variable-in-container: a list or dict of `tf.Variable`s is seen by nobody, not even by `tf.train.Checkpoint`.

What it finds:
    An attribute of a layer, a model or another object of Keras that is a list, a tuple or a dict with raw
    `tf.Variable`s in it.

Why it matters:
    Keras tracks what is in a list only if it is a layer or a `keras.Variable`. A raw variable in it is not in
    `weights`, and TensorFlow's own checkpoints, which find one in an attribute, do not find one in a list of a layer.

If ignored:
    `.keras`, weights files and `tf.train.Checkpoint` leave the values out without a word, and `fit` does not train
    them. An Estimator carries and saves them, and trains those that are trainable.

Example:
    self.totals = [tf.Variable(0.0, trainable=False), tf.Variable(0.0, trainable=False)]

Instead:
    self.totals = [
        self.add_weight(name=f"total_{place}", shape=(), initializer="zeros", trainable=False) for place in range(2)
    ]

Fix:
    Unsafe: the variables become weights, and `get_weights` returns more arrays than before.

Evidence:
    A variable in a list was 2.0 after two calls of `predict` and 0.0 after `save` and `load_model`; a
    `tf.train.Checkpoint` of the model had no key for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.weight_calls import Bracketed, Weight, in_width, weight_for

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_TITLE = "make them weights: self.add_weight(...)"
_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_ADDS = frozenset({"append", "extend", "add", "insert", "setdefault", "update"})


def in_source(source: Source) -> Iterator[Problem]:
    """Find variables that are put into a container of an object of Keras."""
    found: set[tuple[int, str]] = set()
    for call in source.calls:
        owner = source.class_of(call) if source.dotted(call.func) == "tensorflow.Variable" else None
        name = _container(source, call) if owner is not None else ""
        if owner is None or not name or (id(owner.node), name) in found:
            continue
        found.add((id(owner.node), name))
        made = _assignment(owner, name)
        fix = _fix(source, made, name, owner) if made is not None else Fix(_TITLE, Applicability.DISPLAY)
        yield Problem(made or source.statement_of(call), f"self.{name} has raw tf.Variables in it", fix=fix)


def _container(source: Source, call: ast.Call) -> str:
    """Return the attribute of `self` whose container a variable is put into; empty if it is not."""
    inside = False
    for outer in source.around(call):
        if isinstance(outer, _CONTAINERS):
            inside = True
        elif isinstance(outer, ast.Call) and isinstance(outer.func, ast.Attribute) and outer.func.attr in _ADDS:
            return _attribute(outer.func.value)
        elif isinstance(outer, ast.Assign | ast.AnnAssign):
            targets = outer.targets if isinstance(outer, ast.Assign) else [outer.target]
            keyed = [_attribute(one.value) for one in targets if isinstance(one, ast.Subscript)]
            named = [_attribute(one) for one in targets] if inside else []
            return next(filter(None, (*keyed, *named)), "")
        elif not isinstance(outer, ast.keyword):
            return ""
    return ""


def _attribute(node: ast.expr) -> str:
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if is_own else ""  # type: ignore[attr-defined]  # it is an Attribute


def _assignment(owner: KerasClass, name: str) -> ast.stmt | None:
    """Return where a class assigns to an attribute first."""
    for node in ast.walk(owner.node):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.stmt) and any(isinstance(one, ast.expr) and _attribute(one) == name for one in targets):
            return node
    return None


def _fix(source: Source, made: ast.stmt, name: str, owner: KerasClass) -> Fix:
    """Rewrite a list or dict in which only variables stand, each with a known first value."""
    container = getattr(made, "value", None)
    advice = Fix(_TITLE, Applicability.DISPLAY)
    if isinstance(container, ast.Dict):
        keys = [str(key.value) if isinstance(key, ast.Constant) else "" for key in container.keys]
        values, names = container.values, [f"{name}_{key}" if key.isidentifier() else "" for key in keys]
    elif isinstance(container, ast.List):
        values, names = container.elts, [f"{name}_{place}" for place in range(len(container.elts))]
    else:
        return advice
    weights: list[Weight | None] = [
        weight_for(source, value, one, owner) if isinstance(value, ast.Call) and one else None
        for value, one in zip(values, names, strict=True)
    ]
    made_of = [weight for weight in weights if weight is not None]
    if len(made_of) != len(weights) or not all(source.dotted(one.func) == "tensorflow.Variable" for one in values):  # type: ignore[attr-defined]  # calls
        return advice
    items = [weight.code for weight in made_of]
    if isinstance(container, ast.Dict):
        keyed = [f"{source.code(key)}: " for key in container.keys if key is not None]
        items = [Bracketed(key + one.opening, one.items, one.closing) for key, one in zip(keyed, items, strict=True)]
    ends = "{}" if isinstance(container, ast.Dict) else "[]"
    code = in_width(source, container, Bracketed(ends[0], tuple(items), ends[1]))
    imports = [change for weight in made_of for change in weight.imports][:1]
    return Fix(_TITLE, Applicability.UNSAFE, (replace(container, code), *imports))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find raw variables that an object of the model has, though no attribute of it is one."""
    found: dict[tuple[int, str], list[str]] = {}
    owners = {}
    for held in live.holdings:
        is_inside = held.is_raw and held.attribute and getattr(held.owner, held.attribute, None) is not held.variable
        if is_inside and live.place_of(type(held.owner)) is not None:
            found.setdefault((id(held.owner), held.attribute), []).append(held.path)
            owners[id(held.owner)] = held.owner
    for (key, name), paths in found.items():
        layer = live.layer_named(paths[0])
        message = f"self.{name} has raw tf.Variables in it"
        evidence = f"none of {', '.join(f'`{path}`' for path in paths[:3])} is a weight of the model"
        yield Problem(live.place_of_attribute(owners[key], name), message, layer=layer, evidence=evidence)
