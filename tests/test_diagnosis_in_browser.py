"""A person who opens a diagnosis sees what is wrong with which layer, gets to it by mouse and by keyboard, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnosed import chain_report, graph_report, tree_report
from headless_browser import NAMES, Page, browser, found
from reported_run import two_ways
from test_html import hostile_report

from keras_estimator.doctor.diagnose import diagnose
from keras_estimator.doctor.formats.html import as_fragment, as_page
from keras_estimator.doctor.report import Report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found() is None, reason=f"no browser on the PATH: none of {', '.join(NAMES)}"),
]

# Each pin of the graph with the name of the layer in the box whose upper right corner is the nearest to it.
PINNED = """
(() => {
    const corner = (shape) => { const box = shape.getBoundingClientRect(); return [box.right, box.top]; };
    const boxes = [...document.querySelectorAll("#graph .box")];
    return [...document.querySelectorAll("#graph .pin")].map((pin) => {
        const [right, top] = corner(pin.querySelector("rect"));
        const away = (box) => Math.hypot(corner(box)[0] - right, corner(box)[1] - top);
        const box = boxes.reduce((best, one) => (away(one) < away(best) ? one : best));
        const name = box.parentNode.querySelector("title").textContent.split("  ")[1].split(" ")[0];
        return [name, pin.querySelector("text").textContent, pin.dataset.ids, away(box)];
    });
})()
"""
# What a pin covers that is not its own: texts of boxes, other pins, and what is outside of the picture.
COVERED = """
(() => {
    const area = (shape) => shape.getBoundingClientRect();
    const meet = (one, other) =>
        one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
    const picture = area(document.querySelector("#graph svg"));
    const pins = [...document.querySelectorAll("#graph .pin")];
    const inked = [...document.querySelectorAll("#graph text")];
    const bad = [];
    for (const pin of pins) {
        const own = area(pin.querySelector("rect"));
        for (const text of inked) if (!pin.contains(text) && meet(own, area(text))) bad.push(text.textContent);
        for (const other of pins) if (other !== pin && meet(own, area(other))) bad.push("another pin");
        if (own.left < picture.left || own.right > picture.right || own.top < picture.top) bad.push("the edge");
    }
    return bad;
})()
"""
COLOURS = """
(() => [...document.querySelectorAll("#graph .pin, .severity, a.pin")].map((pin) => {
    const inSvg = pin.querySelector("rect");
    const [paper, ink] = inSvg
        ? [getComputedStyle(inSvg).fill, getComputedStyle(pin.querySelector("text")).fill]
        : [getComputedStyle(pin).backgroundColor, getComputedStyle(pin).color];
    return [paper, ink];
}))()
"""
CHOSEN = "[...document.querySelectorAll('.finding.chosen')].map(card => card.id)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def shown(page: Page, report: Report, folder: Path, **how: Any) -> Path:
    path = folder / "page.html"
    path.write_text(as_page(report), encoding="utf-8")
    page.open(path, **how)
    return path


def middle_of(page: Page, selector: str) -> tuple[float, float]:
    box = f"document.querySelector({selector!r}).getBoundingClientRect()"
    left, width, top, height = (float(page.value(f"{box}.{name}")) for name in ("left", "width", "top", "height"))
    return left + width / 2, top + height / 2


def click(page: Page, selector: str) -> None:
    page.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
    x, y = middle_of(page, selector)
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    page.wait()


def strike(page: Page, key: str, code: int, text: str = "") -> None:
    """Press a key that does what it does in a browser."""
    pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
    page.call("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
    page.call("Input.dispatchKeyEvent", type="keyUp", **pressed)
    page.wait()


def is_in_view(page: Page, id_: str) -> bool:
    box = f"document.getElementById({id_!r}).getBoundingClientRect()"
    return bool(page.value(f"{box}.top >= -1 && {box}.top < innerHeight"))


def contrast(paper: str, ink: str) -> float:
    """Return how well two colours can be told apart, from 1 to 21 (WCAG 2)."""
    lights = []
    for colour in (paper, ink):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize(("width", "is_dark"), [(1440, False), (1440, True), (390, False), (390, True)])
@pytest.mark.parametrize("make", [graph_report, tree_report])
def test_a_diagnosis_fits_and_can_be_read_wide_narrow_light_and_dark(
    make: Any, width: int, is_dark: bool, page: Page, tmp_path: Path
):
    path = shown(page, make(tmp_path / "waves.py"), tmp_path, width=width, is_dark=is_dark)
    assert page.complaints() == []
    assert page.requests() == [path.absolute().as_uri()]
    assert page.value("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
    colours = page.value(COLOURS)
    assert len(colours) >= 8
    assert [pair for pair in colours if contrast(*pair) < 4.5] == []
    dark = contrast(page.value("getComputedStyle(document.body).backgroundColor"), "rgb(0, 0, 0)") < 2
    assert dark == is_dark


def test_pins_stand_on_the_boxes_of_their_layers(page: Page, tmp_path: Path):
    shown(page, graph_report(tmp_path / "waves.py"), tmp_path)
    pinned = page.value(PINNED)
    assert [pin[:3] for pin in pinned] == [
        ["wave", "E 1", "finding-1"],
        ["drop", "I 1", "finding-4"],
        ["inner", "W 2", "finding-3 finding-4"],
    ]
    assert max(away for *_, away in pinned) < 20
    assert page.value(COVERED) == []
    shapes = "[...document.querySelectorAll('#graph .pin rect')].map(r => r.rx.baseVal.value)"
    assert page.value(shapes)[0] < min(page.value(shapes)[1:]), "an error has another shape"


def test_layers_that_share_a_box_share_its_pin(page: Page, tmp_path: Path):
    shown(page, chain_report(), tmp_path)
    assert [pin[1] for pin in page.value(PINNED)] == ["W 12"]
    assert page.value(COVERED) == []
    assert page.value("document.querySelectorAll('#graph .noted').length") == 12, "the rows that it is about are marked"


def test_a_click_on_a_pin_goes_to_its_findings_and_marks_them(page: Page, tmp_path: Path):
    shown(page, graph_report(tmp_path / "waves.py"), tmp_path, height=500)
    assert not is_in_view(page, "finding-3")
    click(page, "#graph .pin-warning")
    assert page.value("location.hash") == "#finding-3"
    assert page.value(CHOSEN) == ["finding-3", "finding-4"]
    assert is_in_view(page, "finding-3")
    assert page.value("document.activeElement.id") == "finding-3"
    click(page, "#graph .pin-error")
    assert page.value(CHOSEN) == ["finding-1"]
    assert page.complaints() == []


def test_pins_are_reached_and_followed_with_the_keyboard(page: Page, tmp_path: Path):
    shown(page, graph_report(tmp_path / "waves.py"), tmp_path)
    page.value("document.getElementById('graph').focus()")
    labels = []
    for _ in range(3):
        strike(page, "Tab", 9)
        labels.append(page.value("document.activeElement.getAttribute('aria-label')"))
    assert [label[:9] for label in labels] == ["1 finding", "1 finding", "2 finding"]
    assert "KE301 `self.count` is a raw tf.Variable (inner/dense)" in labels[-1]
    width = "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
    assert page.value(width) == "3.5px", "who uses the keyboard sees where it is"
    strike(page, "Enter", 13, "\r")
    assert page.value("location.hash") == "#finding-3"
    assert page.value(CHOSEN) == ["finding-3", "finding-4"]
    assert page.value("document.querySelector('#graph svg').getAttribute('aria-hidden')") is None


@pytest.mark.parametrize("make", [graph_report, tree_report])
def test_a_finding_leads_back_to_its_layer(make: Any, page: Page, tmp_path: Path):
    shown(page, make(tmp_path / "waves.py"), tmp_path, height=500)
    click(page, "#finding-3 .to-picture")
    assert "finding-3" in page.value("document.activeElement.dataset.ids").split()
    assert page.value("document.activeElement.closest('#graph, .tree') !== null")
    top = page.value("document.activeElement.getBoundingClientRect().top")
    assert 0 <= top < 500


def test_a_tree_has_pins_that_lead_to_findings(page: Page, tmp_path: Path):
    shown(page, tree_report(tmp_path / "waves.py"), tmp_path)
    items = page.value(
        "[...document.querySelectorAll('.tree .pin')].map(p => [p.closest('li').innerText, p.innerText])"
    )
    assert [(text.split()[1], pin) for text, pin in items] == [("wave", "E 1"), ("dense", "W 1"), ("drop", "I 1")]
    click(page, ".tree .pin-info")
    assert page.value(CHOSEN) == ["finding-4"]


def test_the_range_is_marked_in_the_source(page: Page, tmp_path: Path):
    shown(page, graph_report(tmp_path / "waves.py"), tmp_path)
    assert page.value("document.querySelector('.source').innerText").rstrip() == (
        "    9          return np.sin(\n   10              x,\n   11          )"
    )
    assert page.value("[...document.querySelectorAll('.source mark')].map(m => m.innerText)") == ["np.sin(", "x,", ")"]
    decoration = page.value("getComputedStyle(document.querySelector('.source mark')).textDecorationStyle")
    assert decoration == "wavy"


def test_a_hostile_report_runs_nothing(page: Page, tmp_path: Path):
    report = hostile_report(tmp_path)
    shown(page, report, tmp_path)
    assert page.value("window.hacked === undefined")
    assert page.value("document.querySelectorAll('img, iframe, object').length") == 0
    assert page.value("document.querySelectorAll('#graph .pin').length") == 1
    click(page, "#graph .pin")
    (tmp_path / "part.html").write_text(f"<!doctype html>{as_fragment(report)}", encoding="utf-8")
    page.open(tmp_path / "part.html")
    assert page.value("window.hacked === undefined")
    assert page.complaints() == []


@pytest.mark.parametrize("is_dark", [False, True])
def test_a_notebook_shows_it_on_light_and_on_dark(is_dark: bool, page: Page, tmp_path: Path):
    colours = "background: #111; color: #eee" if is_dark else "background: #fff; color: #111"
    fragment = as_fragment(graph_report(tmp_path / "waves.py"))
    text = f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body style="{colours}">{fragment}'
    (tmp_path / "part.html").write_text(text, encoding="utf-8")
    page.open(tmp_path / "part.html", width=390)
    assert page.complaints() == []
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    own = "[...document.querySelectorAll('strong, summary, mark, pre')].map(e => getComputedStyle(e).color)"
    assert set(page.value(own)) == {"rgb(238, 238, 238)" if is_dark else "rgb(17, 17, 17)"}
    assert page.value("[...document.querySelectorAll('details')].map(d => d.open)") == [True, False, False, False, True]


def test_a_real_diagnosis_is_shown(page: Page, tmp_path: Path):
    report = diagnose(two_ways(), select=["KE305"])
    shown(page, report, tmp_path)
    assert page.complaints() == []
    (one,) = report.findings
    assert report.model is not None
    (name,) = [layer["name"] for layer in report.model["layers"] if layer["path"] == one.layer]
    assert [pin[:2] for pin in page.value(PINNED)] == [[name, "I 1"]]
    assert page.value("document.querySelectorAll('.finding').length") == 1
