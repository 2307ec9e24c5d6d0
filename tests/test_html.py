"""A report as a page and in a notebook tells all that was found, pins it on the model, and lets no text be code."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from diagnosed import FIX, chain_report, finding, findings, graph_report, tree_report
from test_page import HOSTILE, Seen

from keras_estimator.doctor.findings import Applicability, Fix, Place, Severity
from keras_estimator.doctor.formats.html import as_fragment, as_page, prose, source_lines
from keras_estimator.doctor.report import Report

# What a notebook that is not trusted leaves of an output.
LEFT_BY_NOTEBOOKS = {
    "div", "span", "strong", "code", "pre", "small", "mark", "table", "tr", "th", "td", "details", "summary",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "waves.py"


def seen(page: str) -> Seen:
    return Seen(page.encode())


def words(page: str) -> str:
    return " ".join(seen(page).text.split())


def pins(page: str) -> dict[str, list[str] | None]:
    """Return the findings that are pinned on each box, by the name of its first layer."""
    graph = json.loads(seen(page).scripts["model-data"])
    made = zip(graph["boxes"], graph["pins"], strict=True)
    return {box[0]["name"].partition(" ")[0]: pin and pin["ids"] for box, pin in made}


class Cards(HTMLParser):
    """The words of each finding of a page, by its id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: dict[str, str] = {}
        self._card: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "article":
            self._card = str(dict(attrs)["id"])
            self.words[self._card] = ""

    def handle_endtag(self, tag: str) -> None:
        self._card = None if tag == "article" else self._card

    def handle_data(self, data: str) -> None:
        if self._card:
            self.words[self._card] = " ".join(f"{self.words[self._card]} {data}".split())


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_head_counts_what_was_found_and_what_can_be_mended(file: Path):
    text = words(as_page(graph_report(file)))
    assert "Diagnosis of model waves Looked at 8 layers, 1 file" in text
    for tile in ("Errors 1", "Warnings 2", "Information 1", "Can be mended 1 1 by safe fixes, 0 by unsafe ones"):
        assert tile in text
    assert "Not looked at its train_step" in text


def test_a_card_tells_everything_of_a_finding_the_worst_first(file: Path):
    cards = Cards(as_page(graph_report(file))).words
    assert [text.split()[2] for text in cards.values()] == ["KE201", "KE004", "KE301", "KE305"]
    assert cards["finding-1"] == (
        f"E error KE201 numpy-on-symbolic np.sin is applied to a tensor {file}:9:16 9 return np.sin( 10 x, 11 ) "
        "Layer wave If ignored Keras does not save it. Fix use keras.ops.sin (safe: --fix applies it)"
    )
    assert cards["finding-3"] == (
        "W warning KE301 raw-tf-variable self.count is a raw tf.Variable Layer inner/dense Evidence count is not among "
        "the 4 weights If ignored Keras does not save it. Fix make it a weight (by hand)"
    )
    assert "Layer drop, inner/drop_again" in cards["finding-4"]


def test_findings_are_pinned_on_the_boxes_of_their_layers(file: Path):
    page = as_page(graph_report(file))
    assert pins(page) == {
        "x": None,
        "wave": ["finding-1"],
        "drop": ["finding-4"],
        "inner": ["finding-3", "finding-4"],
        "add": None,
        "answer": None,
    }
    assert "About no layer in particular: W 1" in words(page)
    assert "inner/dense W 1" in words(page), "the table of the layers has pins, too"


def test_layers_that_share_a_box_share_its_pins():
    page = as_page(chain_report())
    assert pins(page) == {"l0": [f"finding-{number}" for number in range(1, 13)]}


def test_the_layers_of_a_subclassed_model_have_pins_in_the_tree(file: Path):
    page = as_page(tree_report(file))
    assert "LongWave wave E 1" in words(page)
    assert "Dense dense W 1" in words(page)
    assert "Dropout drop I 1" in words(page)
    assert set(seen(page).scripts) == {"own"}


def test_every_link_of_a_page_leads_somewhere_on_it(file: Path):
    for report in (graph_report(file), tree_report(file)):
        found = seen(as_page(report))
        ids = {value for name, value in found.attributes if name == "id"}
        links = {str(value) for name, value in found.attributes if name == "href"} - {"data:,"}
        assert {link.removeprefix("#") for link in links} <= ids
        named = {str(value) for name, value in found.attributes if name in ("aria-labelledby",)}
        assert named <= ids


def test_a_page_is_one_file_that_lets_nothing_in(file: Path):
    page = as_page(graph_report(file))
    found = seen(page)
    assert len(page) < 150_000
    assert "uPlot" not in found.scripts["own"].partition("use strict")[0], "what draws curves is not needed"
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "style")]
    assert any("default-src 'none'" in str(value) for name, value in found.attributes if name == "content")
    assert "noscript" in found.tags


def test_files_alone_have_a_page_without_a_picture(file: Path):
    page = as_page(Report("waves.py", findings(file), "1 file"))
    assert set(seen(page).scripts) == {"own"}
    assert len(Cards(page).words) == 4
    assert "Model" not in re.findall(r"<h2[^>]*>([^<]+)", page)


def test_a_healthy_model_says_so():
    page = as_page(Report("model `m`", (), "2 layers", (), dataclasses.replace(chain_report()).model))
    assert "Nothing was found" in words(page)
    assert "pins" not in json.loads(seen(page).scripts["model-data"])
    assert "nothing was found" in words(as_fragment(Report("model `m`", ())))


