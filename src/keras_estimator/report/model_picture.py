"""Show a described model: a graph if it is one, else a tree of what is nested in what; and all its layers.

A graph of many layers is folded first: layers that follow each other without a branch share one box. Where the
boxes stand is found by dagre, in the browser.
"""

from __future__ import annotations

import collections
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from keras_estimator.report.elements import NOTHING, cell, counted, data, element, table
from keras_estimator.report.pins import Note, pin_of, with_pin

# What is said about layers, by their places in the description; by None, what is about the whole model.
Notes = Mapping[int | None, Sequence[Note]]

_MOST_BOXES_UNFOLDED = 40
_MOST_BOXES = 400
_MOST_LAYERS = 3000
_DEEPEST = 12
_KINDS = {  # the first that matches says how a layer is coloured
    "input": "^InputLayer$",
    "nested": "^(Sequential|Functional|.*Model)$",
    "convolution": "Conv",
    "recurrent": "LSTM|GRU|RNN|Bidirectional",
    "attention": "Attention|Transformer",
    "normal": "Norm",
    "pooling": "Pool|UpSampling",
    "dense": "Dense|Embedding",
    "activation": "ReLU|Activation|Softmax|ELU|Swish|Dropout|Noise",
}


def picture(model: dict[str, Any], notes: Notes | None = None) -> list[ET.Element]:
    """Return the picture of a model whose description was checked, and the table of its layers.

    Args:
        model: The description.
        notes: What is pinned on its layers.
    """
    notes = notes or {}
    trainable, other = model["trainable_parameters"], model["other_parameters"]
    facts = [f"{model['name']} ({model['class']})", counted(len(model["layers"]), "layer")]
    if trainable or other:
        facts.append(f"{trainable:,} trainable parameters" + (f" and {other:,} others" if other else ""))
    elif not all(layer.get("is_built") for layer in (model, *model["layers"])):
        facts.append("not built yet when it was described")
    shown = [element("p", " · ".join(facts), class_="facts")]
    graph = folded(model, notes)
    pinned: set[str] = set()
    if graph and len(graph["boxes"]) <= _MOST_BOXES:
        pinned = {id_ for made in graph.get("pins", ()) if made for id_ in made["ids"]}
        label = f"Graph of the model: {counted(len(graph['boxes']), 'box')}, listed in the table below"
        role = "group" if pinned else "img"  # in a picture nothing could be clicked
        shown.append(element("div", id="graph", class_="graph", role=role, aria_label=label, tabindex=0))
        shown.append(data("model-data", graph))
    elif model["layers"]:
        tree = _tree(model["layers"], notes)
        pinned = {id_ for link in tree.iter("a") for id_ in link.get("data-ids", "").split()}
        shown.append(element("div", tree, class_="tree", tabindex=0, role="region", aria_label="Layers"))
    others = [note for said in notes.values() for note in said if note.id not in pinned]
    if others:
        shown.insert(1, element("p", *with_pin("About no layer in particular:", others)))
    if model["layers"]:
        name = f"All {counted(len(model['layers']), 'layer')} in a table"
        shown.append(element("details", element("summary", name), *_layers_table(model["layers"], notes)))
    return shown


def folded(model: dict[str, Any], notes: Notes | None = None) -> dict[str, Any]:
    """Return the boxes of a graph and the edges between them; an empty dict if the model is no graph.

    Args:
        model: The description.
        notes: What is pinned on its layers.

    Returns:
        `boxes`, each a list of layers (texts `class`, `name`, `shape`, `kind`), and `edges` between their places. With
        notes, `pins`, too: for each box what `pin_of` makes of those about its layers and about layers in these, and
        `rows`, which of its layers they are about.
    """
    edges = [tuple(edge) for edge in model["edges"]]
    layers = model["layers"]
    if not edges and not (len(layers) == 1 and model.get("kind") == "sequential"):
        return {}
    ends = sorted({place for edge in edges for place in edge}) or [0]
    if len(ends) > _MOST_LAYERS:
        return {}
    groups = _chains(ends, edges) if len(ends) > _MOST_BOXES_UNFOLDED else [[place] for place in ends]
    box_of = {place: number for number, group in enumerate(groups) for place in group}
    inside = collections.Counter(layer["inside"] for layer in layers)
    between = {(box_of[start], box_of[end]): None for start, end in edges if box_of[start] != box_of[end]}
    graph: dict[str, Any] = {
        "boxes": [[_row(layers[place], inside[place]) for place in group] for group in groups],
        "edges": [list(edge) for edge in between],
    }
    if notes:
        graph["pins"] = _pins(notes, layers, groups)
    return graph


