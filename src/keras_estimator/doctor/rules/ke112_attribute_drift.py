"""KE112 attribute-drift: an attribute of a layer was changed after `__init__`; its config does not know.

What it finds:
    In a live model, an attribute that only `__init__` of a class of yours assigns, and that has another value now
    than in a layer that is made from the config.

Why it matters:
    Keras notes the arguments of a layer when it is made. What is assigned later is no part of any config.

If ignored:
    `load_model`, `clone_model` and deepcopy of Keras set the attribute back, without a word. An Estimator carries the
    layer with its attributes as they are.

Example:
    layer = Scaled(factor=5)
    layer.factor = 9

Instead:
    layer = Scaled(factor=9)

Fix:
    For display: hand the value to `__init__`, or write a `get_config` that reads the attribute.

Evidence:
    Rows 35 and 49 of the zoo: k = 9 after k = 5 came back as 5 on every way of Keras.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Compare the attributes of each of the user's layers with those of one that is made from its config."""
    from keras_estimator.doctor.rebuilding import differing, is_users, remade  # noqa: PLC0415 - of live models alone

    for path, one in remade(live).items():
        if one.made is None:
            continue
        classes = [cls for cls in type(one.layer).__mro__ if is_users(cls)]
        of_keras = vars(live.keras.layers.Layer(name="a"))  # `built` and so on, which Keras changes itself
        names = sorted(_assigned_by_init_alone(live, classes) - of_keras.keys())
        # An argument that the config does not have is the business of other rules.
        names = [name for name in names if name not in one.arguments or _is_noted(one, name)]
        for name, (here, there) in differing(one.layer, one.made, names).items():
            message = (
                f"self.{name} was changed after __init__, which the config of {type(one.layer).__name__} does not know"
            )
            evidence = f"{here!r:.60} here, {there!r:.60} in what its config makes"
            place = live.place_of_attribute(one.layer, name)
            yield Problem(place, message, layer=path, evidence=evidence, fix=_fix(name, one.arguments))


def _is_noted(one: Any, name: str) -> bool:
    """Tell whether Keras itself has noted an argument, as it does for layers that are no models."""
    return one.has_automatic_config and one.config is not None and name in one.config and not hasattr(one.layer, "fit")


def _fix(name: str, arguments: list[str]) -> Fix:
    if name in arguments:
        return Fix(f"hand the value to __init__ as {name}=...", Applicability.DISPLAY)
    return Fix(f"make {name} an argument of __init__", Applicability.DISPLAY)


def _assigned_by_init_alone(live: LiveModel, classes: list[type]) -> set[str]:
    """Return the attributes that `__init__` assigns, and no method that Keras or the class itself calls."""
    by_init: set[str] = set()
    by_others: set[str] = set()
    called = {name for cls in classes for method in _methods(cls).values() for name in method.__code__.co_names}
    for cls in classes:
        for name, method in _methods(cls).items():
            if name == "__init__":
                by_init |= _stored(method)
            # A setter that nobody but the user calls changes what the config has, as an assignment does.
            elif name.startswith("_") or name in called or hasattr(live.keras.Model, name):
                by_others |= _stored(method)
    return by_init - by_others


def _methods(cls: type) -> dict[str, Any]:
    plain = (
        (name, inspect.unwrap(value))
        for name, value in vars(cls).items()
        if callable(value) and not isinstance(value, type)
    )
    return {name: method for name, method in plain if inspect.isfunction(method)}


def _stored(method: Any) -> set[str]:
    """Return the attributes that a method assigns, whatever they are of."""
    return {one.argval for one in dis.get_instructions(method) if one.opname == "STORE_ATTR"}
