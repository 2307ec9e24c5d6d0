"""KE003 other-in-a-copy: a copy of the model in a fresh process is not what the model is here.

What it finds:
    A variable, an answer, a train step or a fingerprint that differs between the model and the copy that its
    Blueprint makes in another process, whatever the reason.

Why it matters:
    Workers of a cluster, evaluators and later runs all work with copies.

If ignored:
    A run on several machines, or one that is resumed, computes something else than this process does.

Example:
    self.offset = os.getpid()

Instead:
    self.offset = 0

Fix:
    None: what differs is said, and in which layer.

Evidence:
    What the model has, and what its copy has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.ERROR


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare the model with its copy in a fresh process."""
    differences = live.verification.differences if live.verification else ()
    for path, found in live.by_layer(differences).items():
        place = live.place_of_layer(live.layers[path]) if path else None
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        message = f"it is another model in a fresh process: {found[0].check}: {found[0].where}{more}"
        yield Problem(place, message, layer=path, evidence=f"here {found[0].here}, there {found[0].there}")
