"""KE103 nonplain-ctor-arg: a layer is given a function, a layer or an array, which its automatic config cannot hold.

What it finds:
    A subclass of `keras.Layer` without `get_config`, one argument of which is called, asked for its weights or
    annotated as such an object; in a live model, each layer for which Keras has no config.

Why it matters:
    Keras notes the arguments of a layer itself if all of them are numbers, texts, True, False or None, and lists and
    dicts of these. One other argument, and nothing is noted.

If ignored:
    `save`, `clone_model` and `get_config` of Keras raise NotImplementedError: "created by passing non-serializable
    argument values". An Estimator carries the layer as it is.

Example:
    class Apply(keras.layers.Layer):
        def __init__(self, function, **kwargs):
            super().__init__(**kwargs)
            self.function = function

Instead:
    class Apply(keras.layers.Layer):
        def __init__(self, function, **kwargs):
            super().__init__(**kwargs)
            self.function = function

        def get_config(self):
            return {**super().get_config(), "function": keras.saving.serialize_keras_object(self.function)}

        @classmethod
        def from_config(cls, config):
            return cls(**{**config, "function": keras.saving.deserialize_keras_object(config["function"])})

Fix:
    Unsafe: `get_config` and `from_config` are added. A function or class of yours has to be registered, too.

Evidence:
    Rows 04 and 05 of the zoo: an error on every way of Keras but `export`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.config_fixes import add_get_config, listed
from keras_estimator.doctor.configs import constructors, is_of_root
from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_SAID = ("non-serializable argument values", "positional only or variadic positional arguments")


def in_source(source: Source) -> Iterator[Problem]:
    """Find layers without `get_config` that use an argument as an object."""
    for constructor in constructors(source):
        one = constructor.one
        objects = [argument.name for argument in constructor.own if argument.is_object]
        if one.kind == "layer" and one.method("get_config") is None and is_of_root(one) and objects:
            yield Problem(
                constructor.init, _message(one.name, objects), fix=add_get_config(source, constructor, constructor.own)
            )


def _message(name: str, objects: list[str]) -> str:
    return f"Keras has no config for {name}, as {listed(objects)} {'are' if len(objects) > 1 else 'is'} no plain value"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find layers whose automatic config Keras refuses to make."""
    from keras_estimator.doctor.rebuilding import is_plain, remade  # noqa: PLC0415 - of live models alone

    for path, one in remade(live).items():
        if live.is_a(one.layer, "keras.Model") or not isinstance(one.error, NotImplementedError):
            continue
        held = {name: vars(one.layer).get(name) for name in one.arguments}
        plain = (str, int, float, bool, type(None), list, tuple, dict)
        objects = {name: value for name, value in held.items() if not isinstance(value, plain) or not is_plain(value)}
        names = list(objects) or one.arguments or [one.takes_args]
        if one.has_automatic_config and any(names):
            kinds = ", ".join(f"`{name}` is a {type(value).__name__}" for name, value in objects.items())
            place = live.place_of(type(one.layer).__init__)
            evidence = kinds or " ".join(str(one.error).split())[:120]
            yield Problem(place, _message(type(one.layer).__name__, names), layer=path, evidence=evidence)


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what says that there is no config."""
    if any(text in failure.text for text in _SAID):
        name = failure.text.split("Object ", 1)[-1].split(" ", 1)[0]
        yield Problem(failure.place, f"Keras has no config for {name}", evidence=failure.line, severity=Severity.ERROR)
