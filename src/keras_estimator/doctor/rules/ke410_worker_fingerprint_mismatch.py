"""KE410 worker-fingerprint-mismatch: two processes that make this model compute something else each.

What it finds:
    A model of which two traces have different fingerprints: a number of Python's, such as `np.random.rand()`, became a
    constant in each. And the error of processes that found out that they differ.

Why it matters:
    Each worker of a cluster, and each copy on a further device, traces the model once and keeps what it then got.

If ignored:
    Plain Keras compares nothing: what is loaded elsewhere computes with another constant, without a word. An Estimator
    compares hashes of the graphs of all processes before the first step, and stops with a WorkersDifferError.

Example:
    return x * np.random.rand()

Instead:
    return x * keras.random.uniform((), seed=self.seed_generator)

Fix:
    See the findings about the layer that is named.

Evidence:
    Which parts of the graph differed between two traces in one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare the fingerprints of some traces."""
    by_layer: dict[str, list[str]] = {}
    # The first trace may make what is then there, such as the slots of an optimizer.
    settled = [traced.fingerprint for traced in live.traced[1:]]
    for line in settled[0].differences(settled[-1]) if settled else ():
        by_layer.setdefault(live.layer_named(line), []).append(line)
    if len(by_layer) > 1:
        by_layer.pop("", None)  # the whole differs if a layer does
    for path, lines in by_layer.items():
        layer = live.layers.get(path)
        place = live.place_of_layer(layer) if layer is not None else None
        message = "each process that traces it computes something else"
        yield Problem(place, message, layer=path, evidence=f"differs between traces: {'; '.join(lines[:3])}")


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find the error of workers that differ."""
    if failure.kind == "WorkersDifferError":
        yield Problem(failure.place, "the processes of the cluster do not compute the same", evidence=failure.line)
