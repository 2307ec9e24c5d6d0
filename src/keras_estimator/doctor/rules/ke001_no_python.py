"""KE001 no-python: a file is no Python of this version, so nothing in it can be looked at.

What it finds:
    A file that Python cannot parse.

Why it matters:
    Nothing else in it can be found.

If ignored:
    No rule has looked at the file.

Example:
    def call(self, x)
        return x

Instead:
    def call(self, x):
        return x

Fix:
    None: only you know what was meant.

Evidence:
    What Python itself says of the file.
"""

from __future__ import annotations

from keras_estimator.doctor.findings import Finding, Place, Severity
from keras_estimator.doctor.rule import Rule

SEVERITY = Severity.ERROR


def finding_of(rule: Rule, file: str, error: Exception) -> Finding:
    """Return the finding about a file that raised an error when it was parsed."""
    line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
    said = error.msg if isinstance(error, SyntaxError) else str(error) or "it is nested too deep"
    place = Place(file, line, max(column, 1), line, max(column, 1) + 1)
    consequence = " ".join(rule.sections["If ignored"].split())
    return Finding(rule.code, rule.name, rule.severity, f"no Python: {said}", place, "", consequence, "", None)
