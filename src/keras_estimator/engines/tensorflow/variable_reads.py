"""Let an integer tf.Variable meet a floating tensor, as Keras's own variables do.

    x * self.counter        TensorFlow: an error, as the dtypes differ        here: float32, and one warning

A `tf.Variable(0)` is int32, and TensorFlow's operators never promote. Once this is installed, the operators
of tensors and variables read an integer variable in the dtype of the floating tensor it meets, or in Keras's
`floatx` if it meets a Python float. Only that changes, and only that has always been an error.

The operators are attributes of two classes of TensorFlow; tests/test_variable_reads.py fails if they move.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_estimator.errors import EstimatorWarning
from keras_estimator.model.user_lines import running_frame, running_line

_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
OPERATORS = (
    *(f"__{name}__" for name in _ARITHMETIC),
    *(f"__r{name}__" for name in _ARITHMETIC),
    *("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"),
)
_told: set[tuple[str, int]] = set()


@functools.cache
def install() -> None:
    """Let integer variables promote from now on, in this process."""
    for cls in (tf.Tensor, tf.Variable):
        for name in OPERATORS:
            setattr(cls, name, _promoting(getattr(cls, name), name))


def _promoting(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def operator(self: Any, other: Any) -> Any:
        if _is_integer_variable(other) and (dtype := _floating(self)):
            return original(self, _read(other, dtype))
        if _is_integer_variable(self) and (dtype := _floating(other)):
            return getattr(_read(self, dtype), name)(other)
        return original(self, other)

    return operator


def _is_integer_variable(thing: Any) -> bool:
    return isinstance(thing, tf.Variable) and thing.dtype.is_integer


def _floating(thing: Any) -> tf.DType | None:
    """Return the dtype of a floating tensor, variable or Python float; None for everything else."""
    if isinstance(thing, tf.Tensor | tf.Variable):
        return thing.dtype if thing.dtype.is_floating else None
    # No subclasses: TensorFlow takes a np.float64 as it takes an array, and always has.
    return tf.as_dtype(keras.config.floatx()) if type(thing) is float else None


def _read(variable: tf.Variable, dtype: tf.DType) -> tf.Tensor:
    line = running_line()
    if (line.file, line.number) not in _told:
        _told.add((line.file, line.number))
        name = _attribute(variable)
        text = (
            f"{line}: the {variable.dtype.name} variable `{name}` meets {dtype.name} in `{line.text}`; TensorFlow "
            f"refuses that, so it is read as {dtype.name}; to mend it, and to have it saved with the weights: "
            f'self.{name} = self.add_weight(name="{name}", shape={tuple(variable.shape)}, '
            f'dtype="{variable.dtype.name}", initializer="zeros", trainable=False)'
        )
        line.warn(EstimatorWarning(text, rule="KE303"))
    return tf.cast(variable, dtype)


def _attribute(variable: tf.Variable) -> str:
    """Return the name of the attribute that holds `variable` in the object whose method is running."""
    frame = running_frame()
    owner = frame.f_locals.get("self") if frame is not None else None
    held = (name for name, value in getattr(owner, "__dict__", {}).items() if value is variable)
    return str(next(held, variable.name.partition(":")[0]))
