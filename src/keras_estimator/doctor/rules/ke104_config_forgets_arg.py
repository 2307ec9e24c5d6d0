"""KE104 config-forgets-arg: `get_config` leaves out an argument of `__init__`, which is set back to its default.

What it finds:
    An argument that `__init__` uses and that is in no key of what the class's own `get_config` returns; in a live
    model, one that is another one after `from_config(get_config())`.

Why it matters:
    `load_model`, `clone_model` and `copy.deepcopy` make each layer anew from its config.

If ignored:
    What Keras loads or clones has the default in its place, without a word; an argument without a default cannot be
    loaded. An Estimator carries the layer as it is.

Example:
    def get_config(self):
        return super().get_config()

Instead:
    def get_config(self):
        config = super().get_config()
        config.update({"factor": self.factor})
        return config

Fix:
    Safe if `self.factor` holds what `__init__` was given as `factor`: only what is saved becomes another one.
    Otherwise for display.

Evidence:
    Row 07 of the zoo: k = 5 came back as 2 from `clone_model` and `.keras`, and no error was raised. In Keras 3.15.1
    itself, `CategoryEncoding(sparse=True)` comes back as one with `sparse=False`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.config_fixes import add_keys, listed
from keras_estimator.doctor.config_keys import keys_of
from keras_estimator.doctor.configs import Argument, Constructor, constructors, get_config_above
from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING


def in_source(source: Source) -> Iterator[Problem]:
    """Find arguments that no key of the class's own config is named after."""
    for constructor in constructors(source):
        one = constructor.one
        function = one.methods.get("get_config")
        lost = _lost(constructor) if function is not None else []
        if function is not None and lost:
            message = f"get_config of {one.name} forgets {listed([argument.name for argument in lost])}"
            yield Problem(function, message, fix=add_keys(function, lost))


def _lost(constructor: Constructor) -> list[Argument]:
    keys = keys_of(constructor.one.methods["get_config"])
    known = set(keys.names)
    if keys.calls_super:
        known |= constructor.handed_up | constructor.renamed.keys()
        above = get_config_above(constructor.one)
        if above is not None:
            above_keys = keys_of(above)
            known |= above_keys.names
            keys = above_keys if not above_keys.are_known else keys
    known = constructor.goes_into(known)
    return [argument for argument in constructor.own if argument.name not in known] if keys.are_known else []


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Make each layer with a `get_config` of the user's anew, and compare what its arguments have become."""
    from keras_estimator.doctor.rebuilding import is_users, remade, told  # noqa: PLC0415 - of live models alone

    for path, one in remade(live).items():
        if not is_users(one.owner_of_config) or not issubclass(one.owner_of_config, one.owner_of_init):
            continue
        lost = [*one.different, *one.missing]
        if lost:
            message = f"get_config of {type(one.layer).__name__} forgets {listed(lost)}"
            evidence = told(one.different) or f"it cannot be made from its config: {str(one.error).splitlines()[-1]}"
            yield Problem(live.place_of(type(one.layer).get_config), message, layer=path, evidence=evidence)
