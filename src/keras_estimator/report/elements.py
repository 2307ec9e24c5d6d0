"""Make HTML of elements, never of text put together: whatever is shown is escaped; and write numbers for people."""

from __future__ import annotations

import datetime
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

Child = ET.Element | str | None
NOTHING = "\u2013"  # a dash, where there is no value


def element(tag: str, *children: Child, **attributes: str | int | bool | None) -> ET.Element:
    """Make an element.

    Args:
        tag: Its name.
        children: Elements and texts; None is left out.
        attributes: By name, with `_` for `-` and one at the end left out (`class_`); True is one without
            a value; None and False are left out.
    """
    made = ET.Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            made.set(name.rstrip("_").replace("_", "-"), "" if value is True else str(value))
    add(made, *children)
    return made


def add(parent: ET.Element, *children: Child) -> None:
    """Put children behind those that are there."""
    for child in children:
        if isinstance(child, ET.Element):
            parent.append(child)
        elif child and len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        elif child:
            parent.text = (parent.text or "") + child


def table(head: Iterable[Child], rows: Iterable[Iterable[ET.Element]], *, label: str, class_: str = "") -> ET.Element:
    """Make a table that scrolls by itself where the screen is narrow.

    Args:
        head: The heads of the columns.
        rows: Cells of each row.
        label: What is in it, for who cannot see it.
        class_: The class of the table.
    """
    cells = [element("th", cell, scope="col") for cell in head]
    body = element("tbody", *(element("tr", *row) for row in rows))
    inner = element("table", element("thead", element("tr", *cells)), body, class_=class_ or None)
    return element("div", inner, class_="scrolls", tabindex=0, role="region", aria_label=label)


def cell(*children: Child, **attributes: str | int | bool | None) -> ET.Element:
    """Make a cell of a table."""
    return element("td", *children, **attributes)


def document(head: Iterable[ET.Element], body: Iterable[ET.Element]) -> bytes:
    """Return the bytes of a page."""
    page = element("html", element("head", *head), element("body", *body), lang="en")
    text = "<!doctype html>\n" + ET.tostring(page, encoding="unicode", method="html") + "\n"
    return text.encode("utf-8", "replace")  # a name of a file may hold half a character


def data(id_: str, value: Any) -> ET.Element:
    """Make an element that holds JSON for a script; nothing in it can end it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return element("script", text, id=id_, type="application/json")


def number(value: float) -> str:
    """Return a text such as `0.1234`, `1.23e-05` or `12,345`."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "-∞"}.get(value, "NaN")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"


def counted(count: int, what: str) -> str:
    """Return a text such as `1 layer`, `2,000 layers` or `3 boxes`."""
    return f"{count:,} {what}" + ("" if count == 1 else "es" if what.endswith("x") else "s")


def size(num_bytes: int) -> str:
    """Return a text such as `12.3 MB`."""
    amount, units = float(num_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"


def moment(secs: float | None) -> str:
    """Return a text such as `2026-05-12 14:03`, in the time of this machine; `unknown` if there is none."""
    at = _local(secs)
    return "unknown" if at is None else f"{at:%Y-%m-%d %H:%M}"


def time(secs: float | None, *, with_day: bool = True) -> ET.Element:
    """Return an element with the moment."""
    at = _local(secs)
    shown = moment(secs) if at is None or with_day else f"{at:%H:%M}"
    return element("time", shown, datetime=None if at is None else at.isoformat(timespec="seconds"))


def _local(secs: float | None) -> datetime.datetime | None:
    try:
        return None if secs is None else datetime.datetime.fromtimestamp(secs).astimezone()
    except (OverflowError, ValueError, OSError):
        return None  # it comes from a file


def span(secs: float) -> str:
    """Return a text such as `2 h 13 min` or `48 s`."""
    secs = round(secs) if math.isfinite(secs) else 0
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if secs >= length:
            rest = secs % length // part
            return f"{secs // length:,} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{secs} s"
