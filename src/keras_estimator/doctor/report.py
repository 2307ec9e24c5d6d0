"""What a diagnosis says: all findings, as text, as JSON, in a notebook; and what was looked at."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_estimator.doctor.findings import Applicability, Finding, Severity


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings about a model, or about files.

    Attributes:
        target: What was looked at: the name of the model, or the path of the files.
        findings: What was found, by place.
        looked_at: How much was looked at, in words: `3 files`, `5 layers`.
        not_looked_at: What was not, and why.
        model: The description of the model, as `model.description` makes it; None if none was looked at.
    """

    target: str
    findings: tuple[Finding, ...]
    looked_at: str = ""
    not_looked_at: tuple[str, ...] = ()
    model: dict[str, Any] | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def is_healthy(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return not any(one.severity is not Severity.INFO for one in self.findings)

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [one for one in self.findings if one.severity is severity]

    @property
    def fixable(self) -> dict[Applicability, int]:
        """How many findings the doctor can mend itself, by who may apply the fix."""
        fixes = [one.fix for one in self.findings if one.fix and one.fix.is_applicable]
        return {kind: sum(fix.applicability is kind for fix in fixes) for kind in Applicability}

    def __str__(self) -> str:
        from keras_estimator.doctor.formats.text import as_text  # noqa: PLC0415 - formats are written of reports

        return as_text(self)

    def _repr_html_(self) -> str:
        from keras_estimator.doctor.formats.html import as_fragment  # noqa: PLC0415 - formats are written of reports

        return as_fragment(self)