# --- the source -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "lines"),
    [
        (("", 9, 16, 9, 22), [(9, "        return ", "np.sin", "(")]),
        (("", 9, 16), [(9, "        return ", "np.sin(", "")]),
        (
            ("", 9, 16, 11, 10),
            [(9, "        return ", "np.sin(", ""), (10, "            ", "x,", ""), (11, "        ", ")", "")],
        ),
        (("", 9, 99, 9, 100), [(9, "        return np.sin(", "", "")]),
        (("", 99, 1, 99, 2), []),
    ],
)  # fmt: skip
def test_the_range_is_marked_in_its_lines(place: tuple[Any, ...], lines: list[Any], file: Path):
    findings(file)
    assert source_lines(Place(str(file), *place[1:])) == lines


def test_a_long_range_is_cut(file: Path):
    file.write_text("x = [\n" + "    1,\n" * 30 + "]\n")
    page = as_page(Report("f", (finding(place=Place(str(file), 1, 5, 32, 2)),)))
    assert "8 1, …" in words(page)
    assert "9 1," not in words(page)


def test_what_stands_between_backticks_is_code():
    parts = [part if isinstance(part, str) or part is None else (part.tag, part.text) for part in prose("a `b` c `d")]
    assert parts == ["a ", ("code", "b"), " c `d"]


# --- in a notebook ----------------------------------------------------------------------------------------------------


def test_a_notebook_shows_the_same_without_scripts_and_styles(file: Path):
    fragment = as_fragment(graph_report(file))
    found = seen(fragment)
    assert set(found.tags) <= LEFT_BY_NOTEBOOKS
    assert {name for name, _ in found.attributes} <= {"style", "open"}, "ids and classes would be those of the notebook"
    text = words(fragment)
    assert "model waves : 1 error, 2 warnings, 1 info (8 layers, 1 file)" in text
    assert f"E error KE201 np.sin is applied to a tensor {file}:9:16 9 return np.sin( 10 x, 11 )" in text
    assert "4 of 9 layers with findings Layer Class Findings" in text
    assert "inner/dense Dense W KE301" in text
    assert "not looked at: its train_step" in text


def test_a_report_shows_itself_in_a_notebook(file: Path):
    report = graph_report(file)
    assert report._repr_html_() == as_fragment(report)


@pytest.mark.parametrize(
    ("fix", "told"),
    [
        (FIX, "safe: --fix applies it"),
        (
            dataclasses.replace(FIX, applicability=Applicability.UNSAFE),
            "it may change what is computed",
        ),
        (Fix("do", Applicability.DISPLAY), "by hand"),
        (Fix("do", Applicability.SAFE), "by hand"),
    ],
)
def test_who_may_apply_a_fix_is_told(fix: Fix, told: str):
    report = Report("f", (finding(fix=fix),))
    assert told in words(as_page(report))
    assert told in words(as_fragment(report))


# --- what is shown is text --------------------------------------------------------------------------------------------


def hostile_report(folder: Path) -> Report:
    """Return a report in which every text is a piece of HTML."""
    path = folder / "hostile.py"
    path.write_text(f"x = {HOSTILE!r}\n")
    one = finding(
        Severity.ERROR, HOSTILE, code=HOSTILE, name=HOSTILE, message=HOSTILE, consequence=HOSTILE, evidence=HOSTILE,
        place=Place(str(path), 1, 5, 1, 50), fix=Fix(HOSTILE, Applicability.SAFE),
    )  # fmt: skip
    layer = {"name": HOSTILE, "class": HOSTILE, "path": HOSTILE, "inside": None, "output_shapes": [[HOSTILE], HOSTILE]}
    layer |= {"trainable_parameters": 1, "other_parameters": 1}
    model = {**layer, "kind": HOSTILE, "layers": [layer, {**layer, "path": "b"}], "edges": [[0, 1]]}
    elsewhere = dataclasses.replace(one, place=Place(HOSTILE, 1), layer="")
    return Report(HOSTILE, (one, elsewhere), HOSTILE, (HOSTILE,), model)


@pytest.mark.parametrize("edges", [[[0, 1]], []])
def test_a_hostile_report_is_shown_as_text(edges: list[Any], file: Path, tmp_path: Path):
    report = hostile_report(tmp_path)
    assert report.model is not None
    report.model["edges"] = edges
    page, sound = seen(as_page(report)), [seen(as_page(graph_report(file))), seen(as_page(tree_report(file)))]
    assert set(page.tags) <= {tag for one in sound for tag in one.tags}
    assert page.scripts["own"] == sound[0].scripts["own"]
    fragment = seen(as_fragment(report))
    assert set(fragment.tags) <= LEFT_BY_NOTEBOOKS
    assert not [name for name, _ in page.attributes + fragment.attributes if name.startswith("on")]
    assert page.text.count("window.hacked=1") >= 12
    assert fragment.text.count("window.hacked=1") >= 12


def test_half_a_character_is_shown_as_a_question_mark():
    report = Report("model \udc80", (finding(message="\udc80"),))
    assert "model ?" in words(as_page(report))
    assert "model ?" in words(as_fragment(report))
    as_page(report).encode()
    as_fragment(report).encode()
