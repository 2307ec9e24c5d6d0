"""KE409 string-inputs-mirrored: a model that takes texts cannot be trained by several replicas of plain Keras.

What it finds:
    A compiled model with an input of texts; and the error that its training raises under a strategy.

Why it matters:
    What replicas share goes through operations that only know numbers, and texts are none.

If ignored:
    `fit` under a MirroredStrategy of several devices raises "Value for attr 'T' of string is not in the list of allowed
    values"; `predict` works. An Estimator trains it on several devices. On one device nothing happens.

Example:
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup, keras.layers.Embedding(100, 8)])

Instead:
    dataset = dataset.map(lambda text, label: (lookup(text), label))
    model = keras.Sequential([keras.Input((1,), dtype="int64"), keras.layers.Embedding(100, 8)])

Fix:
    For display: the lookup belongs into the input pipeline, and in front of the model again where it serves texts.

Evidence:
    A StringLookup and an Embedding on two logical CPUs, Keras 3.15: InvalidArgumentError from arrays and from a
    `tf.data.Dataset`; `predict` answered; an IntegerLookup trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Place, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.state_writes import dtype_of
from keras_estimator.doctor.user_files import sources_of

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_REFUSED = "Value for attr 'T' of string is not in the list of allowed values"
_FIX = Fix("look texts up in the input pipeline: dataset.map(lookup)", Applicability.DISPLAY)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look at what a compiled model takes."""
    if not live.model.compiled or live.features is None:
        return
    texts = [spec for spec in live.tf.nest.flatten(live.features) if spec.dtype == live.tf.string]
    if texts:
        places = list(_inputs_of_texts(live))
        place = places[0] if len(places) == 1 else None
        evidence = f"{len(texts)} inputs of dtype string" if len(texts) > 1 else "an input of dtype string"
        message = "several replicas of plain Keras cannot train a model that takes texts"
        yield Problem(place, message, evidence=evidence, fix=_FIX)


def _inputs_of_texts(live: LiveModel) -> Iterator[Place]:
    for source in sources_of(live):
        for call in source.calls:
            is_input = source.dotted(call.func) in ("keras.Input", "keras.layers.Input", "keras.layers.InputLayer")
            if is_input and dtype_of(call) == "string":
                yield source.place(call)


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what TensorFlow says when replicas are to share texts."""
    if _REFUSED in failure.text:
        yield Problem(failure.place, "replicas cannot share texts", evidence=failure.line[:200], fix=_FIX)
