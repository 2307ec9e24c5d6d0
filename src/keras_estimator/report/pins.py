"""A pin on a layer of a picture: how much is said about the layer, how bad the worst is, and where it stands."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

from keras_estimator.report.elements import element

# The worst first. The letter tells apart what the colour does for those who see colours.
LETTERS = {"error": "E", "warning": "W", "info": "I"}


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that is said about a layer elsewhere on the page.

    Attributes:
        id: Of the element that says it.
        severity: "error", "warning" or "info".
        text: What it is, in one line.
    """

    id: str
    severity: str
    text: str


def pin_of(notes: Iterable[Note]) -> dict[str, Any] | None:
    """Return the pin for some notes, as values for a script; None if there are none.

    Returns:
        `severity` and `letter` of the worst, `count`, `label` for who cannot see it, and `ids`, the worst first.
    """
    by_id = {note.id: note for note in notes}
    told = sorted(by_id.values(), key=lambda note: list(LETTERS).index(note.severity))
    if not told:
        return None
    worst = told[0].severity
    many = f"{len(told)} findings, the worst of severity {worst}" if len(told) > 1 else f"1 finding of severity {worst}"
    return {
        "severity": worst,
        "letter": LETTERS[worst],
        "count": len(told),
        "label": f"{many}: {'; '.join(note.text for note in told)}",
        "ids": [note.id for note in told],
    }


def with_pin(text: str, notes: Iterable[Note]) -> list[ET.Element | str]:
    """Return a text with the pin for some notes behind it, a link to the worst of them; without notes, no pin."""
    made = pin_of(notes)
    if made is None:
        return [text]
    link = element(
        "a", f"{made['letter']} {made['count']}",
        class_=f"pin pin-{made['severity']}", href=f"#{made['ids'][0]}", data_ids=" ".join(made["ids"]),
        title=made["label"], aria_label=made["label"],
    )  # fmt: skip
    return [f"{text} ", link]
