"""What names stand for in the running program: `parts.L` is `keras.layers`, if the module `parts` has it so."""

from __future__ import annotations

import functools
import linecache
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from keras_estimator.doctor.names import canonical, kind_of_keras
from keras_estimator.doctor.source import NOT_PARSED, Source

_KINDS = (
    (keras.Model, "model"),
    (keras.Layer, "layer"),
    (keras.Loss, "loss"),
    (keras.Metric, "metric"),
    (keras.Optimizer, "optimizer"),
    (keras.optimizers.schedules.LearningRateSchedule, "schedule"),
    (keras.Initializer, "initializer"),
    (keras.Regularizer, "regularizer"),
    (keras.constraints.Constraint, "constraint"),
    (keras.callbacks.Callback, "callback"),
)


class Imported:
    """The modules of this process, as what is around the files of a live model."""

    def source(self, path: Path, text: str) -> Source:
        """Return a file as rules see it.

        Raises:
            SyntaxError: It is no Python.
        """
        return _parsed(str(path), text)

    def has_keras(self, path: Path) -> bool:
        """Tell whether there may be something of Keras's in a file: a part of a model is written in it."""
        return True

    def canonical(self, dotted: str) -> str:
        """Return the canonical name of something; the same name if nobody knows it."""
        first, *rest = dotted.split(".")
        thing: Any = sys.modules.get(first)
        for place, name in enumerate(rest, start=1):
            thing = getattr(thing, name, None) if thing is not None else None
            if isinstance(thing, ModuleType):
                known = canonical(thing.__name__)
                if known.partition(".")[0] != first:
                    return ".".join([known, *rest[place:]])
        return dotted

    def kind_of(self, dotted: str) -> str:
        """Return what kind of Keras class a dotted name stands for; empty if none."""
        if kind := kind_of_keras(dotted):
            return kind
        first, *rest = dotted.split(".")
        thing: Any = functools.reduce(lambda at, name: getattr(at, name, None), rest, sys.modules.get(first))
        if not isinstance(thing, type):
            return ""
        return next((kind for cls, kind in _KINDS if issubclass(thing, cls)), "")


def source_of(file: str) -> Source | None:
    """Return a file of the program as rules see it; None if there is none, or it is no Python any more."""
    try:
        return _parsed(file, "".join(linecache.getlines(file)))
    except NOT_PARSED:
        return None


@functools.lru_cache(maxsize=64)
def _parsed(file: str, text: str) -> Source:
    return Source(file, text, _module_of(file), Imported())


def _module_of(file: str) -> str:
    """Return the name of the module that was imported from a file; empty if none was."""
    found = (name for name, module in list(sys.modules.items()) if getattr(module, "__file__", None) == file)
    return next((name for name in found if name != "__main__"), "")
