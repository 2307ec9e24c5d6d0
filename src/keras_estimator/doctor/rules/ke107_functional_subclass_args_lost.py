"""KE107 functional-subclass-args-lost: a class that hands inputs and outputs to `keras.Model` loses its own arguments.

What it finds:
    A subclass of `keras.Model` that calls `super().__init__(inputs, outputs)` or hands `*args` on, has arguments of
    its own, such as one that its `train_step` uses, and has no `get_config`.

Why it matters:
    The config of such a model has the graph of its layers, or only its name; nothing of it says what `__init__` was
    given.

If ignored:
    `load_model`, `clone_model` and `from_config` of Keras make the model with the defaults of its arguments, without
    a word, or not at all: "Unable to revive model from config". An Estimator carries it as it is.

Example:
    class Distilled(keras.Model):
        def __init__(self, *args, alpha=0.5, **kwargs):
            super().__init__(*args, **kwargs)
            self.alpha = alpha

Instead:
    class Distilled(keras.Model):
        def __init__(self, *args, alpha=0.5, **kwargs):
            super().__init__(*args, **kwargs)
            self.alpha = alpha

        def get_config(self):
            return {**super().get_config(), "alpha": self.alpha}

Fix:
    Unsafe: `get_config` is added, with which `load_model` and `from_config` are right; `clone_model` makes the model
    from its graph alone, whatever the class says. For display if an argument is in no attribute of its name, and
    where `inputs` and `outputs` are arguments themselves.

Evidence:
    Rows 27 and 53 of the zoo: alpha = 0.25 came back as 0.5 from `clone_model`, `from_config`, `.keras` and deepcopy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.config_fixes import add_get_config, listed
from keras_estimator.doctor.configs import Argument, Constructor, constructors, is_of_root
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_GRAPH = frozenset({"inputs", "outputs"})


def in_source(source: Source) -> Iterator[Problem]:
    """Find models of a graph with arguments of their own and no `get_config`."""
    for constructor in constructors(source):
        one = constructor.one
        if not constructor.is_functional or one.method("get_config") is not None or not is_of_root(one):
            continue
        lost = [argument for argument in constructor.own if argument.name not in _GRAPH]
        if lost:
            message = _message(one.name, [argument.name for argument in lost])
            yield Problem(constructor.init, message, fix=_fix(source, constructor, lost))


def _fix(source: Source, constructor: Constructor, lost: list[Argument]) -> Fix:
    if _GRAPH & set(constructor.names):
        return Fix("take *args for inputs and outputs, and add get_config", Applicability.DISPLAY)
    fix = add_get_config(source, constructor, lost)
    return dataclasses.replace(fix, applicability=Applicability.UNSAFE) if fix.is_applicable else fix


def _message(name: str, lost: list[str]) -> str:
    return f"Keras saves the graph of {name} without its argument{'s' if len(lost) > 1 else ''} {listed(lost)}"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Make each such model anew, and compare what its arguments have become."""
    from keras_estimator.doctor.rebuilding import is_users, remade, told  # noqa: PLC0415 - of live models alone

    for path, one in remade(live).items():
        if not hasattr(type(one.layer), "operations") or is_users(one.owner_of_config):
            continue
        refused = one.arguments if one.error is not None and "argument" in str(one.error) else []
        lost = [name for name in (*one.different, *refused) if name not in _GRAPH]
        if lost:
            evidence = told(one.different) or f"Keras: {str(one.error).splitlines()[-1]}"
            place = live.place_of(type(one.layer).__init__)
            yield Problem(place, _message(type(one.layer).__name__, lost), layer=path, evidence=evidence)
