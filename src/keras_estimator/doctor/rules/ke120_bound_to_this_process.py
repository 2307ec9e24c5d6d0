"""KE120 bound-to-this-process: the model holds an open file, a socket, an iterator: something that has no copy.

What it finds:
    An attribute, an item of a container, a closure, a default or a global of the model's functions that belongs to
    this process: a file, socket, generator, thread, process, executor, or the iterator of a dataset.

Why it matters:
    Another process can have neither the object nor what stands behind it, and nothing says what to make in its place.

If ignored:
    Plain Keras drops attributes, and makes them anew only if `__init__` does; pickles with such a closure fail. An
    Estimator refuses to carry the model to workers, and says this line.

Example:
    self.words = open("words.txt")

Instead:
    self.path = "words.txt"

Fix:
    For display: keep what the object is made from, and make it where it is used.

Evidence:
    The refusal of `Blueprint.of(model).to_bytes()`: the path from the model to the object, and its class. Locks, and
    what Python can copy, are carried.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Place, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.errors import BlueprintError

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_REFUSED = "cannot be carried"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Try to carry the model."""
    from keras_estimator.model.blueprint import Blueprint  # noqa: PLC0415 - rules of the source start no Keras

    try:
        Blueprint.of(live.model).to_bytes()
    except BlueprintError as error:
        yield from _problems(error, live.files)
    except Exception:  # noqa: BLE001 - what else may go wrong is the business of other rules
        return


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find the refusal where a probe wanted a copy of the model, or its state put back."""
    if failure.kind == "NotCarriedError":
        yield Problem(None, "it holds something that has no copy", fix=Fix(failure.text, Applicability.DISPLAY))
    if isinstance(failure.error, BlueprintError):
        modules = list(sys.modules.values())
        yield from _problems(failure.error, (str(file) for one in modules if (file := getattr(one, "__file__", None))))


def _problems(error: BlueprintError, files: Iterable[str]) -> Iterator[Problem]:
    if _REFUSED not in error.problem:
        return
    path = error.problem.partition(f" {_REFUSED}")[0]
    kind = error.found.partition(",")[0]
    where = f"{path} is" if path.startswith("model.") else "a function of the model uses"
    fix = Fix(error.fix.partition(";")[0], Applicability.DISPLAY)
    yield Problem(_place(error.found, files), f"{where} {_name_of(kind)}", evidence=f"{path}: {kind}", fix=fix)


def _name_of(kind: str) -> str:
    name = kind.rpartition(".")[2]
    return "an open file" if kind.startswith("_io.") else f"{'an' if name[:1] in 'AEIOaeio' else 'a'} {name}"


def _place(found: str, files: Iterable[str]) -> Place | None:
    """Return the place of the assignment that an error names by file and line, without the folder."""
    named = re.search(r"assigned at (.+):(\d+)$", found)
    if named is None:
        return None
    same = {file for file in files if Path(file).name == named[1]}
    if len(same) != 1:
        return None
    file, line = same.pop(), int(named[2])
    text = linecache.getline(file, line).rstrip()
    return Place(file, line, len(text) - len(text.lstrip()) + 1, line, len(text) + 1)
