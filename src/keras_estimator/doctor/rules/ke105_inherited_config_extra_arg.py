"""KE105 inherited-config-extra-arg: a class adds an argument, and the `get_config` that it inherits does not know it.

What it finds:
    A class with an `__init__` of its own and without `get_config`, whose base class writes the config: a finished
    layer such as `Dense`, a class of the same file, a loss, a metric, an initializer, an optimizer and so on.

Why it matters:
    Keras notes arguments itself for subclasses of `keras.Layer` and `keras.Model` only. A config from above has those
    of the class above.

If ignored:
    What Keras loads or clones has the default in its place, without a word; an argument without a default cannot be
    loaded. An Estimator carries the object as it is.

Example:
    class Scaled(keras.layers.Dense):
        def __init__(self, units, gain=1.0, **kwargs):
            super().__init__(units, **kwargs)
            self.gain = gain

Instead:
    class Scaled(keras.layers.Dense):
        def __init__(self, units, gain=1.0, **kwargs):
            super().__init__(units, **kwargs)
            self.gain = gain

        def get_config(self):
            return {**super().get_config(), "gain": self.gain}

Fix:
    Safe if an attribute holds what `__init__` was given, under the same name: only what is saved becomes another one.
    Unsafe with functions, layers and arrays, which `from_config` has to make anew. Otherwise for display.

Evidence:
    Row 50 of the zoo: gain = 6 came back as 1 on every way of Keras; a `Metric(threshold=0.9)` as 0.5. In Keras 3.15.1
    itself, `keras.initializers.Identity(3.0)` comes back as one with a gain of 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.config_fixes import add_get_config, listed
from keras_estimator.doctor.config_keys import keys_of
from keras_estimator.doctor.configs import Argument, Constructor, constructors, get_config_above, is_of_root
from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING


def in_source(source: Source) -> Iterator[Problem]:
    """Find arguments that stay in a class whose config is written above it."""
    for constructor in constructors(source):
        lost = _lost(constructor)
        if lost:
            message = _message(constructor.one.name, [argument.name for argument in lost])
            yield Problem(constructor.init, message, fix=add_get_config(source, constructor, lost))


def _message(name: str, lost: list[str]) -> str:
    return f"the config that {name} inherits does not have its argument{'s' if len(lost) > 1 else ''} {listed(lost)}"


def _lost(constructor: Constructor) -> list[Argument]:
    one = constructor.one
    if "get_config" in one.methods:
        return []
    known = set(constructor.handed_up)
    above = get_config_above(one)
    if above is not None:
        keys = keys_of(above)
        if not keys.are_known:
            return []
        known |= keys.names
    elif one.kind in ("layer", "model") and is_of_root(one):
        return []
    known = constructor.goes_into(known)
    return [argument for argument in constructor.own if argument.name not in known]


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Make each layer whose config is written above it anew, and compare what its arguments have become."""
    from keras_estimator.doctor.rebuilding import remade, told  # noqa: PLC0415 - of live models alone

    for path, one in remade(live).items():
        is_above = one.owner_of_config is not one.owner_of_init and issubclass(one.owner_of_init, one.owner_of_config)
        is_bare = live.is_a(one.layer, "keras.Model") and one.owner_of_config.__module__.startswith("keras.")
        lost = [*one.different, *one.missing]
        if is_above and not is_bare and not one.has_automatic_config and lost:
            evidence = told(one.different) or f"it cannot be made from its config: {str(one.error).splitlines()[-1]}"
            place = live.place_of(type(one.layer).__init__)
            yield Problem(place, _message(type(one.layer).__name__, lost), layer=path, evidence=evidence)
