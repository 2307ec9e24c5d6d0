"""Describe a model in plain values: its layers, their sizes and shapes, and what leads to what.

Nothing of the user's is called and no config is asked for: the attributes that are there are read, those of
Keras where Keras keeps what it knows (`_nodes_by_depth`, `_functional`, `_layers`, `_learning_rate`; checked
by tests/test_description.py). What is not known, as of a model that was not built yet, is left out.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_estimator.model.anatomy import Holding, holdings, layers_by_path
from keras_estimator.model.keras_private import storage_of

_NOT_WEIGHTS = (keras.optimizers.Optimizer, keras.metrics.Metric, keras.random.SeedGenerator)


def describe(model: Any) -> dict[str, Any]:
    """Describe a model as JSON values.

    Args:
        model: A Keras model, built or not, compiled or not.

    Returns:
        A dict of

        - `name`, `class`, `kind` ("functional", "sequential" or "subclassed"), and of the whole model
          `is_built`, `trainable_parameters`, `other_parameters`, `output_shapes`, as for each layer;
        - `layers`: the layers, and the operations of a Functional model, each a dict of `path` (as in checkpoints),
          `name`, `class`, `inside` (the place in this list of the layer that holds it, None: the model),
          `is_layer`, `is_built`, `trainable_parameters` and `other_parameters` (numbers, with those of the
          layers in it), `output_shapes` (a list of shapes; empty: not known);
        - `edges`: pairs of places in `layers`, from a layer to one that takes its output; empty for a
          subclassed model, where only its code knows;
        - `optimizer` and `loss`, if it is compiled.
    """
    paths = layers_by_path(model)
    nodes = _nodes(model)
    shapes = _output_shapes(nodes)
    own = _own_parameters(model, paths)
    entries = {path: _entry(path, layer, shapes) for path, layer in paths.items()}
    for path in entries:
        inner = [numbers for inside, numbers in own.items() if path in ("", inside) or inside.startswith(path + "/")]
        entries[path]["trainable_parameters"] = sum(trainable for trainable, _ in inner)
        entries[path]["other_parameters"] = sum(other for _, other in inner)
    places = {path: place for place, path in enumerate(path for path in paths if path)}
    for path in places:
        outer = _longest_prefix(path.rpartition("/")[0], places)
        entries[path]["inside"] = None if outer is None else places[outer]
    layers = [entries[path] for path in places]
    places_by_id = {id(layer): places[path] for path, layer in paths.items() if path}
    layers += _operations(nodes, places_by_id, shapes, first_place=len(layers))
    root = {name: value for name, value in entries[""].items() if name not in ("path", "is_layer")}
    edges = _edges(nodes, places_by_id) if nodes else _chain(model, places_by_id)
    return {**root, "kind": _kind(model), "layers": layers, "edges": edges, **_compiled(model)}


def _kind(model: Any) -> str:
    if isinstance(model, keras.Sequential):
        return "sequential"
    return "functional" if "_nodes_by_depth" in vars(model) else "subclassed"


def _nodes(model: Any) -> list[Any]:
    """Return the calls that a Functional or built Sequential model is made of, inputs first."""
    by_depth = vars(model).get("_nodes_by_depth") or vars(vars(model).get("_functional") or _Nothing).get(
        "_nodes_by_depth"
    )
    if not isinstance(by_depth, Mapping):
        return []
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


class _Nothing:
    """Stands for a graph that is not there."""


def _entry(path: str, thing: Any, shapes: Mapping[int, list[Any]]) -> dict[str, Any]:
    attributes = vars(thing)
    name = attributes.get("name")
    return {
        "path": path,
        "name": name if isinstance(name, str) else type(thing).__name__,
        "class": type(thing).__name__,
        "is_layer": isinstance(thing, keras.Layer),
        "is_built": bool(attributes.get("built", True)),
        "output_shapes": shapes.get(id(thing), []),
    }


def _own_parameters(model: Any, paths: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return how many numbers each layer holds by itself: trainable ones, and others."""
    by_id = {id(layer): path for path, layer in paths.items()}
    found: dict[str, tuple[int, int]] = {}
    for holding in holdings(model):
        if isinstance(holding.owner, _NOT_WEIGHTS):
            continue
        path = by_id.get(id(holding.owner))
        if path is None:
            path = _longest_prefix(holding.path, paths) or ""
        trainable, other = found.get(path, (0, 0))
        size = _size(holding)
        found[path] = (trainable + size, other) if holding.variable.trainable else (trainable, other + size)
    return found


