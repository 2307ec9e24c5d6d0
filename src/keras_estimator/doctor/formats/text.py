"""A report as text: each finding with its line of source and a caret, and what it means."""

from __future__ import annotations

import linecache
import textwrap

from keras_estimator.doctor.findings import Applicability, Finding, Severity
from keras_estimator.doctor.report import Report

_WIDTH = 100


def as_text(report: Report, *, is_short: bool = False) -> str:
    """Return a report as text.

    Args:
        report: The report.
        is_short: Whether each finding is one line only.
    """
    parts = [str(one) if is_short else _in_full(one) for one in report.findings]
    return ("\n" if is_short else "\n\n").join([*parts, summary(report)])


def summary(report: Report) -> str:
    """Return how much was found, and what can be done about it, in a few lines."""
    counts = [(len(report.of(one)), one.value) for one in Severity]
    said = [f"{count} {name}{'s' if count != 1 and name != 'info' else ''}" for count, name in counts if count]
    looked = f" ({report.looked_at})" if report.looked_at else ""
    lines = [f"{report.target}: {', '.join(said) or 'nothing was found'}{looked}"]
    safe, unsafe = report.fixable[Applicability.SAFE], report.fixable[Applicability.UNSAFE]
    if safe:
        lines.append(
            f"[*] {safe} can be mended with --fix" + (f", {unsafe} more with --unsafe-fixes" if unsafe else "")
        )
    elif unsafe:
        lines.append(f"{unsafe} can be mended with --unsafe-fixes")
    lines += [f"not looked at: {one}" for one in report.not_looked_at]
    if report.findings:
        code = report.findings[0].code
        lines.append(f"keras-estimator explain {code}    tells more about {code}")
    return "\n".join(lines)


def _in_full(one: Finding) -> str:
    lines = [str(one), *_source(one)]
    if one.layer:
        lines.append(f"    layer:      {one.layer}")
    for label, text in (("evidence:", one.evidence), ("if ignored:", one.consequence)):
        if text:
            lines.append(_wrapped(label, text))
    if one.fix:
        kind = one.fix.applicability.value if one.fix.is_applicable else "by hand"
        lines.append(_wrapped("fix:", f"{one.fix.title} ({kind})"))
    return "\n".join(lines)


def _wrapped(label: str, text: str) -> str:
    return textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=f"    {label:<11} ",
        subsequent_indent=" " * 16,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _source(one: Finding) -> list[str]:
    """Return the line of a finding with its number, and a caret below."""
    text = linecache.getline(one.place.file, one.place.line).rstrip() if one.place else ""
    if not text or one.place is None:
        return []
    number = f"{one.place.line:>6}"
    end = one.place.end_column if one.place.end_line == one.place.line else len(text) + 1
    start = max(one.place.column - 1, 0)
    blank = "".join("\t" if letter == "\t" else " " for letter in text[:start])
    return [f"{number} | {text}", f"{' ' * 6} | {blank}{'^' * max(end - 1 - start, 1)}"]
