"""KE114 json-lossy-config: a config has values that JSON changes: keys that are numbers, sets, tuples, arrays.

What it finds:
    In a live model, a layer of yours that cannot be made from its config after JSON, or an attribute of which is
    another one then.

Why it matters:
    A `.keras` file holds configs as JSON. Its keys are texts, it has lists and no tuples, and arrays and objects
    become dicts that only a `from_config` of yours would take apart.

If ignored:
    `load_model` of Keras raises KeyError or TypeError, or gives a layer that works otherwise, while `clone_model` is
    right. A tuple that becomes a list is harmless in most layers. An Estimator uses no JSON.

Example:
    Scaled(factors={1: 2.0})

Instead:
    Scaled(factors={"1": 2.0})

Fix:
    For display: use values that JSON has, or convert them in `from_config`.

Evidence:
    Row 58 of the zoo: {1: 2.0} came back as {"1": 2.0}, and a KeyError was raised.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel
    from keras_estimator.doctor.rebuilding import Remade

SEVERITY = Severity.WARNING
_FIX = Fix("use values that JSON has, or convert them in from_config", Applicability.DISPLAY)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Make each of the user's layers anew from its config after JSON."""
    from keras_estimator.doctor.rebuilding import remade  # noqa: PLC0415 - of live models alone

    for path, one in remade(live).items():
        if one.made is None or one.config is None or hasattr(type(one.layer), "operations"):
            continue  # a graph has its layers in its config, which are looked at one by one
        place = live.place_of(type(one.layer).__init__) or live.place_of(type(one.layer))
        name = type(one.layer).__name__
        try:
            with live.unchanged():
                plain = json.loads(json.dumps(live.keras.saving.serialize_keras_object(dict(one.config))))
                made = type(one.layer).from_config(plain)
        except Exception as error:  # noqa: BLE001 - whatever the user's code says is what we want to know
            evidence = (str(error).splitlines() or [type(error).__name__])[-1][:160]
            message = f"{name} cannot be made from its config after JSON"
            yield Problem(place, message, layer=path, evidence=evidence, fix=_FIX)
            continue
        yield from _changed(one, made, path, place)


def _changed(one: Remade, made: Any, path: str, place: Any) -> Iterator[Problem]:
    for argument in one.arguments:
        here, there = vars(one.made).get(argument), vars(made).get(argument)
        said = _lost(here, there)
        if said:
            is_harmless = said == "a list instead of a tuple"
            message = f"`{argument}` of {type(made).__name__} is {said} after JSON"
            evidence = f"{here!r:.60} here, {there!r:.60} there"
            severity = Severity.INFO if is_harmless else None
            yield Problem(place, message, layer=path, evidence=evidence, fix=_FIX, severity=severity)


def _lost(here: Any, there: Any) -> str:
    """Return what a value has become, in words; empty if it is what it was, or something that is made anew."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        if any(not isinstance(key, str) for key in here) and here.keys() != there.keys():
            return "a dict with other keys"
        return next((said for key in here if key in there and (said := _lost(here[key], there[key]))), "")
    if isinstance(here, tuple) and isinstance(there, list):
        return "a list instead of a tuple"
    if isinstance(here, list | tuple) and isinstance(there, list | tuple) and len(here) == len(there):
        return next((said for one, other in zip(here, there, strict=True) if (said := _lost(one, other))), "")
    if isinstance(there, Mapping) and not isinstance(here, Mapping):
        return f"a dict instead of {_article(here)}"
    return ""


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
