"""Give the outputs of a model their names, and take a batch of them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_estimator.errors import ConfigError, InputError


def names_of(outputs: Any, names: Sequence[str] | None) -> list[str]:
    """Return the names of `outputs`: the keys of a dict, the model's own names, or output_1, output_2, ..."""
    if isinstance(outputs, Mapping):
        return [str(key) for key in outputs]
    count = len(outputs) if isinstance(outputs, list | tuple) else 1
    if names is not None and len(names) == count:
        return list(names)
    return [f"output_{place}" for place in range(1, count + 1)]


def by_name(outputs: Any, names: Sequence[str] | None, wanted: Sequence[str] | None = None) -> dict[str, Any]:
    """Return outputs as a dict by name.

    Args:
        outputs: One array, or a list, tuple or dict of arrays.
        names: The model's names for them; None if it has none.
        wanted: Which of them to return. None: all.

    Raises:
        ConfigError: one of `wanted` is no output.
    """
    values = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    values = values if isinstance(values, list | tuple) else [values]
    named = dict(zip(names_of(outputs, names), values, strict=True))
    missing = [name for name in wanted or () if name not in named]
    if missing:
        raise ConfigError(
            "the model has no such output",
            found=", ".join(missing),
            expected=", ".join(named),
            fix=f"pass predict_keys={list(named)}",
        )
    return named if wanted is None else {name: named[name] for name in wanted}


def rows(named: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each example of a batch by itself.

    Raises:
        InputError: the outputs have no batch axis, or batch axes of different lengths.
    """
    shapes = {path: tuple(value.shape) for name, nest in named.items() for path, value in _leaves(nest, name)}
    sizes = {shape[0] if shape else None for shape in shapes.values()}
    if len(sizes) != 1 or None in sizes:
        raise InputError(
            "the outputs cannot be taken apart into examples",
            found=", ".join(f"{path}: {shape}" for path, shape in shapes.items()),
            expected="the same first dimension, the batch, in every output",
            fix="pass yield_single_examples=False to get whole batches",
        )
    for place in range(next(iter(sizes)) or 0):
        yield {name: _row(nest, place) for name, nest in named.items()}


def _leaves(nest: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(nest, Mapping | list | tuple):
        for name, value in nest.items() if isinstance(nest, Mapping) else enumerate(nest):
            yield from _leaves(value, f"{path}/{name}")
    else:
        yield path, nest


def _row(nest: Any, place: int) -> Any:
    if isinstance(nest, Mapping):
        return {name: _row(value, place) for name, value in nest.items()}
    return type(nest)(_row(value, place) for value in nest) if isinstance(nest, list | tuple) else nest[place]
