"""Let an int tf.Variable meet a float tensor, as Keras variables and NumPy do.

    x * self.counter        TensorFlow: a TypeError, as the dtypes differ        here: float32, and one warning

A `tf.Variable(0)` is int32, and TensorFlow's operators never promote. Keras's variables do. While this is
installed, the operators of tensors and variables cast an integer variable to the dtype of the floating
tensor it meets. Nothing that worked before changes: these combinations only ever raised.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_estimator.errors import EstimatorWarning
from keras_estimator.model.user_lines import running_line

_OPERATORS = [
    f"__{side}{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow") for side in ("", "r")
] + ["__lt__", "__le__", "__gt__", "__ge__"]
_told: set[tuple[str, int]] = set()


@functools.cache
def install() -> None:
    """Let integer variables promote from now on, in this process."""
    variable = next(cls for cls in type(tf.Variable(0)).__mro__ if "__mul__" in vars(cls))
    for cls in (tf.Tensor, variable):
        for name in _OPERATORS:
            original = getattr(cls, name, None)
            if original is not None:
                setattr(cls, name, _promoting(original, name))


def _promoting(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def operator(left: Any, right: Any, *rest: Any) -> Any:
        if _is_int_variable(right) and _is_floating(left):
            return original(left, _read_as(right, left.dtype), *rest)
        if _is_int_variable(left) and _is_floating(right):
            return getattr(_read_as(left, right.dtype), name)(right, *rest)
        return original(left, right, *rest)

    return operator


def _is_int_variable(thing: Any) -> bool:
    return isinstance(thing, tf.Variable) and thing.dtype.is_integer


def _is_floating(thing: Any) -> bool:
    return isinstance(thing, tf.Tensor | tf.Variable) and thing.dtype.is_floating


def _read_as(variable: tf.Variable, dtype: tf.DType) -> tf.Tensor:
    line = running_line()
    if (line.file, line.number) not in _told:
        _told.add((line.file, line.number))
        text = (
            f"{line}: the {variable.dtype.name} variable `{variable.name}` meets a {dtype.name} tensor in "
            f"`{line.text}`; TensorFlow refuses that, and it is read as {dtype.name}. To make it right everywhere: "
            'self.add_weight(name="counter", shape=(), dtype="int32", initializer="zeros", trainable=False) '
            "in the place of tf.Variable(0, trainable=False)"
        )
        warnings.warn_explicit(text, EstimatorWarning, line.file, line.number)
    return tf.cast(variable, dtype)
