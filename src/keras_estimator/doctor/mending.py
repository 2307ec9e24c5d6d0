"""Apply fixes to a source text until none is left, one rule after the other, and show what was changed as a diff."""

from __future__ import annotations

import ast
import codecs
import dataclasses
import difflib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_estimator.doctor.examine import examine_text
from keras_estimator.doctor.findings import Applicability, Finding
from keras_estimator.doctor.package import Package
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.settings import Settings
from keras_estimator.errors import FixError

if TYPE_CHECKING:
    from keras_estimator.doctor.imported import Imported

_MOST_PASSES = 200


@dataclasses.dataclass(frozen=True)
class Mended:
    """What came of a file.

    Attributes:
        file: Its path.
        before: Its text as it was.
        after: Its text with the fixes.
        applied: The findings that were mended.
    """

    file: str
    before: str
    after: str
    applied: tuple[Finding, ...]

    @property
    def diff(self) -> str:
        """What was changed, as a unified diff; empty if nothing was."""
        texts = (self.before.splitlines(keepends=True), self.after.splitlines(keepends=True))
        name = os.path.relpath(self.file)
        lines = difflib.unified_diff(*texts, fromfile=f"a/{name}", tofile=f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def mended(
    file: str, text: str, settings: Settings, *, unsafe: bool = False, around: Package | Imported | None = None
) -> Mended:
    """Apply to a text all fixes that may be.

    A fix that does not make its finding go away is applied once and then left alone.

    Args:
        file: Its path.
        text: What is in it.
        settings: Which rules are meant.
        unsafe: Whether fixes may change what the code computes.
        around: The files beside it, or the running program.

    Raises:
        FixError: A fix would make no Python of it.
    """
    before, applied, done = text, [], set()
    for _ in range(_MOST_PASSES):
        found = [one for one in examine_text(file, text, settings, around) if _may(one, unsafe=unsafe)]
        found = [one for one in found if (one.code, one.message) not in done]
        if not found:
            break
        now = [one for one in found if one.code == found[0].code]
        done |= {(one.code, one.message) for one in now}
        text = _applied(file, text, now)
        applied += now
    return Mended(file, before, text, tuple(applied))


def _may(one: Finding, *, unsafe: bool) -> bool:
    if one.fix is None or not one.fix.is_applicable:
        return False
    return one.fix.applicability is Applicability.SAFE or unsafe


def _applied(file: str, text: str, findings: Sequence[Finding]) -> str:
    changes = [change for one in findings if one.fix for change in one.fix.changes]
    after = changed(text, changes)
    try:
        ast.parse(after, file)
    except SyntaxError as error:
        raise FixError(
            f"the fix of {findings[0].code} would make no Python of {file}",
            found=str(error),
            expected="a file that runs",
            fix=f"keras-estimator doctor --fix --ignore {findings[0].code} {file}; and mend that one by hand",
        ) from error
    return after


def write(one: Mended) -> None:
    """Write a file that was mended: whole or not at all, with the rights and the mark of encoding that it had.

    Raises:
        OSError: It cannot be written; it is as it was.
    """
    path = Path(one.file).resolve()
    mark = codecs.BOM_UTF8 if path.read_bytes().startswith(codecs.BOM_UTF8) else b""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(mark + one.after.encode("utf-8", errors="surrogateescape"))
        Path(aside).chmod(path.stat().st_mode & 0o7777)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
