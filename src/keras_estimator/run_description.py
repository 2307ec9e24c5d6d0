"""Describe a run in one file of its model_dir, `description.json`: set-up, parameters, versions, model.

It is written for people and tools that do not have the program, so it holds plain values only. What is read is
data from anywhere: nothing in it is believed before its shape was checked, and a bad file is a remark, no error.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import numbers
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_estimator.errors import EstimatorWarning
from keras_estimator.plain_files import read_plain_file
from keras_estimator.state_files import replace_file

FILE = "description.json"
FORMAT = 1
_MAX_BYTES = 64 * 2**20
_DEEPEST = 8
_LONGEST_TEXT = 1000


class Description(NamedTuple):
    """What is known of a run.

    Attributes:
        contents: What `write_description` wrote; None: there is none, or it cannot be used.
        problem: Why not; empty if there is none.
    """

    contents: dict[str, Any] | None
    problem: str = ""


def write_description(
    model_dir: str | os.PathLike[str], model: Any, config: Any, params: Mapping[str, Any] | None = None
) -> None:
    """Write `description.json`; a kill leaves the old one or the new one.

    A disk that does not take it is a warning: the run can do without.

    Args:
        model_dir: The folder of the estimator; it is made if it is not there.
        model: The live model; nothing of the user's is called.
        config: The RunConfig, or another dataclass.
        params: Hyper-parameters; what is no plain value is named by its class.
    """
    from keras_estimator.model.description import backend, describe, versions  # noqa: PLC0415 - reading starts no Keras

    folder = Path(model_dir)
    contents = {
        "format": FORMAT,
        "written_at": time.time(),
        "versions": {"keras_estimator": sys.modules["keras_estimator"].__version__, **versions()},
        "backend": backend(),
        "config": _fields(config),
        "params": plain(dict(params or {})),
        "model": describe(model),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / FILE, json.dumps(contents, indent=1).encode() + b"\n")
    except OSError as error:
        warnings.warn(
            f"{folder / FILE} cannot be written ({type(error).__name__}: {error}): a report of this run will not "
            f"show its model and set-up. Make room, or the right to write in {folder}.",
            EstimatorWarning,
            stacklevel=2,
        )


def read_description(model_dir: str | os.PathLike[str]) -> Description:
    """Read `description.json`, which may be missing, damaged or made up."""
    path = Path(model_dir) / FILE
    try:
        contents = json.loads(read_plain_file(path, _MAX_BYTES))
    except FileNotFoundError:
        return Description(None)
    except OSError as error:
        return Description(None, f"it cannot be read: {error.strerror}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Description(None, f"it cannot be read: {type(error).__name__}: {error}")
    problem = _problem(contents)
    return Description(None, problem) if problem else Description(contents)


def _problem(contents: Any) -> str:
    """Return what is wrong with the shape of a description; empty if nothing is."""
    if not isinstance(contents, dict):
        return "it is no JSON object"
    if contents.get("format") != FORMAT:
        return f"its format is {str(contents.get('format'))[:40]!r}; this version of the package reads {FORMAT}"
    kinds = {"written_at": float, "versions": dict, "backend": str, "config": dict, "params": dict, "model": dict}
    wrong = [name for name, kind in kinds.items() if type(contents.get(name)) is not kind]
    if wrong:
        return f"{', '.join(wrong)}: missing, or of the wrong type"
    model = contents["model"]
    layers, edges = model.get("layers"), model.get("edges")
    if not isinstance(layers, list) or not isinstance(edges, list) or not _is_entry(model):
        return "its model is not described as a model is"
    for place, layer in enumerate(layers):
        if not (isinstance(layer, dict) and _is_entry(layer) and _is_inside(layer.get("inside"), place)):
            return f"its layer {place} is not described as a layer is"
    if not all(_is_edge(edge, len(layers)) for edge in edges):
        return "its model has an edge that leads nowhere"
    return ""


def _is_entry(entry: Mapping[str, Any]) -> bool:
    texts = all(type(entry.get(name)) is str for name in ("name", "class"))
    counts = all(_is_place(entry.get(name), 2**63) for name in ("trainable_parameters", "other_parameters"))
    return texts and counts and isinstance(entry.get("output_shapes"), list)


def _is_inside(inside: Any, place: int) -> bool:
    return inside is None or _is_place(inside, place)  # before it: nothing is inside of itself


def _is_edge(edge: Any, num_layers: int) -> bool:
    return isinstance(edge, list) and len(edge) == 2 and all(_is_place(end, num_layers) for end in edge)


def _is_place(value: Any, end: int) -> bool:
    return type(value) is int and 0 <= value < end


def _fields(config: Any) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(config) if not field.name.startswith("_")]
    return {name: plain(getattr(config, name)) for name in names}


def plain(value: Any, depth: int = 0) -> Any:
    """Return JSON for plain values; the class of anything else, whose own text may be anything."""
    if isinstance(value, enum.Enum):
        return plain(value.value, depth)
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return str.__str__(value)[:_LONGEST_TEXT]
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, numbers.Number | np.bool_) and isinstance(value, np.generic):
        return plain(value.item(), depth + 1) if depth < _DEEPEST else _class_of(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(plain(name, _DEEPEST)): plain(part, depth + 1) for name, part in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [plain(part, depth + 1) for part in value]
    return _class_of(value)


def _class_of(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"