def _pins(notes: Notes, layers: list[dict[str, Any]], groups: list[list[int]]) -> list[dict[str, Any] | None]:
    found: dict[int, list[Note]] = {place: [] for group in groups for place in group}
    for noted, said in notes.items():
        place = noted
        while place is not None and place not in found:
            place = layers[place]["inside"]
        if place is not None:
            found[place] += said
    pins = []
    for group in groups:
        made = pin_of(note for place in group for note in found[place])
        pins.append(made and {**made, "rows": [row for row, place in enumerate(group) if found[place]]})
    return pins


def _chains(ends: list[int], edges: list[tuple[int, ...]]) -> list[list[int]]:
    """Return the layers in groups: each a chain whose inner edges are the only ones at their ends."""
    leaving: dict[int, list[int]] = {place: [] for place in ends}
    arriving: dict[int, list[int]] = {place: [] for place in ends}
    for start, end in edges:
        leaving[start].append(end)
        arriving[end].append(start)

    def follows(place: int) -> int | None:
        """Return what comes next in the chain."""
        (*_, after) = leaving[place] or [place]
        is_single = len(leaving[place]) == 1 and len(arriving[after]) == 1
        return after if is_single and after != place else None

    heads = set(ends) - {after for place in ends if (after := follows(place)) is not None}
    groups, grouped = [], set()
    for head in [*sorted(heads), *ends]:  # what is in no chain with a head goes round in a circle
        group: list[int] = []
        place: int | None = head
        while place is not None and place not in grouped:
            grouped.add(place)
            group.append(place)
            place = follows(place)
        if group:
            groups.append(group)
    return groups


def _row(layer: dict[str, Any], inner: int) -> dict[str, str]:
    name = f"{layer['name']} ({counted(inner, 'layer')} in it)" if inner else layer["name"]
    return {"class": layer["class"], "name": name, "shape": shapes_text(layer["output_shapes"]), "kind": _kind(layer)}


def _kind(layer: dict[str, Any]) -> str:
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, layer["class"])), "other")


def shapes_text(shapes: list[Any]) -> str:
    """Return a text such as `(None, 28, 28, 1)`; of several outputs, each."""
    texts = []
    for shape in shapes[:4]:
        if isinstance(shape, list) and len(shape) <= 12 and all(type(length) in (int, type(None)) for length in shape):
            texts.append("(" + ", ".join(NOTHING if length is None else f"{length}" for length in shape) + ")")
        else:
            texts.append("?")
    return ", ".join(texts) + (", …" if len(shapes) > 4 else "")


def _depths(layers: list[dict[str, Any]]) -> list[int]:
    depths: list[int] = []
    for layer in layers:
        depths.append(0 if layer["inside"] is None else min(depths[layer["inside"]] + 1, _DEEPEST))
    return depths


def _tree(layers: list[dict[str, Any]], notes: Notes) -> ET.Element:
    """Return nested lists; what is nested too deep stands in its deepest list."""
    root = element("ul")
    lists: list[ET.Element] = []
    depths = _depths(layers)
    holders = {layer["inside"] for layer in layers}
    for place, layer in enumerate(layers[:_MOST_LAYERS]):
        outer = root if layer["inside"] is None else lists[layer["inside"]]
        name = with_pin(layer["name"], notes.get(place, ()))
        item = element("li", element("b", layer["class"]), " ", *name, " ", _numbers(layer))
        item.set("class", f"kind-{_kind(layer)}")
        outer.append(item)
        if place in holders and depths[place] < _DEEPEST:
            inner = element("ul")
            item.append(inner)
            lists.append(inner)
        else:
            lists.append(outer)
    if len(layers) > _MOST_LAYERS:
        root.append(element("li", f"and {len(layers) - _MOST_LAYERS:,} more"))
    return root


def _numbers(layer: dict[str, Any]) -> ET.Element | None:
    total = layer["trainable_parameters"] + layer["other_parameters"]
    return element("small", f"{total:,} parameters") if total else None


def _layers_table(layers: list[dict[str, Any]], notes: Notes) -> list[ET.Element]:
    rows = []
    for place, (layer, depth) in enumerate(list(zip(layers, _depths(layers), strict=True))[:_MOST_LAYERS]):
        said = notes.get(place, ())
        path = layer["path"] if isinstance(layer.get("path"), str) and layer["path"] else layer["name"]
        rows.append(
            [
                element("th", *with_pin(path, said), scope="row", class_=f"depth-{depth}" if depth else None),
                cell(layer["class"]),
                cell(shapes_text(layer["output_shapes"]) or NOTHING),
                cell(f"{layer['trainable_parameters']:,}", class_="number"),
                cell(f"{layer['other_parameters']:,}", class_="number"),
            ]
        )
    heads = ["Layer", "Class", "Output", "Trainable parameters", "Others"]
    made = [table(heads, rows, label="Layers", class_="layers")]
    if len(layers) > _MOST_LAYERS:
        made.append(element("p", f"{len(layers) - _MOST_LAYERS:,} more are not shown.", class_="note"))
    return made
