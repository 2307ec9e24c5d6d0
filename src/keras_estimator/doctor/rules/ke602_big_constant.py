"""KE602 big-constant: an array of a megabyte or more is written into the graph, once for each time it is traced.

What it finds:
    Constants in the graph of the answer that together, in one layer and line, are larger than a megabyte.

Why it matters:
    A constant is part of the graph itself: each trace holds another copy, an export holds it once for each signature,
    and a graph may not be larger than 2 GB. Nothing can load another value into it.

If ignored:
    Tracing, export and start take longer, and memory is used several times. With more than 2 GB they fail.

Example:
    def call(self, x):
        return x @ keras.ops.convert_to_tensor(TABLE)

Instead:
    def build(self, shape):
        self.table = self.add_weight(shape=TABLE.shape, initializer=lambda *_, **__: TABLE, trainable=False)

    def call(self, x):
        return x @ self.table

Fix:
    For display: a weight that is not trained; it is saved with the others.

Evidence:
    The bytes of the constants in the graph, counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_LIMIT = 1 << 20
_FIX = Fix("make it a weight in `build`: self.add_weight(..., trainable=False)", Applicability.DISPLAY)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Add up the constants of each line."""
    found: dict[Any, list[int]] = {}
    for operation in live.inference.of_kind("Const") if live.inference else ():
        if size := _bytes_of(operation.operation.outputs[0]):
            found.setdefault((operation.layer, operation.place), []).append(size)
    for (layer, place), sizes in found.items():
        if sum(sizes) >= _LIMIT:
            number = f"{len(sizes)} constants" if len(sizes) > 1 else "a constant"
            message = f"{number} of {sum(sizes) / _LIMIT:.1f} MB in the graph"
            yield Problem(place, message, layer=layer, evidence=f"{sum(sizes)} bytes", fix=_FIX)


def _bytes_of(tensor: Any) -> int:
    elements = tensor.shape.num_elements() or 0  # None if its shape is not known
    return int(elements * tensor.dtype.size)
