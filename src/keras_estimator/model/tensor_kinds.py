"""Tell which classes of the backend stand for a tensor, and when their values are there."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class TensorKinds:
    """The classes that stand for a tensor, by when they have values.

    Attributes:
        symbolic: Never: tensors of a graph that is being traced, and those of a Functional model.
        eager: Always.
        variables: While nothing is traced.
        is_eager: Whether this thread computes at once, and does not trace.
        eagerly: A context in which it computes at once even while it traces.
    """

    symbolic: tuple[type, ...]
    eager: tuple[type, ...]
    variables: tuple[type, ...]
    is_eager: Callable[[], bool]
    eagerly: Callable[[], contextlib.AbstractContextManager[Any]]

    @property
    def all(self) -> tuple[type, ...]:
        """Every class that stands for a tensor."""
        return (*self.symbolic, *self.eager, *self.variables)


@functools.cache
def tensor_kinds() -> TensorKinds:
    """Return the kinds of tensors of the backend that Keras runs on."""
    if keras.backend.backend() != "tensorflow":
        return TensorKinds((keras.KerasTensor,), (), (keras.Variable,), lambda: True, contextlib.nullcontext)
    # Keras has imported it; the core does not. The class of a tensor in a graph is private, so one is made; none with
    # a value, with which TensorFlow would start, and no script could set its devices any more.
    tensorflow: Any = sys.modules["tensorflow"]
    with tensorflow.Graph().as_default():
        symbolic = type(tensorflow.constant(0))
    return TensorKinds(
        symbolic=(symbolic, keras.KerasTensor),
        eager=(tensorflow.__internal__.EagerTensor,),
        variables=(tensorflow.Variable, keras.Variable),
        is_eager=tensorflow.executing_eagerly,
        eagerly=tensorflow.init_scope,
    )


def is_tensor(thing: Any) -> bool:
    """Tell whether `thing` is a tensor or a variable of the backend, with or without values."""
    return isinstance(thing, tensor_kinds().all)


def is_symbolic(thing: Any) -> bool:
    """Tell whether `thing` is a tensor that has no values now."""
    kinds = tensor_kinds()
    return isinstance(thing, kinds.symbolic) or (isinstance(thing, kinds.variables) and not kinds.is_eager())


def rank(tensor: Any) -> int | None:
    """Return how many axes a tensor has; None if that is not known while it is traced."""
    try:
        return len(tensor.shape)
    except ValueError:
        return None
