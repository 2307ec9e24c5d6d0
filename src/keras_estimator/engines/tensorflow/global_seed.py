"""The global seed of TensorFlow, from which an operation gets its seed if it has none of its own.

The private parts of TensorFlow used here are `context()._seed` and `context()._rng`, which counts the operations
that got one; tests/test_global_seed.py fails when they change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.context import context

from keras_estimator.engines.draws import noted_twister, twister_of


def noted() -> dict[str, Any] | None:
    """Return, as JSON values, how many operations got a seed from the global one; None if there is none."""
    found: Any = context()
    if found._seed is None:  # noqa: SLF001 - see the first lines of this file
        return None
    return {"of": int(found._seed), "counter": noted_twister(found._rng.getstate())}  # noqa: SLF001 - the same


def put_back(before: Mapping[str, Any]) -> None:
    """Give the next operation the seed that it got when that was noted, if the global seed is still the same.

    Raises:
        ValueError, TypeError, LookupError: it is something else.
    """
    found: Any = context()
    if found._seed == before["of"]:  # noqa: SLF001 - see the first lines of this file
        found._rng.setstate(twister_of(before["counter"]))  # noqa: SLF001 - the same


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have a global seed inside: the one there is, or this one, which is taken away afterwards."""
    if context()._seed is not None:  # noqa: SLF001 - see the first lines of this file
        yield
        return
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        tf.random.set_seed(None)
