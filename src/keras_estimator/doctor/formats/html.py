"""A report as a page for a browser, with the findings pinned on the graph of the model; and as a part of a notebook."""

from __future__ import annotations

import linecache
import re
import sys
import time as clock
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from keras_estimator.doctor.findings import Applicability, Finding, Fix, Place, Severity
from keras_estimator.doctor.formats.pinned import by_layer
from keras_estimator.doctor.formats.text import summary
from keras_estimator.doctor.report import Report
from keras_estimator.report import assets
from keras_estimator.report.elements import Child, add, cell, counted, document, element, moment
from keras_estimator.report.model_picture import picture
from keras_estimator.report.pins import LETTERS, Note

_MOST_LINES = 8  # of source, for one finding
_MOST_PATHS = 5
_TOLD = {
    Severity.ERROR: ("Errors", "it cannot run, or gives wrong numbers"),
    Severity.WARNING: ("Warnings", "something is lost, or fails in some use of it"),
    Severity.INFO: ("Information", "good to know"),
}
_HOW = {
    Applicability.SAFE: "safe: --fix applies it",
    Applicability.UNSAFE: "it may change what is computed: --unsafe-fixes applies it",
    Applicability.DISPLAY: "by hand",
}


def as_page(report: Report) -> str:
    """Return a report as one HTML file that loads nothing from anywhere."""
    script, style = assets.script("dagre"), assets.style("dagre")
    findings = _worst_first(report)
    found = by_layer(report, findings)
    cards = [_card(number, one, _paths(report, found, number)) for number, one in enumerate(findings)]
    nothing = element("p", element("span", "Nothing was found", class_="good"))
    main = element(
        "main",
        *_section("Not looked at", _not_looked_at(report)),
        *_section("Model", _model(report, findings, found)),
        *_section("Findings", cards or [nothing]),
    )
    body = [_header(report), main, _footer(findings), element("script", script)]
    return document(assets.head(f"Diagnosis of {report.target}", script, style), body).decode()


def _worst_first(report: Report) -> list[Finding]:
    return [one for severity in Severity for one in report.of(severity)]


def _id(number: int) -> str:
    return f"finding-{number + 1}"


def _section(title: str, children: list[ET.Element]) -> Iterator[ET.Element]:
    if children:
        name = title.lower().replace(" ", "-")
        yield element("section", element("h2", title, id=name), *children, aria_labelledby=name)


def _header(report: Report) -> ET.Element:
    tiles = []
    for severity, (label, meaning) in _TOLD.items():
        number = len(report.of(severity))
        tiles.append(_tile(label, number, meaning, is_bad=number > 0 and severity is Severity.ERROR))
    safe, unsafe = report.fixable[Applicability.SAFE], report.fixable[Applicability.UNSAFE]
    tiles.append(_tile("Can be mended", safe + unsafe, f"{safe} by safe fixes, {unsafe} by unsafe ones"))
    looked = element("p", f"Looked at {report.looked_at}", class_="under") if report.looked_at else None
    title = element("h1", "Diagnosis of ", *prose(report.target))
    return element("header", title, looked, element("div", *tiles, class_="tiles"))


def _tile(label: str, value: int, under: str, *, is_bad: bool = False) -> ET.Element:
    return element(
        "div",
        element("div", label, class_="label"),
        element("div", f"{value:,}", class_="value"),
        element("div", under, class_="under"),
        class_="tile bad" if is_bad else "tile",
    )


def _not_looked_at(report: Report) -> list[ET.Element]:
    items = [element("li", *prose(one)) for one in report.not_looked_at]
    return [element("ul", *items)] if items else []


def _paths(report: Report, found: dict[int | None, list[int]], number: int) -> list[str]:
    """Return the paths of the layers that a finding is about; none without a model."""
    layers = report.model["layers"] if report.model else []
    return [layers[place]["path"] for place, numbers in found.items() if place is not None and number in numbers]


