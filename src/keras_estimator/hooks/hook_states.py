"""What hooks remember, as part of checkpoints: JSON values in the record of the run, arrays beside the variables.

What a hook remembers is also kept while a call goes without it, so that nothing is forgotten by a call of
`train` in between that has other hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_estimator.errors import CheckpointError, ConfigError, EstimatorError
from keras_estimator.hooks.hook import Hook

_PREFIX = "@hooks/"  # the path of a variable begins with the name of an attribute or a layer
_ARRAY = "@array"
_PLAIN = (str, int, float, bool, type(None))
# What Python raises where a value is of another kind than was thought.
_NOT_AS_THOUGHT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


class HookStates:
    """What every hook of one model_dir remembers."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}
        self._kept: dict[str, list[int]] = {}

    @property
    def kept_steps(self) -> set[int]:
        """The steps whose checkpoints have to stay."""
        return {step for steps in self._kept.values() for step in steps}

    def give(self, hooks: Sequence[Hook]) -> None:
        """Give hooks back what those of their names remembered.

        Raises:
            CheckpointError: one of them cannot take it back.
        """
        for key, hook in _by_key(hooks):
            if key in self._states:
                give_back(hook, key, self._states[key])

    def take(self, hooks: Sequence[Hook]) -> None:
        """Note what hooks remember now."""
        for key, hook in _by_key(hooks):
            state, kept = hook.state(), sorted(hook.kept_steps())
            for noted, value in ((self._states, state), (self._kept, kept)):
                noted.pop(key, None)
                if value:
                    noted[key] = value  # type: ignore[assignment]  # each gets its own

    def to_checkpoint(self) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
        """Return JSON values, and arrays to be saved beside the state of the model.

        Raises:
            ConfigError: a hook remembers something else.
        """
        arrays: dict[str, np.ndarray[Any, Any]] = {}

        def put(value: Any, path: str) -> dict[str, str]:
            arrays[_PREFIX + path] = value
            return {_ARRAY: _PREFIX + path}

        states = {key: _encoded(state, key, put) for key, state in self._states.items()}
        return {"states": states, "kept_steps": dict(self._kept)}, arrays

    def from_checkpoint(self, record: Mapping[str, Any], state: dict[str, Any]) -> None:
        """Take what `to_checkpoint` gave, and leave nothing but variables in `state`.

        Raises:
            CheckpointError: this is something else.
        """
        arrays = take_arrays(state)
        try:
            states = {key: _decoded(value, arrays) for key, value in record.get("states", {}).items()}
            kept = {key: [int(step) for step in steps] for key, steps in record.get("kept_steps", {}).items()}
        except _NOT_AS_THOUGHT as error:
            raise not_taken_back("the hooks", f"{type(error).__name__}: {error}") from error
        self._states, self._kept = states, kept


def give_back(hook: Hook, key: str, state: Any) -> None:
    """Give a hook what it remembered, which a checkpoint, or a file, of anybody may say.

    Raises:
        CheckpointError: it cannot take that back.
    """
    try:
        hook.restore(state)
    except EstimatorError:
        raise
    except _NOT_AS_THOUGHT as error:
        raise not_taken_back(f"the hook {key}", f"{type(error).__name__}: {error}") from error


def not_taken_back(who: str, found: str) -> CheckpointError:
    """Return the error that a hook cannot take back what a checkpoint says that it remembered."""
    return CheckpointError(
        f"{who} cannot take back what the checkpoint says was remembered",
        found=found,
        expected="what `state()` returned when it was written",
        fix="give the hook another `key`, and it begins anew; or begin anew with another model_dir",
    )


def take_arrays(state: dict[str, Any]) -> dict[str, Any]:
    """Take the arrays of hooks out of the state of a checkpoint, and return them."""
    return {path: state.pop(path) for path in list(state) if path.startswith(_PREFIX)}


def _by_key(hooks: Sequence[Hook]) -> Iterator[tuple[str, Hook]]:
    counts: dict[str, int] = {}
    for hook in hooks:
        key = hook.key or type(hook).__qualname__
        counts[key] = counts.get(key, 0) + 1
        yield key if counts[key] == 1 else f"{key}~{counts[key]}", hook


def _encoded(value: Any, path: str, put: Callable[[Any, str], Any]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return put(value, path)
    if isinstance(value, list | tuple):
        return [_encoded(item, f"{path}/{place}", put) for place, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _encoded(item, f"{path}/{key}", put) for key, item in value.items()}
    if isinstance(value, _PLAIN):
        return value
    raise ConfigError(
        "a hook remembers something that no checkpoint can hold",
        found=f"{type(value).__module__}.{type(value).__qualname__} at {path}",
        expected="JSON values and NumPy arrays from `state()`",
        fix="return numbers, texts, lists, dicts with text keys, or arrays made of it",
    )


def _decoded(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, arrays) for item in value]
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _decoded(item, arrays) for key, item in value.items()}
    return value
