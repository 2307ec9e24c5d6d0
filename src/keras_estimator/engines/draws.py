"""Let an input_fn of a run that goes on draw the random numbers that it drew when the run began.

Python, NumPy and the backend each draw by a state of the whole process. It is noted when a call of train begins,
is a part of the checkpoints, and is there again when that call, after a kill, begins anew: then a generator
that draws while it is read gives the same batches once more.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import random
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_estimator.errors import EstimatorWarning


@contextlib.contextmanager
def drawing(before: Mapping[str, Any] | None, *, seed: int) -> Iterator[dict[str, Any]]:
    """Call an input_fn inside.

    Args:
        before: What this yielded when the call began; None: it begins now.
        seed: For what the backend would draw without any seed: the same in all processes of a cluster.

    Yields:
        JSON values: the states that the input_fn begins with.
    """
    backend = _backend()
    if before is not None:
        try:
            seed = int(before["seed"])
            random.setstate(twister_of(before["python"]))
            if before["numpy"] is not None:
                _put_back_numpy(before["numpy"])
            if before["backend"] is not None and backend is not None:
                backend.put_back(before["backend"])
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            text = f"the random numbers of input functions cannot be put back where they were: {error!r:.200}"
            warnings.warn(text, EstimatorWarning, stacklevel=3)
    states = {"seed": seed, "python": noted_twister(random.getstate()), "numpy": _of_numpy()}
    if backend is None:
        yield {**states, "backend": None}
        return
    states["backend"] = backend.noted()
    with backend.seeded(seed):
        yield states


def _backend() -> Any:
    if keras.config.backend() != "tensorflow":
        return None
    return importlib.import_module("keras_estimator.engines.tensorflow.global_seed")


def noted_twister(state: tuple[Any, ...]) -> dict[str, Any]:
    """Return the state of a `random.Random` as JSON values."""
    version, words, gauss = state
    return {"version": version, "words": _packed(words), "gauss": gauss}


def twister_of(noted: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what `noted_twister` has noted.

    Raises:
        ValueError, TypeError, LookupError: it is something else.
    """
    return noted["version"], tuple(_unpacked(noted["words"]).tolist()), noted["gauss"]


def _of_numpy() -> dict[str, Any] | None:
    """Return the state of `numpy.random` as JSON values; None if somebody has put another generator there."""
    found: Any = np.random.get_state()  # noqa: NPY002 - it is the user who draws by it
    if found[0] != "MT19937":
        return None
    _, words, position, has_gauss, gauss = found
    return {"words": _packed(words), "position": position, "has_gauss": has_gauss, "gauss": gauss}


def _put_back_numpy(noted: Mapping[str, Any]) -> None:
    words = _unpacked(noted["words"])
    state = ("MT19937", words, noted["position"], noted["has_gauss"], noted["gauss"])
    np.random.set_state(state)  # noqa: NPY002 - the same


def _packed(words: Any) -> str:
    return base64.b64encode(np.asarray(words, "<u4").tobytes()).decode()


def _unpacked(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<u4")
