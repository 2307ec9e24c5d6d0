"""Run the rules: over files, which are read and never run; and over a live model, with the files it is written in."""

from __future__ import annotations

import ast
import dataclasses
import linecache
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Finding, Place, Severity
from keras_estimator.doctor.package import Package
from keras_estimator.doctor.rule import Rule, all_rules, rule_of
from keras_estimator.doctor.settings import Settings
from keras_estimator.doctor.source import NOT_PARSED, Source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.imported import Imported
    from keras_estimator.doctor.live import LiveModel

_COMPARES_COPIES = ("KE003", "other-in-a-copy")
# Without one of these words, nothing in a file is Keras's.
_WORDS = ("keras", "tensorflow")


def examine_files(paths: Sequence[Path], settings: Settings) -> Iterator[tuple[Path, list[Finding]]]:
    """Look through files and folders, one after the other.

    Args:
        paths: Python files, and folders of them.
        settings: What to look for.

    Yields:
        Each file and what was found in it.
    """
    package = Package(list(python_files(paths, settings)))
    for path in package.paths:
        yield path, examine_text(str(path), package.texts[path], settings, package)


def python_files(paths: Iterable[Path], settings: Settings) -> Iterator[Path]:
    """Yield the Python files among and below some paths, each once, but for those that settings exclude."""
    seen: set[Path] = set()
    for path in paths:
        # A path that was named is looked at, whatever it is called.
        found = [path] if path.is_file() else sorted(_below(path, settings, set()))
        for file in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _below(folder: Path, settings: Settings, seen: set[Path]) -> Iterator[Path]:
    if folder.resolve() in seen:
        return  # links can lead in a circle
    seen.add(folder.resolve())
    for path in folder.iterdir():
        if settings.excludes(path):
            continue
        if path.is_dir():
            yield from _below(path, settings, seen)
        elif path.suffix == ".py" and path.is_file():
            yield path


def examine_text(file: str, text: str, settings: Settings, around: Package | Imported | None = None) -> list[Finding]:
    """Return what rules find in the text of one file, by its lines.

    Args:
        file: Its path, as findings name it.
        text: What is in it.
        settings: What to look for.
        around: The files beside it, or the running program, for names and classes of theirs.
    """
    if not any(word in text for word in _WORDS) and (around is None or not around.has_keras(Path(file))):
        return _if_broken(file, text, settings)
    try:
        source = around.source(Path(file), text) if around else Source(file, text)
    except NOT_PARSED as error:
        return wanted([_broken(file, error)], settings)
    found = [finding for rule in rules_wanted(settings) for finding in rule.in_source(source)]
    return wanted(found, settings)


def _if_broken(file: str, text: str, settings: Settings) -> list[Finding]:
    try:
        ast.parse(text, file)
    except NOT_PARSED as error:
        return wanted([_broken(file, error)], settings)
    return []


def rules_wanted(settings: Settings) -> list[Rule]:
    """Return the rules that settings want, in some file at least."""
    return [rule for rule in all_rules() if settings.wants(rule.code, rule.name)]


def _broken(file: str, error: Exception) -> Finding:
    rule = rule_of("KE001")
    assert rule is not None
    return rule.module.finding_of(rule, file, error)  # type: ignore[no-any-return]  # a module


def examine_model(live: LiveModel, settings: Settings, failures: Sequence[Failure] = ()) -> list[Finding]:
    """Return what rules find in a live model, and in the files of the user that its parts are written in.

    Args:
        live: The model.
        settings: What to look for.
        failures: What has gone wrong before it was there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras and TensorFlow warn of while the model is probed is no finding
        if settings.wants(*_COMPARES_COPIES):
            live.begin_verification()
        # Who waits for the other process comes last: the others have work for this one meanwhile.
        rules = sorted(rules_wanted(settings), key=lambda rule: rule.code in _COMPARES_COPIES)
        of_model = [finding for rule in rules for finding in rule.in_model(live)]
        _ = live.traced  # what it raises is a finding, even if no rule has traced it
    of_model += of_failures([*failures, *live.failures])
    of_source: list[Finding] = []
    for file in live.files:
        for one in examine_text(file, "".join(linecache.getlines(file)), settings, live.around):
            layers = live.layers_at(one)
            if layers is not None:
                of_source.append(dataclasses.replace(one, layer=", ".join(layers)))
    found = merged(of_source, of_model)
    return wanted((one for one in found if not _is_silenced(one, live)), settings)


def _is_silenced(one: Finding, live: LiveModel) -> bool:
    source = live.source(one.place.file) if one.place else None
    return source is not None and one.place is not None and source.is_silenced(one.place.line, one.code)


def of_failures(failures: Iterable[Failure]) -> list[Finding]:
    """Return what rules make of errors; one that none knows is a finding of its own."""
    found: list[Finding] = []
    for failure in failures:
        known = [finding for rule in all_rules() if rule.code != "KE002" for finding in rule.in_failure(failure)]
        unknown = rule_of("KE002")
        assert unknown is not None
        found += known or list(unknown.in_failure(failure))
    return found


def merged(of_source: Iterable[Finding], of_model: Iterable[Finding] = ()) -> list[Finding]:
    """Return findings, each once: what a live model tells of a line is put to what was found in the source there.

    Args:
        of_source: What was found in files.
        of_model: What was found in a model, or made of its errors.
    """
    found: list[Finding] = []
    by_line: dict[Any, list[int]] = {}
    for number, finding in enumerate([*(sources := list(of_source)), *of_model]):
        place = finding.place
        line = by_line.setdefault((finding.code, *((place.file, place.line) if place else (finding.layer,))), [])
        equal = [at for at in line if (found[at].place, found[at].message) == (place, finding.message)]
        # What a model tells in other words is about the first expression of that line.
        same = equal or (line if place and number >= len(sources) else [])
        if same:
            found[same[0]] = _together(found[same[0]], finding)
        else:
            line.append(len(found))
            found.append(finding)
    return found


def _together(one: Finding, other: Finding) -> Finding:
    """Return one finding of two: the exacter place and its words, the fix that can be applied, the worse severity."""
    layers = [layer for layer in dict.fromkeys((*one.layer.split(", "), *other.layer.split(", "))) if layer]
    fixes = [fix for fix in (one.fix, other.fix) if fix]
    return dataclasses.replace(
        one,
        severity=min(one.severity, other.severity, key=list(Severity).index),
        fix=next((fix for fix in fixes if fix.is_applicable), fixes[0] if fixes else None),
        layer=", ".join(layers),
        evidence=one.evidence or other.evidence,
    )


def wanted(findings: Iterable[Finding], settings: Settings) -> list[Finding]:
    """Return the findings that settings want, in the order of their places."""
    kept = [one for one in findings if settings.wants(one.code, one.name, one.place.file if one.place else "")]
    return sorted(kept, key=lambda one: (one.place or Place("", 0), one.layer, one.code))