def _size(holding: Holding) -> int:
    try:
        return math.prod(int(length) for length in holding.variable.shape)
    except (TypeError, ValueError):
        return 0  # a raw variable whose shape is not known


def _longest_prefix(path: str, known: Iterable[str]) -> str | None:
    while path:
        if path in known:
            return path
        path = path.rpartition("/")[0]
    return None


def _output_shapes(nodes: Sequence[Any]) -> dict[int, list[Any]]:
    """Return by the id of a layer what it gives in its first call of a graph."""
    shapes: dict[int, list[Any]] = {}
    for node in nodes:
        shapes.setdefault(id(node.operation), [_shape(tensor) for tensor in node.outputs])
    return shapes


def _shape(tensor: Any) -> list[int | None] | None:
    shape = tensor.shape
    return None if shape is None else [None if length is None else int(length) for length in shape]


def _operations(
    nodes: Sequence[Any], places: dict[int, int], shapes: Mapping[int, list[Any]], *, first_place: int
) -> list[dict[str, Any]]:
    """Return entries for the operations of a graph that are no layers, and note their places."""
    found: list[dict[str, Any]] = []
    for node in nodes:
        if id(node.operation) in places:
            continue
        places[id(node.operation)] = first_place + len(found)
        entry = _entry("", node.operation, shapes)
        entry["path"] = entry["name"]
        found.append({**entry, "trainable_parameters": 0, "other_parameters": 0, "inside": None})
    return found


def _edges(nodes: Sequence[Any], places: Mapping[int, int]) -> list[list[int]]:
    edges: dict[tuple[int, int], None] = {}
    for node in nodes:
        for parent in node.parent_nodes:
            if id(parent.operation) in places:
                edges[places[id(parent.operation)], places[id(node.operation)]] = None
    return [list(edge) for edge in edges]


def _chain(model: Any, places: Mapping[int, int]) -> list[list[int]]:
    """Return the edges of a Sequential that is not built yet."""
    if not isinstance(model, keras.Sequential):
        return []
    row = [places[id(layer)] for layer in vars(model).get("_layers", ()) if id(layer) in places]
    return [list(edge) for edge in itertools.pairwise(row)]


def _compiled(model: Any) -> dict[str, Any]:
    attributes = vars(model)
    if not attributes.get("compiled"):
        return {}
    described: dict[str, Any] = {"loss": _named(attributes.get("loss"))}
    optimizer = attributes.get("optimizer")
    if isinstance(optimizer, keras.optimizers.Optimizer):
        described["optimizer"] = _optimizer(optimizer)
    return described


def _optimizer(optimizer: Any) -> dict[str, Any]:
    """Return its class, its learning rate and the plain numbers that it was made with."""
    rate = vars(optimizer).get("_learning_rate")
    if isinstance(rate, keras.Variable):
        value = storage_of(rate)
        rate = (
            None if value is None else float(f"{float(np.asarray(value)):.7g}")
        )  # a float32: 0.001, not 0.00100000005
    else:
        rate = type(rate).__name__
    found = {"class": type(optimizer).__name__, "learning_rate": rate}
    for name, value in vars(optimizer).items():
        if type(value) in (bool, int, float) and not name.startswith("_") and name != "built":
            found[name] = value
    return found


def _named(loss: Any) -> Any:
    """Return what a loss is called; of several, each."""
    if loss is None or type(loss) is str:
        return loss
    if isinstance(loss, Mapping):
        return {str(name): _named(part) for name, part in loss.items()}
    if isinstance(loss, list | tuple):
        return [_named(part) for part in loss]
    return loss.__name__ if isinstance(loss, type | type(_named)) else type(loss).__name__


def versions() -> dict[str, str]:
    """Return the versions of Python, Keras and its backend."""
    backend = keras.config.backend()
    found = {"python": ".".join(map(str, sys.version_info[:3])), "keras": str(keras.__version__)}
    module = sys.modules.get(backend)  # asked for where it is imported: this file starts no backend
    if module is not None:
        found[backend] = str(getattr(module, "__version__", "unknown"))
    return found


def backend() -> str:
    """Return the name of Keras's backend."""
    return str(keras.config.backend())
