"""KE101 unregistered-custom-class: Keras finds a class again by its name only, and this one is not registered.

What it finds:
    A layer or model class without `@keras.saving.register_keras_serializable`.

Why it matters:
    A `.keras` file holds the name of a class. Where that is not imported, or is of `__main__` or a function, Keras
    looks into its registry, and finds nothing.

If ignored:
    `load_model` of Keras says "Could not locate class" unless it is given `custom_objects`. An Estimator carries the
    class itself.

Example:
    class Swish(keras.layers.Layer):

Instead:
    @keras.saving.register_keras_serializable(package="my_models")
    class Swish(keras.layers.Layer):

Fix:
    Safe: a decorator that returns the class as it is.

Evidence:
    Rows 02, 08, 19 and 26 of the zoo: `.keras` is written and cannot be read without `custom_objects`.
"""

from __future__ import annotations

from collections.abc import Iterator

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.registration import is_decorated, registered_by_call, registering
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

SEVERITY = Severity.INFO


def in_source(source: Source) -> Iterator[Problem]:
    """Find classes that no decorator and no call registers."""
    registered = registered_by_call(source)
    for one in source.classes:
        if one.kind in ("layer", "model") and not is_decorated(one.node) and one.name not in registered:
            yield Problem(one.node, f"class {one.name} is not registered", fix=registering(source, one.node))
