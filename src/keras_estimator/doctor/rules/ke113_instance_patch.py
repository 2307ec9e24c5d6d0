"""KE113 instance-patch: a method was replaced on one object; what is made from its class does not have it.

What it finds:
    In a live model, a layer with a function of yours in an attribute that is a method of its class, assigned from
    outside of the class.

Why it matters:
    Keras makes layers anew from their classes and configs; a function in an attribute is part of neither.

If ignored:
    `load_model`, `clone_model` and deepcopy of Keras call the method of the class again, without a word. An Estimator
    carries the layer with its attributes as they are.

Example:
    layer = keras.layers.Dense(4)
    layer.call = lambda x: x * 2

Instead:
    class Twice(keras.layers.Dense):
        def call(self, x):
            return super().call(x) * 2

Fix:
    For display: write a subclass.

Evidence:
    Row 34 of the zoo: dropped without a word by everything that goes by the config.
"""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.config_tree import made_by_config
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find functions of the user in attributes of layers that are methods of their classes."""
    for path, layer in made_by_config(live).items():
        for name, value in vars(layer).items():
            function = _function(value)
            is_method = inspect.isfunction(getattr(type(layer), name, None))
            if function is None or not is_method or live.place_of(function) is None or _by_itself(type(layer), name):
                continue
            kind = type(layer).__name__
            lost = next((str(outcome) for outcome in live.routes.values() if not outcome.is_lossless), "")[:160]
            fix = Fix(f"write a subclass of {kind} with its own {name}", Applicability.DISPLAY)
            message = f"{name} of one {kind} was replaced, which Keras does not save"
            yield Problem(live.place_of(function), message, layer=path, evidence=lost, fix=fix)


def _function(value: Any) -> Any:
    """Return the plain function behind a function, a method or a `tf.function`; None if it is something else."""
    value = getattr(value, "python_function", value)
    value = value.__func__ if isinstance(value, types.MethodType) else value
    # Keras wraps `build` and `quantize` of each layer in functions of its own.
    if not isinstance(value, types.FunctionType) or str(value.__globals__.get("__name__")).startswith("keras."):
        return None
    return value


def _by_itself(cls: type, name: str) -> bool:
    """Tell whether a class assigns the attribute itself: then what is made from it has it, too."""
    methods = [method for one in cls.__mro__ for method in vars(one).values() if inspect.isfunction(method)]
    return any(
        one.opname == "STORE_ATTR" and one.argval == name
        for method in methods
        if name in method.__code__.co_names
        for one in dis.get_instructions(method)
    )
