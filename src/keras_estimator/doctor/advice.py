"""An error of a user's code ends with what the rules find on the line that it came from.

    OperatorNotAllowedInGraphError: Exception encountered when calling Gate.call(). ...
    doctor: net.py:9:12 KE209 `keras.ops.sum(x) > 0` is a tensor, and has no truth value in a graph; use keras.ops.cond

The message of the error stays as it is; tracebacks show the lines below it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_LABEL = "doctor: "


@contextlib.contextmanager
def advised() -> Iterator[None]:
    """Add findings as notes to an error from inside; the same error, once."""
    try:
        yield
    except Exception as error:
        if not any(note.startswith(_LABEL) for note in getattr(error, "__notes__", ())):
            with contextlib.suppress(Exception):  # what goes wrong in the doctor must not hide the user's error
                _advise(error)
        raise


def _advise(error: Exception) -> None:
    from keras_estimator.doctor.diagnose import findings_about  # noqa: PLC0415 - most runs have no error

    for finding in findings_about(error):
        error.add_note(f"{_LABEL}{finding}")
