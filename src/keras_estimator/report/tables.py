"""The tables of a report: evaluations, checkpoints, exports, and how the run was set up."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Any

from keras_estimator.checkpoints_seen import CheckpointSeen
from keras_estimator.event_files import Folder, Point
from keras_estimator.report.contents import Contents, ExportSeen, lowest
from keras_estimator.report.elements import NOTHING, Child, cell, element, moment, number, size, table, time
from keras_estimator.run_config import RunConfig

_LONGEST_TEXT = 300
_MOST_METRICS = 12


def evaluations(folders: list[Folder]) -> list[ET.Element]:
    """Return a table of what each evaluation measured: last, where its loss was lowest, and between what."""
    heads = ["Evaluation", "Metric", "Last", "At its best loss", "Lowest", "Highest"]
    rows = [row for folder in folders for row in _evaluation_rows(folder)]
    return [table(heads, rows, label="Evaluations", class_="evaluations")] if rows else []


def _evaluation_rows(folder: Folder) -> Iterator[list[ET.Element]]:
    best = lowest(folder.curves.get("loss", {}))
    tags = sorted(folder.curves, key=lambda tag: (tag != "loss", tag))
    for place, tag in enumerate(tags):
        curve = folder.curves[tag]
        values = {step: point.value for step, point in curve.items() if point.value == point.value}
        row = []
        if place == 0:
            num_points = len(curve)
            under = element("small", "once" if num_points == 1 else f"{num_points:,} times")
            row.append(element("th", folder.name, " ", under, scope="rowgroup", rowspan=len(tags)))
        row += [
            element("th", tag, scope="row"),
            _at_step(curve, max(curve)),
            _at_step(curve, best),
            _at_step(curve, min(values, key=values.__getitem__, default=None)),
            _at_step(curve, max(values, key=values.__getitem__, default=None)),
        ]
        yield row


def _at_step(curve: Mapping[int, Point], step: int | None) -> ET.Element:
    if step is None or step not in curve:
        return cell(NOTHING, class_="number")
    return cell(number(curve[step].value), " ", element("small", f"step {step:,}"), class_="number")


def checkpoints(seen: list[CheckpointSeen]) -> list[ET.Element]:
    """Return a table of the checkpoints, the newest first."""
    if not seen:
        return []
    names = list(dict.fromkeys(name for one in reversed(seen) for name in one.metrics))
    names = sorted(names, key=lambda name: name != "loss")[:_MOST_METRICS]
    rows = []
    for one in reversed(seen):
        state = element("span", "damaged", class_="bad") if one.problem else element("span", "whole", class_="good")
        metrics = [
            cell(number(one.metrics[name]) if name in one.metrics else NOTHING, class_="number") for name in names
        ]
        step = element("th", f"{one.step:,}", scope="row", class_="number")
        rows.append(
            [step, cell(time(one.written_at)), cell(size(one.num_bytes), class_="number"), cell(state), *metrics]
        )
    note = element(
        "p",
        "Whole: its record is as it was written, and its state has the size that was written. The state itself was "
        "not read; training verifies it before it goes on from it.",
        class_="note",
    )
    return [table(["Step", "Written", "Size", "State", *names], rows, label="Checkpoints"), note]


def exports(seen: list[ExportSeen]) -> list[ET.Element]:
    """Return a table of the exports, the newest first."""
    if not seen:
        return []
    rows = [
        [
            element("th", element("code", f"export/{one.name}"), scope="row"),
            cell(time(one.written_at)),
            cell(size(one.num_bytes), class_="number"),
        ]
        for one in reversed(seen)
    ]
    return [table(["Folder", "Written", "Size"], rows, label="Exports")]


def setup(contents: Contents) -> list[ET.Element]:
    """Return how the run was set up: optimizer, parameters, config and versions."""
    described = contents.description.contents
    if described is None:
        return []
    model = described["model"]
    optimizer = model.get("optimizer")
    training = {"optimizer": optimizer.get("class"), **optimizer} if isinstance(optimizer, dict) else {}
    training.pop("class", None)
    if model.get("loss") is not None:
        training["loss"] = model["loss"]
    config, defaults = _changed(described["config"])
    versions = {**described["versions"], "backend": described["backend"]}
    return [
        *_settings("Parameters", described["params"]),
        *_settings("Optimizer and loss", training),
        *_settings("RunConfig", config, remark=defaults),
        *_settings("Versions", versions, remark=f"As of {moment(described['written_at'])}."),
    ]


def _changed(config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what is not as a RunConfig has it by itself, and a remark about the rest."""
    defaults = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    # Two have a default that depends on each other: they are shown unless they are switched off.
    changed = {
        name: value
        for name, value in config.items()
        if value is not None and (name not in defaults or defaults[name] != value)
    }
    rest = [
        f"{name} {text(value)}" for name, value in sorted(config.items()) if name not in changed and value is not None
    ]
    return changed, f"At their defaults: {', '.join(rest)}." if rest else ""


def _settings(title: str, values: Mapping[str, Any], remark: str = "") -> Iterator[ET.Element]:
    if not values:
        return
    pairs: list[Child] = []
    for name, value in values.items():
        pairs.append(element("div", element("dt", text(name)), element("dd", text(value))))
    note = element("p", text(remark), class_="note") if remark else None
    yield element("section", element("h3", title), element("dl", *pairs), note, class_="card")


def text(value: Any) -> str:
    """Return a value from a file as a short text."""
    if isinstance(value, str):
        shown = value
    elif type(value) is float:
        shown = f"{value:.7g}"
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        shown = ", ".join(value)
    else:
        try:
            shown = json.dumps(value, ensure_ascii=False)
        except RecursionError:  # it was read from a file
            shown = "…"
    return shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 1] + "…"
