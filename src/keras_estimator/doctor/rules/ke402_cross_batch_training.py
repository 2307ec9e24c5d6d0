"""KE402 cross-batch-training: while it trains, a layer computes each row from the other rows of its batch.

What it finds:
    A layer whose rows are separate in inference and depend on each other in training; and in the source, a
    `BatchNormalization` that is not synchronized.

Why it matters:
    Each replica has some of the rows only, so it trains another model than one device that has all of them.

If ignored:
    On several devices plain Keras normalizes by the rows of each replica, without a word; each has moving statistics of
    its own rows, and those of the first are saved. An Estimator does the same with a warning, and saves their mean; any
    other layer it refuses unless it is told `RunConfig(dependent_rows="share")`. On one device nothing happens.

Example:
    keras.layers.BatchNormalization()

Instead:
    keras.layers.BatchNormalization(synchronized=True)

Fix:
    Unsafe: the same on one device; on several it normalizes by all rows, at the price of two sums a step and layer.

Evidence:
    Eight rows on two devices, momentum 0: moving variances [5.83 2.92 1.11 7.90], which were saved, and [32.3 10.6 .89
    2.17], instead of [19.4 6.77 1.18 8.96]; with `synchronized=True` exactly these. Gradient of a row with respect to
    other rows: .12, to itself .51.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.reductions import place_of_reduction
from keras_estimator.doctor.rewriting import add_argument
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.user_files import is_told_by_source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_NORMALIZATION = "keras.layers.BatchNormalization"
_TITLE = "normalize by the rows of all replicas: synchronized=True"


def in_source(source: Source) -> Iterator[Problem]:
    """Find batch normalizations of which nobody has said whether they are synchronized."""
    for call in source.calls:
        if source.dotted(call.func) != _NORMALIZATION:
            continue
        words = {word.arg: word.value for word in call.keywords}
        if None in words or "synchronized" in words or _is_frozen(words):
            continue
        fix = Fix(_TITLE, Applicability.UNSAFE, (add_argument(call, "synchronized=True"),))
        yield Problem(call, "BatchNormalization normalizes by the rows of each replica", fix=fix)


def _is_frozen(words: dict[str | None, ast.expr]) -> bool:
    trainable = words.get("trainable")
    return isinstance(trainable, ast.Constant) and trainable.value is False


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look at gradients between rows, in training."""
    found = live.separability
    paths = [path for path in found.training if path not in found.inference] if found else []
    normalizing = {path for path in paths if live.is_a(live.layers.get(path), _NORMALIZATION)}
    apart = [path for path in paths if path in normalizing and not live.layers[path].synchronized]
    if apart and not is_told_by_source(live, in_source):
        more = f" and {len(apart) - 1} more" if len(apart) > 1 else ""
        fix = Fix(_TITLE, Applicability.DISPLAY)
        yield Problem(None, f"normalizes by the rows of each replica{more}", layer=apart[0], fix=fix)
    for path in paths:
        if path not in normalizing:
            layer = path if path in live.layers else ""
            message = "a row depends on other rows of the batch in training"
            place = place_of_reduction(live, live.training, layer)
            yield Problem(place, message, layer=layer, severity=Severity.WARNING)
