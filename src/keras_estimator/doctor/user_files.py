"""The source files that a live model is written in, as rules of the source see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Finding, Place, Severity
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel
    from keras_estimator.doctor.rule import Problem


def sources_of(live: LiveModel) -> Iterator[Source]:
    """Yield the files of the user in which a model is written, those that are Python."""
    for file in live.files:
        source = live.source(file)
        if source is not None:
            yield source


def is_told_by_source(
    live: LiveModel, in_source: Callable[[Source], Iterable[Problem]], severity: Severity = Severity.INFO
) -> bool:
    """Tell whether a rule finds something in the source of a model, with its line, so that the model says no more.

    Args:
        live: The model.
        in_source: The finder of the rule.
        severity: That of the rule.
    """
    for source in sources_of(live):
        for one in in_source(source):
            place = one.at if isinstance(one.at, Place | None) else source.place(one.at)
            finding = Finding("", "", one.severity or severity, one.message, place, "", "", "", None)
            if live.layers_at(finding) is not None:
                return True
    return False
