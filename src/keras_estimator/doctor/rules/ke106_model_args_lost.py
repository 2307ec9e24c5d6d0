"""KE106 model-args-lost: the arguments of a model class are in no config: Keras notes their defaults instead.

What it finds:
    A subclass of `keras.Model` or `keras.Sequential` whose `__init__` has arguments, and that has no `get_config`.

Why it matters:
    Keras notes the arguments of a layer when it is made, but `Model.__new__` does not hand them on: what is noted are
    the defaults. A Sequential notes its layers only.

If ignored:
    `load_model` and `clone_model` of Keras make the model with its defaults, without a word; with arguments that have
    no default, `save` says that it has "non-serializable argument values". An Estimator carries it as it is.

Example:
    class Scaled(keras.Model):
        def __init__(self, gain=1.0, **kwargs):
            super().__init__(**kwargs)
            self.gain = gain

Instead:
    class Scaled(keras.Model):
        def __init__(self, gain=1.0, **kwargs):
            super().__init__(**kwargs)
            self.gain = gain

        def get_config(self):
            return {**super().get_config(), "gain": self.gain}

Fix:
    Safe if an attribute holds what `__init__` was given, under the same name: only what is saved becomes another one.
    Unsafe with functions and layers, which `from_config` has to make anew. Otherwise, and of a Sequential, for
    display.

Evidence:
    Row 52 of the zoo; `Gain(gain=5.0)` of Keras 3.15.1 was saved as `{"gain": 1.0}` and answered otherwise when
    loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.config_fixes import add_get_config, listed
from keras_estimator.doctor.configs import constructors, is_of_root
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_OF_SEQUENTIAL = Fix("make it a function that returns a keras.Sequential", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find models that take arguments and have no `get_config`."""
    for constructor in constructors(source):
        one = constructor.one
        if (
            one.kind != "model"
            or one.method("get_config") is not None
            or constructor.is_functional
            or not is_of_root(one)
        ):
            continue
        if constructor.own:
            is_sequential = any(base.endswith("Sequential") for base in one.bases)
            fix = _OF_SEQUENTIAL if is_sequential else add_get_config(source, constructor, constructor.own)
            yield Problem(
                constructor.init, _message(one.name, [argument.name for argument in constructor.own]), fix=fix
            )


def _message(name: str, lost: list[str]) -> str:
    return f"Keras saves {name} without its argument{'s' if len(lost) > 1 else ''} {listed(lost)}"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Make each model of the user's anew, and compare what its arguments have become."""
    from keras_estimator.doctor.rebuilding import remade, told  # noqa: PLC0415 - of live models alone

    for path, one in remade(live).items():
        is_sequential = live.is_a(one.layer, "keras.Sequential") and one.owner_of_config.__module__.startswith("keras.")
        is_bare = one.has_automatic_config and not hasattr(type(one.layer), "operations")
        if not live.is_a(one.layer, "keras.Model") or not (is_sequential or is_bare):
            continue
        is_refused = isinstance(one.error, NotImplementedError) or (is_sequential and one.error is not None)
        lost = [*one.different] or (one.arguments if is_refused else one.missing)
        if lost:
            evidence = told(one.different) or f"Keras: {' '.join(str(one.error).split())[:120]}"
            place = live.place_of(type(one.layer).__init__)
            yield Problem(place, _message(type(one.layer).__name__, lost), layer=path, evidence=evidence)


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what says that a model cannot be made from its config."""
    if "Unable to revive model from config" in failure.text:
        name = failure.text.partition("in the  constructor to <class '")[2].partition("'")[0].rpartition(".")[2]
        message = f"Keras cannot make {name or 'the model'} from its config"
        yield Problem(failure.place, message, evidence=failure.text.splitlines()[-1], severity=Severity.ERROR)
