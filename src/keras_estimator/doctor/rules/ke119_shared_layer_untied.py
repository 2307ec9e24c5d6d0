"""KE119 shared-layer-untied: two parts of the model share a layer, and Keras makes two layers of it.

What it finds:
    A layer that two others hold, of which a clone of the model has two, so that it has more weights than the model.

Why it matters:
    `clone_model` and `from_config` make each part from its own config. What two parts share is made twice, and each
    of the two is trained for itself from then on.

If ignored:
    `clone.set_weights(model.get_weights())` of Keras fails, or the clone is trained with weights that are no longer
    tied; if a nested model or a wrapper shares the layer, `load_model` says "objects could not be loaded", too. An
    Estimator keeps it one.

Example:
    dense = keras.layers.Dense(3)
    outputs = dense(keras.layers.TimeDistributed(dense)(inputs))

Instead:
    dense = keras.layers.Dense(3)
    outputs = dense(dense(inputs))

Fix:
    For display: let one part own the layer, and call it there as often as it is needed.

Evidence:
    Row 60 of the zoo: 4 weights, the clone has 6. `TimeDistributed(dense)` and `dense`: 2 weights, the clone has 4,
    and `load_model` of Keras 3.15 fails: "A total of 1 objects could not be loaded".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_FIX = Fix("let one part own the layer, and call it there", Applicability.DISPLAY)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look for layers with two owners; if there are some, clone the model and count its weights."""
    owners: dict[int, list[str]] = {}
    paths = {id(layer): path for path, layer in live.layers.items()}
    for path, layer in live.layers.items():
        for inner in {id(one): one for one in vars(layer).get("_layers") or ()}.values():
            if inner.weights and id(inner) in paths:
                owners.setdefault(id(inner), []).append(path)
    shared = {paths[key]: held for key, held in owners.items() if len(held) > 1}
    number = _weights_of_clone(live) if shared else None
    if number is None or number <= len(live.model.weights):
        return
    evidence = f"the model has {len(live.model.weights)} weights, a clone has {number}"
    for path, held in shared.items():
        parts = " and ".join(f"`{one}`" if one else "the model" for one in held)
        place = next((place for one in held if one and (place := live.place_of(type(live.layers[one])))), None)
        yield Problem(place, f"{parts} share `{_name(live, path)}`", layer=path, evidence=evidence, fix=_FIX)


def _name(live: LiveModel, path: str) -> str:
    return str(live.layers[path].name)


def _weights_of_clone(live: LiveModel) -> int | None:
    """Return how many weights a clone has; None if Keras cannot clone the model, or the clone is yet to be built."""
    try:
        clone: Any = live.keras.models.clone_model(live.model)
    except Exception:  # noqa: BLE001 - what cannot be cloned is the business of other rules
        return None
    return len(clone.weights) if clone.built else None
