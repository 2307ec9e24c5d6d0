"""Which layers of a described model a finding is about, so that it can be pinned on their boxes in a picture."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator
from typing import Any

from keras_estimator.doctor.findings import Finding, Place
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.source import NOT_PARSED


def layers_of(finding: Finding, model: dict[str, Any]) -> list[int]:
    """Return the layers that a finding is about; of one that was found in the source, the layers of that class.

    Args:
        finding: The finding.
        model: The description of the model.

    Returns:
        Places in the list of the layers; none if the finding is about the model as a whole.
    """
    if finding.layer:
        return list(dict.fromkeys(_places_of_paths(finding.layer, model["layers"])))
    names = classes_at(finding.place) if finding.place else ()
    return [place for place, layer in enumerate(model["layers"]) if layer["class"] in names]


def _places_of_paths(text: str, layers: list[dict[str, Any]]) -> Iterator[int]:
    """Yield the places of `dense` and of `encoder/dense, decoder/dense`, or else of the layers they are inside."""
    places = {layer["path"]: place for place, layer in enumerate(layers) if layer["path"]}
    for path in [text] if text in places else text.split(", "):
        while path and path not in places:
            path = path.rpartition("/")[0]
        if path:
            yield places[path]


def classes_at(place: Place) -> frozenset[str]:
    """Return the name of the class that a line belongs to, and those of the classes below it in the same file."""
    text = "".join(linecache.getlines(place.file))
    found = [one for one in _classes(text) if one[1] <= place.line <= one[2]]
    if not found:
        return frozenset()
    names = {max(found, key=lambda one: one[1])[0]}
    while more := {name for name, _, _, bases in _classes(text) if name not in names and bases & names}:
        names |= more
    return frozenset(names)


@functools.lru_cache(maxsize=64)
def _classes(text: str) -> list[tuple[str, int, int, frozenset[str]]]:
    """Return the name, the first line with its decorators, the last line and the bases of each class of a file."""
    try:
        tree = ast.parse(text)
    except NOT_PARSED:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(line.lineno for line in node.decorator_list)])
            bases = frozenset(base.id for base in node.bases if isinstance(base, ast.Name))
            found.append((node.name, first, node.end_lineno or node.lineno, bases))
    return found


def by_layer(report: Report, findings: list[Finding]) -> dict[int | None, list[int]]:
    """Return the numbers of findings by the layers they are about; by None, what is about no single layer.

    Args:
        report: With the description of the model; without one all is about none.
        findings: Of the report, in the order of the page.
    """
    found: dict[int | None, list[int]] = {}
    for number, one in enumerate(findings):
        places: list[int | None] = [*layers_of(one, report.model)] if report.model else []
        for place in places or [None]:
            found.setdefault(place, []).append(number)
    return found