def _model(report: Report, findings: list[Finding], found: dict[int | None, list[int]]) -> list[ET.Element]:
    if not report.model:
        return []
    told = []
    for number, one in enumerate(findings):
        layer = one.layer or ", ".join(_paths(report, found, number)[:_MOST_PATHS])
        text = f"{one.code} {one.message}" + (f" ({layer})" if layer else "")
        told.append(Note(_id(number), one.severity.value, text))
    notes = {place: [told[number] for number in numbers] for place, numbers in found.items()}
    how = "A pin has the letter of the worst that was found in a box (E error, W warning, I information) and how much."
    nothing = element("p", "The graph is drawn by a script, which is switched off here; the table has all layers.")
    shown = picture(report.model, notes)
    return [*shown, *([element("p", how, class_="note")] if findings else []), element("noscript", nothing)]


def _card(number: int, one: Finding, paths: list[str]) -> ET.Element:
    name = f"{_id(number)}-name"
    mark = element("span", f"{LETTERS[one.severity]} {one.severity.value}", class_="severity")
    title = element("h3", mark, " ", element("code", one.code), f" {one.name}", id=name)
    facts = [element("div", element("dt", label), element("dd", *children)) for label, children in _facts(one, paths)]
    return element(
        "article",
        title,
        element("p", *prose(one.message), class_="message"),
        element("p", element("code", str(one.place))) if one.place else None,
        _source(one.place, class_="source"),
        element("dl", *facts) if facts else None,
        class_=f"finding finding-{one.severity.value}", id=_id(number), tabindex=-1, aria_labelledby=name,
    )  # fmt: skip


def _facts(one: Finding, paths: list[str]) -> Iterator[tuple[str, list[Child]]]:
    """Yield what is told of a finding; its layers lead to the picture, if they are in it."""
    told = ", ".join(paths[:_MOST_PATHS]) + (f" and {len(paths) - _MOST_PATHS} more" if paths[_MOST_PATHS:] else "")
    if paths:
        yield "Layer", [element("a", element("code", one.layer or told), href="#model", class_="to-picture")]
    elif one.layer:
        yield "Layer", [element("code", one.layer)]
    if one.evidence:
        yield "Evidence", prose(one.evidence)
    if one.consequence:
        yield "If ignored", prose(one.consequence)
    if one.fix:
        yield "Fix", [*prose(one.fix.title), " (", _how(one.fix), ")"]


def _how(fix: Fix) -> str:
    return _HOW[fix.applicability if fix.is_applicable else Applicability.DISPLAY]


def prose(text: str) -> list[Child]:
    """Return a text with what stands between backticks as code."""
    parts = re.split(r"`([^`\n]+)`", text)
    return [element("code", part) if place % 2 else part for place, part in enumerate(parts)]


def source_lines(place: Place) -> list[tuple[int, str, str, str]]:
    """Return the lines of a range: the number of each, what stands before the range, in it and behind it."""
    last = max(place.line, place.end_line)
    found = []
    for number in range(place.line, min(last, place.line + _MOST_LINES - 1) + 1):
        text = linecache.getline(place.file, number).rstrip()
        start = place.column - 1 if number == place.line else len(text) - len(text.lstrip())
        end = place.end_column - 1 if number == last and place.end_column > 0 else len(text)
        end = max(end, start)
        found.append((number, text[:start], text[start:end], text[end:]))
    return found if any(before + marked + after for _, before, marked, after in found) else []


def _source(place: Place | None, *, mark: str | None = None, **attributes: str) -> ET.Element | None:
    """Return the lines of a finding with their numbers, the range marked; None if they cannot be read."""
    lines = source_lines(place) if place else []
    if not lines or place is None:
        return None
    shown: list[Child] = []
    for number, before, marked, after in lines:
        shown += [element("span", f"{number:>5}  ", class_="line" if "class_" in attributes else None), before]
        shown += [element("mark", marked, style=mark) if marked else None, f"{after}\n"]
    if place.end_line > lines[-1][0]:
        shown.append("    …\n")
    return element("pre", element("code", *shown), **attributes)


