"""KE307 list-layers-checkpoint: `tf.train.Checkpoint` does not see the weights of layers that are kept in a list.

What it finds:
    An attribute that is a list or a dict of layers, whose weights no `tf.train.Checkpoint` of the model would hold.

Why it matters:
    Keras tracks layers in lists, TensorFlow's checkpoints do not look into lists of Keras. In a compiled model they
    find the trained weights by way of the optimizer, and never the moving means and variances of BatchNormalization.

If ignored:
    A model restored by `tf.train.Checkpoint` has lost them, and `assert_existing_objects_matched()` is content.
    `.keras` and weights files of Keras hold them; an Estimator saves by its own paths and loses nothing.

Example:
    self.blocks = [keras.layers.Dense(4), keras.layers.BatchNormalization()]

Instead:
    self.blocks = keras.Sequential([keras.layers.Dense(4), keras.layers.BatchNormalization()])

Fix:
    None: save with `model.save_weights`, or an Estimator.

Evidence:
    A list with Dense and BatchNormalization: 6 of 8 variables had no key in the checkpoint of the model that was not
    compiled, the 2 moving ones of the compiled one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_CHECKPOINTS = frozenset({"tensorflow.train.Checkpoint"})
_FIX = Fix("save with model.save_weights", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find lists of layers in a file that makes checkpoints of TensorFlow."""
    if not any(source.dotted(call.func) in _CHECKPOINTS for call in source.calls):
        return
    for one in source.classes:
        for node in ast.walk(one.node) if one.kind in ("layer", "model") else ():
            name = _list_of_layers(source, node, one)
            if name:
                message = f"the weights of the layers in self.{name} are in no tf.train.Checkpoint"
                yield Problem(node, message, fix=_FIX, severity=Severity.WARNING)


def _list_of_layers(source: Source, node: ast.AST, owner: KerasClass) -> str:
    """Return the attribute to which a container of new layers is assigned."""
    if not isinstance(node, ast.Assign) or not isinstance(
        node.value, ast.List | ast.Dict | ast.ListComp | ast.DictComp
    ):
        return ""
    target = node.targets[0]
    is_own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    made = [one for one in ast.walk(node.value) if isinstance(one, ast.Call)]
    has_layer = any(kind_of_keras(source.dotted(one.func)) in ("layer", "model") for one in made)
    return target.attr if is_own and has_layer and source.class_of(node) is owner else ""  # type: ignore[attr-defined]  # it is an Attribute


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare what a checkpoint of TensorFlow reaches with what the model has."""
    try:
        reached = {id(_storage(one)) for one in live.tf.train.TrackableView(live.model).descendants()}
    except Exception:  # noqa: BLE001 - TensorFlow cannot walk through it, so it makes no checkpoint of it either
        return
    missing = [one for one in live.model.variables if id(_storage(one)) not in reached]
    paths = {id(held.variable): held.path for held in live.holdings if not _is_seed(live, held.owner)}
    lost: dict[tuple[str, str], list[str]] = {}
    for path in (paths[id(one)] for one in missing if id(one) in paths):
        owner, name = _container_of(live, path)
        if name:
            lost.setdefault((owner, name), []).append(path)
    for (path, name), held in lost.items():
        place = live.place_of_attribute(live.layers[path], name)
        message = f"the weights of the layers in self.{name} are in no tf.train.Checkpoint"
        evidence = f"it has no key for {len(held)} of {len(live.model.variables)} variables, such as `{held[0]}`"
        yield Problem(place, message, layer=path, evidence=evidence, fix=_FIX)


def _storage(variable: Any) -> Any:
    """Return the variable of TensorFlow behind one of Keras, or the thing itself."""
    return getattr(variable, "_value", variable)


def _is_seed(live: LiveModel, owner: Any) -> bool:
    return live.is_a(owner, "keras.random.SeedGenerator")  # which no file of Keras holds either: KE305


def _container_of(live: LiveModel, path: str) -> tuple[str, str]:
    """Return the layer of the user, and its attribute, in whose container the owner of a variable is."""
    above = {id(live.layers[inner]) for inner in _above(path) if inner in live.layers}
    for outer, layer in live.layers_of_user:
        for name, value in vars(layer).items():
            inside = list(value.values()) if isinstance(value, dict) else value
            is_container = isinstance(inside, list | tuple) and not name.startswith("_")
            if is_container and any(id(one) in above for one in inside):
                return outer, name
    return "", ""


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
