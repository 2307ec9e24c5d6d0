"""KE117 unregistered-part: Keras finds losses, metrics, initializers by name only, and this one is not registered.

What it finds:
    A class that inherits from `Loss`, `Metric`, `Optimizer`, `LearningRateSchedule`, `Initializer`, `Regularizer` or
    `Constraint`, and a function that is given as a loss, a metric, an activation or an initializer, without
    `@keras.saving.register_keras_serializable`.

Why it matters:
    A `.keras` file holds their names only. Where a name is not imported, or is of `__main__` or of a function, Keras
    looks into its registry, and finds nothing.

If ignored:
    `load_model` of Keras says "Could not locate function" or "Could not locate class" unless it is given
    `custom_objects`. An Estimator carries the function itself.

Example:
    def my_loss(y, p):
        return keras.ops.mean(keras.ops.abs(y - p), axis=-1)

Instead:
    @keras.saving.register_keras_serializable(package="my_models")
    def my_loss(y, p):
        return keras.ops.mean(keras.ops.abs(y - p), axis=-1)

Fix:
    Safe: a decorator that returns what it is given.

Evidence:
    Rows 28 and 30 of the zoo: `.keras` is written and cannot be read without `custom_objects`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Fix, Place, Severity
from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.registration import is_decorated, registered_by_call, registering
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_KINDS = ("loss", "metric", "optimizer", "schedule", "initializer", "regularizer", "constraint")
_OF_COMPILE = {"loss": "loss", "metrics": "metric", "weighted_metrics": "metric"}
_OF_LAYERS = ("activation", "initializer", "regularizer", "constraint")
_MADE_BY = {f"keras.{kind}s.{kind.title()}": kind for kind in ("initializer", "constraint", "regularizer")}


def in_source(source: Source) -> Iterator[Problem]:
    """Find classes and functions that no decorator and no call registers."""
    registered = registered_by_call(source)
    for one in source.classes:
        if one.kind not in _KINDS or "abc.ABC" in one.bases or one.name in registered:
            continue
        if not is_decorated(one.node):
            yield Problem(one.node, f"{one.kind} {one.name} is not registered", fix=_fix(source, one.node))
    told: set[str] = set()
    for call in source.calls:
        for name, role in _functions_given(source, call):
            function = source.functions.get(name)
            if isinstance(function, ast.FunctionDef) and name not in registered | told and not is_decorated(function):
                told.add(name)
                yield Problem(function, f"{role} {name} is not registered", fix=_fix(source, function))


def _fix(source: Source, node: ast.ClassDef | ast.FunctionDef) -> Fix | None:
    # Of what is defined in a function, the next call of it registers another one.
    return None if source.function_of(node) is not None else registering(source, node)


def _functions_given(source: Source, call: ast.Call) -> Iterator[tuple[str, str]]:
    """Yield the names that a call hands to Keras as functions, and as what."""
    is_compile = isinstance(call.func, ast.Attribute) and call.func.attr == "compile"
    is_layer = not is_compile and kind_of_keras(source.dotted(call.func)) == "layer"
    if source.dotted(call.func) == "keras.layers.Lambda":
        given = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "function")]
        yield from ((value.id, "function") for value in given if isinstance(value, ast.Name))
    for word in call.keywords if is_compile or is_layer else ():
        role = _OF_COMPILE.get(word.arg or "") if is_compile else (word.arg or "").rpartition("_")[2]
        if role and (is_compile or role in _OF_LAYERS):
            values = [word.value]
            if isinstance(word.value, ast.List | ast.Tuple):
                values = word.value.elts
            elif isinstance(word.value, ast.Dict):
                values = word.value.values
            yield from ((value.id, role) for value in values if isinstance(value, ast.Name))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find parts of `compile` and of layers that are the user's and in no registry."""
    told: set[int] = set()
    for path, part, role in _parts(live):
        named = part if isinstance(part, type) or hasattr(part, "__name__") else type(part)
        name, place = getattr(named, "__name__", ""), live.place_of(named)
        if id(named) in told or place is None or name in ("<lambda>", ""):
            continue
        told.add(id(named))
        if ">" not in live.keras.saving.get_registered_name(named):
            evidence = f"Keras writes the name `{name}` only"
            fix = _fix_at(live, place)
            yield Problem(place, f"{role} {name} is not registered", layer=path, evidence=evidence, fix=fix)


def _fix_at(live: LiveModel, place: Place) -> Fix | None:
    source = live.source(place.file)
    if source is None:
        return None
    nodes = [*(one.node for one in source.classes), *source.functions.values()]
    found = (one for one in nodes if one.lineno == place.line and isinstance(one, ast.ClassDef | ast.FunctionDef))
    return next((_fix(source, one) for one in found), None)


def _parts(live: LiveModel) -> Iterator[tuple[str, Any, str]]:
    """Yield path, object and role of what may be a user's own."""
    for word, role in _OF_COMPILE.items():
        given = live.keras.tree.flatten(live.compiled_parts.get(word))
        yield from (("", part, role) for part in given if part is not None and not isinstance(part, str))
    optimizer = live.compiled_parts.get("optimizer")
    if optimizer is not None and not isinstance(optimizer, str):
        yield "", optimizer, "optimizer"
        rate = getattr(optimizer, "_learning_rate", None)
        if live.is_a(rate, "keras.optimizers.schedules.LearningRateSchedule"):
            yield "", rate, "schedule"
    for path, layer in live.layers_of("keras.layers.Lambda"):
        yield path, layer.function, "function"
    for path, layer in live.layers.items():
        for attribute, value in list(vars(layer).items()):
            role = attribute.rpartition("_")[2]
            made_by = next((kind for name, kind in _MADE_BY.items() if live.is_a(value, name)), "")
            if made_by or (role in _OF_LAYERS and callable(value) and live.place_of(type(layer)) is None):
                yield path, value, made_by or role