def _footer(findings: list[Finding]) -> ET.Element:
    version = sys.modules["keras_estimator"].__version__
    made = f"Made on {moment(clock.time())} by keras-estimator {version}. This file loads nothing from anywhere."
    code = findings[0].code if findings else ""
    more = (
        element("p", element("code", f"keras-estimator explain {code}"), f" tells more about {code}.") if code else None
    )
    return element("footer", more, element("p", made))


# --- in a notebook, which may take away scripts, styles, ids and drawings: all is text with styles of its own --------

_COLOURS = {Severity.ERROR: "#b3261e", Severity.WARNING: "#8a5200", Severity.INFO: "#2f5fd0"}
_FAINT = "1px solid rgba(128, 128, 128, 0.4)"


def as_fragment(report: Report) -> str:
    """Return a report as a part of a page, for a notebook: without scripts, ids and classes of its own."""
    findings = _worst_first(report)
    first, *others = summary(report).splitlines()
    whole = element(
        "div",
        element("div", element("strong", *prose(first))),
        *(element("div", *prose(line)) for line in others),
        *(_folded_card(one) for one in findings),
        _pinned_layers(report, findings),
        style=f"border: {_FAINT}; border-radius: 6px; padding: 10px 14px; line-height: 1.5; text-align: left",
    )
    return ET.tostring(whole, encoding="unicode", method="html").encode("utf-8", "replace").decode()


def _badge(severity: Severity, text: str) -> ET.Element:
    corners = "2px" if severity is Severity.ERROR else "9px"
    colours = f"background: {_COLOURS[severity]}; color: #ffffff"
    return element("span", text, style=f"{colours}; border-radius: {corners}; padding: 1px 7px; font-weight: bold")


def _folded_card(one: Finding) -> ET.Element:
    badge = _badge(one.severity, f"{LETTERS[one.severity]} {one.severity.value}")
    title = element("summary", badge, " ", element("code", one.code), " ", *prose(one.message))
    add(title, " ", element("small", *prose(one.where)))
    facts = [element("div", element("strong", f"{label}: "), *children) for label, children in _facts(one, [])]
    pre = f"margin: 6px 0; padding: 6px 10px; overflow: auto; border: {_FAINT}"
    lines = _source(one.place, style=pre, mark="background: none; color: inherit; text-decoration: underline")
    body = element("div", lines, *facts, style="margin: 4px 0 10px 18px")
    style = f"margin: 6px 0 0 0; padding: 4px 0 0 0; border-top: {_FAINT}"
    return element("details", title, body, open=one.severity is Severity.ERROR, style=style)


def _pinned_layers(report: Report, findings: list[Finding]) -> ET.Element | None:
    """Return a table of the layers that something was found in, each with the codes."""
    found = {place: numbers for place, numbers in by_layer(report, findings).items() if place is not None}
    if not found or not report.model:
        return None
    left = "text-align: left"
    rows = [element("tr", *(element("th", head, style=left) for head in ("Layer", "Class", "Findings")))]
    for place in sorted(found):
        layer = report.model["layers"][place]
        codes: list[Child] = []
        for one in (findings[number] for number in found[place]):
            codes += [_badge(one.severity, f"{LETTERS[one.severity]} {one.code}"), " "]
        cells = ([element("code", layer["path"])], [layer["class"]], codes)
        rows.append(element("tr", *(cell(*children, style=left) for children in cells)))
    count = len(report.model["layers"])
    title = element("summary", f"{len(found)} of {counted(count, 'layer')} with findings")
    style = f"margin: 6px 0 0 0; padding: 4px 0 0 0; border-top: {_FAINT}"
    return element("details", title, element("table", *rows), open=True, style=style)
