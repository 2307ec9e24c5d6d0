"""A model is shown as its graph, folded if it is long, or as a tree; and all its layers in a table."""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import Element

import keras
import pytest
from reported_run import two_ways

from keras_estimator.model.description import describe
from keras_estimator.report.model_picture import folded, picture, shapes_text
from keras_estimator.report.pins import Note


def layer(name: str = "a", **changes: Any) -> dict[str, Any]:
    counts = {"trainable_parameters": 0, "other_parameters": 0}
    return {"path": name, "name": name, "class": "Dense", "inside": None, "output_shapes": [], **counts, **changes}


def model(num_layers: int, edges: list[list[int]], **changes: Any) -> dict[str, Any]:
    return {**layer("m"), "layers": [layer(f"l{place}") for place in range(num_layers)], "edges": edges, **changes}


def names(graph: dict[str, Any]) -> list[list[str]]:
    return [[row["name"] for row in box] for box in graph["boxes"]]


def find(elements: list[Element], id_: str) -> Element:
    return next(found for element in elements for found in element.iter() if found.get("id") == id_)


def test_a_small_graph_has_a_box_for_each_layer():
    graph = folded(describe(two_ways()))
    assert [len(box) for box in graph["boxes"]] == [1] * 7
    assert len(graph["edges"]) == 7
    dense = next(box[0] for box in graph["boxes"] if box[0]["name"] == "first")
    assert dense == {"class": "Dense", "name": "first", "shape": "(\u2013, 8)", "kind": "dense"}


def test_chains_of_a_large_graph_share_a_box():
    x = y = keras.Input((4,))
    for _ in range(20):
        y = keras.layers.Add()([y, keras.layers.Dense(4)(keras.layers.ReLU()(y))])
    graph = folded(describe(keras.Model(x, y)))
    assert sorted(len(box) for box in graph["boxes"]) == [1] * 21 + [2] * 20
    assert len(graph["edges"]) == 60


def test_a_long_chain_is_one_box_and_a_circle_ends():
    assert folded(model(50, [[at, at + 1] for at in range(49)]))["edges"] == []
    circle = folded(model(50, [[at, (at + 1) % 50] for at in range(50)]))
    assert [len(box) for box in circle["boxes"]] == [50]
    assert names(folded(model(50, [[0, 0], *([at, at + 1] for at in range(49))])))[0] == ["l0"]


def test_a_layer_that_holds_others_says_how_many():
    nested = model(2, [[0, 1]])
    nested["layers"] += [layer("in", inside=1), layer("in too", inside=1)]
    assert names(folded(nested)) == [["l0"], ["l1 (2 layers in it)"]]


def test_the_page_gets_the_graph_as_data_and_the_layers_as_a_table():
    described = describe(two_ways())
    shown = picture(described)
    assert json.loads(find(shown, "model-data").text or "") == folded(described)
    rows = [row for element in shown for row in element.iter("tr")]
    assert len(rows) == 1 + 7


def test_what_is_no_graph_is_a_tree():
    nested = model(0, [], layers=[layer("outer"), layer("inner", inside=0), layer("next")])
    (tree,) = [element for element in picture(nested) if element.get("class") == "tree"]
    lists = ["".join(found.itertext()) for found in tree.iter("ul")]
    assert lists == ["Dense outer Dense inner Dense next ", "Dense inner "]


NOTES = [Note(f"n{number}", "warning", f"note {number}") for number in range(4)]


def pinned(graph: dict[str, Any]) -> list[list[str]]:
    return [pin["ids"] if pin else [] for pin in graph["pins"]]


def test_a_picture_without_notes_has_no_pins():
    described = describe(two_ways())
    assert set(folded(described)) == {"boxes", "edges"}
    assert find(picture(described), "graph").get("role") == "img"
    assert [link for element in picture(described) for link in element.iter("a")] == []


def test_a_note_is_pinned_on_the_box_of_its_layer_or_of_the_one_around_it():
    nested = model(3, [[0, 1], [1, 2]])
    nested["layers"] += [layer("in", inside=1), layer("deep", inside=3)]
    assert pinned(folded(nested, {0: NOTES[:1], 4: NOTES[1:2], 3: NOTES[1:3]})) == [["n0"], ["n1", "n2"], []]


def test_layers_in_one_box_share_their_pin():
    chain = model(50, [[at, at + 1] for at in range(49)])
    graph = folded(chain, {3: NOTES[:2], 7: NOTES[1:3]})
    assert pinned(graph) == [["n0", "n1", "n2"]]
    assert graph["pins"][0]["rows"] == [3, 7]


def test_what_is_about_no_box_is_pinned_above_the_picture():
    apart = model(2, [[0, 1]])
    apart["layers"].append(layer("apart"))
    shown = picture(apart, {None: NOTES[:1], 1: NOTES[1:2], 2: NOTES[2:3]})
    (above,) = [element for element in shown if element.text == "About no layer in particular: "]
    assert [link.get("data-ids") for link in above.iter("a")] == ["n0 n2"]
    assert find(shown, "graph").get("role") == "group", "pins can be clicked, so the picture is none for who reads it"
    rows = [row for element in shown for row in element.iter("th") if row.find("a") is not None]
    assert ["".join(row.itertext()) for row in rows] == ["l1 W 1", "apart W 1"]


def test_a_tree_has_pins_at_its_layers():
    nested = model(0, [], layers=[layer("outer"), layer("inner", inside=0), layer("next")])
    shown = picture(nested, {1: NOTES[:2], 2: NOTES[:1]})
    (tree,) = [element for element in shown if element.get("class") == "tree"]
    assert "".join(tree.itertext()) == "Dense outer Dense inner W 2 Dense next W 1 "
    assert not [element for element in shown if element.text == "About no layer in particular: "]


@pytest.mark.parametrize("edges", [[], [[at, at + 1] for at in range(9_999)]])
def test_a_model_of_any_size_and_depth_has_a_picture(edges: list[list[int]]):
    deep = model(10_000, edges)
    for place, one in enumerate(deep["layers"]):
        one["inside"] = place - 1 if place else None
    text = "".join("".join(element.itertext()) for element in picture(deep, {9_998: NOTES}))
    assert "7,000 more" in text
    assert "About no layer in particular: W 4" in text, "its layer is not shown"


def test_a_model_that_is_not_built_says_so():
    text = "".join(
        "".join(element.itertext()) for element in picture(describe(keras.Sequential([keras.layers.Dense(1)])))
    )
    assert "not built yet" in text


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([[None, 3]], "(\u2013, 3)"), ([[1], []], "(1), ()"), ([None, "x", [True], [[1]]], "?, ?, ?, ?"),
        ([[1]] * 9, "(1), (1), (1), (1), …"),
    ],
)  # fmt: skip
def test_shapes_from_a_file_are_shown_or_not_known(shapes: list[Any], text: str):
    assert shapes_text(shapes) == text
