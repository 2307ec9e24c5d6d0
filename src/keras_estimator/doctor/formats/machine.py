"""A report for programs: JSON, SARIF 2.1.0 for code scanning, and the annotations of GitHub Actions."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

from keras_estimator.doctor.findings import Finding, Place, Severity
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.rule import all_rules

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def as_json(report: Report) -> str:
    """Return a report as one JSON object."""
    found = [_plain(one) for one in report.findings]
    whole = {
        "target": report.target,
        "looked_at": report.looked_at,
        "not_looked_at": list(report.not_looked_at),
        "findings": found,
    }
    return json.dumps(whole, indent=2)


def _plain(one: Finding) -> dict[str, Any]:
    place = one.place
    return {
        "code": one.code,
        "name": one.name,
        "severity": one.severity.value,
        "message": one.message,
        "file": place.file if place else None,
        "location": {"row": place.line, "column": place.column} if place else None,
        "end_location": {"row": place.end_line or place.line, "column": place.end_column or place.column}
        if place
        else None,
        "layer": one.layer or None,
        "if_ignored": one.consequence,
        "evidence": one.evidence or None,
        "fix": {
            "title": one.fix.title,
            "applicability": one.fix.applicability.value,
            "by_hand": not one.fix.is_applicable,
        }
        if one.fix
        else None,
    }


def as_sarif(report: Report) -> str:
    """Return a report in the Static Analysis Results Interchange Format, version 2.1.0."""
    used = {one.code for one in report.findings}
    rules = [
        {
            "id": rule.code,
            "name": "".join(word.title() for word in rule.name.split("-")),
            "shortDescription": {"text": rule.summary},
            "fullDescription": {"text": " ".join(rule.sections["Why it matters"].split())},
            "help": {"text": rule.module.__doc__ or ""},
            "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        }
        for rule in all_rules()
        if rule.code in used
    ]
    driver = {"name": "keras-estimator", "version": metadata.version("keras-estimator"), "rules": rules}
    places = [rule["id"] for rule in rules]
    results = [_result(one, places.index(one.code)) for one in report.findings]
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(one: Finding, rule: int) -> dict[str, Any]:
    fix = f" Fix: {one.fix.title}." if one.fix else ""
    result: dict[str, Any] = {
        "ruleId": one.code,
        "ruleIndex": rule,
        "level": _LEVELS[one.severity],
        "message": {"text": f"{one.message}.{fix}"},
    }
    location: dict[str, Any] = {}
    if one.place:
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(one.place)}, "region": _region(one.place)}
    if one.layer:
        location["logicalLocations"] = [{"fullyQualifiedName": one.layer, "kind": "object"}]
    return result | ({"locations": [location]} if location else {})


def _uri(place: Place) -> str:
    path = Path(os.path.relpath(place.file)) if Path(place.file).is_absolute() else Path(place.file)
    # Code scanning wants paths relative to the root of the repository; what is outside of it keeps its own.
    return Path(place.file).absolute().as_uri() if path.parts[:1] == ("..",) else path.as_posix()


def _region(place: Place) -> dict[str, int]:
    region = {"startLine": place.line, "startColumn": place.column}
    if place.end_line >= place.line and place.end_column:
        region |= {"endLine": place.end_line, "endColumn": place.end_column}
    return region


def as_github(report: Report) -> str:
    """Return a report as commands of GitHub Actions, which show each finding beside its line."""
    return "\n".join(_annotation(one) for one in report.findings)


def _annotation(one: Finding) -> str:
    where = {"title": f"{one.code} {one.name}"}
    if one.place:
        where = {
            "file": os.path.relpath(one.place.file),
            "line": str(one.place.line),
            "col": str(one.place.column),
        } | where
    told = ",".join(f"{name}={_escaped(value, of_property=True)}" for name, value in where.items())
    fix = f"; {one.fix.title}" if one.fix else ""
    layer = f" (layer {one.layer})" if one.layer else ""
    return f"::{_COMMANDS[one.severity]} {told}::{_escaped(one.message + layer + fix)}"


def _escaped(text: str, *, of_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if of_property else text
