"""Let an input_fn of a run that goes on draw the random numbers that it drew when the run began.

Python, NumPy, torch and the backend each draw by a state of the whole process. It is noted when a call of train begins,
is a part of the checkpoints, and is there again when that call, after a kill, begins anew: then a generator
that draws while it is read gives the same batches once more. torch counts if the program has imported it.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_estimator.errors import EstimatorWarning

# What is raised where a state of random numbers is none.
NO_STATE = (ValueError, TypeError, LookupError, OverflowError, RuntimeError)


@contextlib.contextmanager
def drawing(before: Mapping[str, Any] | None, *, seed: int) -> Iterator[dict[str, Any]]:
    """Call an input_fn inside.

    Args:
        before: What this yielded when the call began; None: it begins now.
        seed: For what the backend would draw without any seed: the same in all processes of a cluster.

    Yields:
        JSON values: the states that the input_fn begins with.
    """
    if before is not None:
        try:
            seed = int(before["seed"])
            put_back(before)
        except NO_STATE as error:
            text = f"the random numbers of input functions cannot be put back where they were: {error!r:.200}"
            warnings.warn(text, EstimatorWarning, stacklevel=3)
    states, backend = {"seed": seed, **noted()()}, _backend()
    with backend.seeded(seed) if backend is not None else contextlib.nullcontext():
        yield states


def noted() -> Callable[[], dict[str, Any]]:
    """Note the states as they are now.

    Returns:
        Gives them as JSON values: to write them takes ten times as long as to note them.
    """
    backend, torch = _backend(), sys.modules.get("torch")
    of_python = random.getstate()
    of_numpy: Any = np.random.get_state()  # noqa: NPY002 - it is the user who draws by it
    of_torch = None if torch is None else torch.get_rng_state().numpy()
    of_backend = None if backend is None else backend.noted()

    def written() -> dict[str, Any]:
        return {
            "python": noted_twister(of_python),
            "numpy": _written_numpy(of_numpy),
            "torch": None if of_torch is None else base64.b64encode(of_torch.tobytes()).decode(),
            "backend": of_backend,
        }

    return written


def put_back(states: Mapping[str, Any]) -> None:
    """Let random numbers be drawn that come after what `noted` has noted.

    Raises:
        ValueError, TypeError, LookupError, OverflowError, RuntimeError: it has noted something else.
    """
    backend, torch = _backend(), sys.modules.get("torch")
    random.setstate(twister_of(states["python"]))
    if states["numpy"] is not None:
        _put_back_numpy(states["numpy"])
    if states.get("torch") is not None and torch is not None:
        content = np.frombuffer(base64.b64decode(states["torch"], validate=True), np.uint8)
        torch.set_rng_state(torch.from_numpy(content.copy()))
    if states["backend"] is not None and backend is not None:
        backend.put_back(states["backend"])


def check(states: Mapping[str, Any]) -> None:
    """Make sure that `noted` has noted this, and leave all states as they are.

    Raises:
        ValueError, TypeError, LookupError, OverflowError, RuntimeError: it has noted something else.
    """
    now = noted()
    try:
        put_back(states)  # there is no other way to find out
    finally:
        put_back(now())


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


def _written_numpy(state: Any) -> dict[str, Any] | None:
    """Return the state of `numpy.random` as JSON values; None if somebody has put another generator there."""
    if state[0] != "MT19937":
        return None
    _, words, position, has_gauss, gauss = state
    return {"words": _packed(words), "position": position, "has_gauss": has_gauss, "gauss": gauss}


def _put_back_numpy(noted: Mapping[str, Any]) -> None:
    words = _unpacked(noted["words"])
    state = ("MT19937", words, noted["position"], noted["has_gauss"], noted["gauss"])
    np.random.set_state(state)  # noqa: NPY002 - it is the user who draws by it


def _packed(words: Any) -> str:
    return base64.b64encode(np.asarray(words, "<u4").tobytes()).decode()


def _unpacked(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<u4")
