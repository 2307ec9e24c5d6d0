"""KE002 does-not-run: the file or the model raised an error that no other rule knows.

What it finds:
    An error while the file is imported, the model is built, called or trained.

Why it matters:
    What does not run can neither be trained nor be looked at.

If ignored:
    It raises that error wherever it is used; rules that need a running model have not looked at it.

Example:
    model = keras.Sequential([keras.layers.Dense("ten")])

Instead:
    model = keras.Sequential([keras.layers.Dense(10)])

Fix:
    None: the error says what is wrong.

Evidence:
    The error, and the line of yours that it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure

SEVERITY = Severity.ERROR


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find any error."""
    yield Problem(failure.place, f"{failure.in_words}: {failure.line}", layer=failure.layer)
