"""Reads the checkpoints of TensorFlow as data: what tf.estimator, Keras 2 and tf.train.Checkpoint have written.

Such a checkpoint has no folder of its own. It is a prefix, `model.ckpt-300`, of an index and of shards:

    model.ckpt-300.index    model.ckpt-300.data-00000-of-00002    model.ckpt-300.data-00001-of-00002

The file `checkpoint` beside them names the newest. Two kinds differ in the names of their variables:

    name-based (tf.compat.v1.train.Saver)       hidden/kernel    training/Adam/hidden/kernel/m    global_step
    object-based (tf.train.Checkpoint)          a path from attribute to attribute, with the name kept beside it

TensorFlow's reader in C++ checks the sums of what it reads; it is imported when a checkpoint is opened, not before. The
graph of a `.meta` file is never looked at.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_encoding

from keras_estimator.errors import CheckpointError, ConfigError, CorruptCheckpointError, NoCheckpointError
from keras_estimator.plain_files import read_plain_file
from keras_estimator.state_files import Array

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_FILE = re.compile(r"(?P<prefix>.+)\.(?:index|meta|data-\d{5}-of-\d{5})")
_SHARD = re.compile(r"\.data-(\d{5})-of-(\d{5})")
_NUMBER = re.compile(r"-(\d{1,18})$")
_NEWEST = re.compile(r"""^\s*model_checkpoint_path\s*:\s*(["'])(.*)\1\s*$""", re.MULTILINE)
_SLOT_KEY = re.compile(r"(?P<variable>.+)/\.OPTIMIZER_SLOT/(?P<optimizer>.+)/(?P<slot>[^/]+)")
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_MAX_STATE_FILE_BYTES = 2**20
# What counts the steps, best first: by the name that a variable was given, then by its place among the objects.
_STEP_NAMES = ("global_step", "estimator_global_step", "step", "iterations", "_iterations", "iter", "iteration")


@dataclasses.dataclass(frozen=True)
class TfVariable:
    """A variable in a checkpoint of TensorFlow; its value is not read yet.

    Attributes:
        name: The path of attributes without TensorFlow's own parts (`layer_with_weights-0/kernel`), a slot of an
            optimizer as `optimizer/m/layer_with_weights-0/kernel`; in a name-based checkpoint the variable's name.
        shape: Of its value.
        dtype: TensorFlow's name of the type, such as `float32`, `bfloat16` or `string`.
        key: Its name in the file.
        full_name: The name that the program gave it (`hidden/kernel`), which need not be the only one.
        slot_of: The `name` of the variable that an optimizer keeps it for; empty if this is no slot, and in a
            name-based checkpoint, which does not say so.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    key: str
    full_name: str
    slot_of: str = ""

    @property
    def is_array(self) -> bool:
        """Whether its value is one, and not something that only TensorFlow can hold."""
        return self.dtype not in ("variant", "resource")


def list_tf_checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the prefixes of the checkpoints of TensorFlow in a folder, by rising number, without TensorFlow.

    The number is the step in the files of tf.estimator, and counts the checkpoints in those of
    tf.train.CheckpointManager; those without one come first. None of them was looked into.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    prefixes = [name.removesuffix(".index") for name in names if name.endswith(".index")]
    return sorted((Path(folder, prefix) for prefix in prefixes if prefix), key=_place)


def number_of(prefix: Path) -> int | None:
    """Return the number at the end of a prefix, 300 for `model.ckpt-300`; None if there is none."""
    found = _NUMBER.search(prefix.name)
    return int(found[1]) if found else None


def find_tf_checkpoint(path: str | os.PathLike[str]) -> Path | None:
    """Return the prefix that is meant, without TensorFlow.

    Args:
        path: A prefix, one of its files, or a folder, which stands for the newest one in it: the one that its file
            `checkpoint` names, or else that of the highest number.

    Returns:
        The prefix of files that are there; None if it is no checkpoint of TensorFlow.
    """
    path = Path(path)
    if path.is_dir():
        there = list_tf_checkpoints(path)
        named = path / _newest_name(path)
        return named if named in there else there[-1] if there else None
    file = _FILE.fullmatch(path.name)
    for prefix in (path, *([path.with_name(file["prefix"])] if file else [])):
        if prefix.name and (_index(prefix).is_file() or _shards(prefix)):
            return prefix
    return None


def check_tf_files(prefix: Path) -> int:
    """Return how many bytes all shards of a checkpoint have, without TensorFlow.

    Raises:
        CorruptCheckpointError: its index or one of its shards is missing.
    """
    shards = _shards(prefix)
    if not _index(prefix).is_file():
        raise _corrupt(prefix, f"there are shards, but no {_index(prefix).name}")
    if not shards:
        raise _corrupt(prefix, f"there is {_index(prefix).name}, but none of its shards {prefix.name}.data-...")
    num_all = max(total for _, total, _ in shards)
    there = {number for number, total, _ in shards if total == num_all}
    lacking = [number for number in range(num_all) if number not in there]
    if lacking:
        names = ", ".join(f"{prefix.name}.data-{number:05}-of-{num_all:05}" for number in lacking[:3])
        raise _corrupt(prefix, f"{len(lacking)} of {num_all} shards missing: {names}" + ", ..." * (len(lacking) > 3))
    try:
        return sum(path.stat().st_size for _, _, path in shards)
    except OSError as error:
        raise _corrupt(prefix, f"{error.filename} cannot be read: {error.strerror}") from error


class TfCheckpoint:
    """One checkpoint of TensorFlow.

    Args:
        path: As in `find_tf_checkpoint`.

    Attributes:
        prefix: Where it is.
        number: The one at the end of the prefix; None if there is none.

    Raises:
        NoCheckpointError: there is none.
        CorruptCheckpointError: one of its files is missing, or its index is not what was written.
        ConfigError: TensorFlow is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        prefix = find_tf_checkpoint(path)
        if prefix is None:
            raise _missing(Path(path))
        self.prefix = prefix
        self.number = number_of(prefix)
        self._num_bytes = check_tf_files(prefix)
        self._reader = self._ask(lambda: _tensorflow().train.load_checkpoint(str(prefix)))

    @functools.cached_property
    def variables(self) -> dict[str, TfVariable]:
        """The variables by name, in the order of their names.

        Raises:
            CorruptCheckpointError: its index is not what was written.
        """
        shapes, types = self._ask(
            lambda: (self._reader.get_variable_to_shape_map(), self._reader.get_variable_to_dtype_map())
        )
        full_names = self._full_names() if self.is_object_based else {key: key for key in shapes}
        found: dict[str, TfVariable] = {}
        for key in sorted(shapes.keys() - {_OBJECT_GRAPH}):
            name, slot_of = _readable(key) if self.is_object_based else (key, "")
            name = key if name in found else name
            full_name = full_names.get(key, "")
            found[name] = TfVariable(name, tuple(shapes[key]), types[key].name, key, full_name, slot_of)
        return dict(sorted(found.items()))

    @property
    def is_object_based(self) -> bool:
        """Whether its variables are named by the objects that hold them."""
        return bool(self._ask(lambda: self._reader.has_tensor(_OBJECT_GRAPH)))

    def read(self, name: str) -> Array:
        """Read one variable; strings come as an object array of `bytes`.

        Args:
            name: One of `variables`.

        Raises:
            NoCheckpointError: it has no such variable.
            CorruptCheckpointError: its bytes are not those that were written.
            CheckpointError: it is no array, but something that only TensorFlow can hold, as the place in its data.
        """
        variable = self.variables.get(name)
        if variable is None:
            raise NoCheckpointError(
                f"the checkpoint {self.prefix} has no variable {name!r}",
                found=f"{len(self.variables):,} others" + _examples(list(self.variables)),
                expected="one of them",
                fix=f"keras-estimator checkpoints {self.prefix.parent} show {self.prefix.name}",
            )
        if not variable.is_array:
            raise CheckpointError(
                f"{name!r} in the checkpoint {self.prefix} is no array",
                found=f"a {variable.dtype} of TensorFlow",
                expected="numbers, booleans or strings",
                fix="read it with TensorFlow itself, into the object that wrote it",
            )
        self._check_size(variable)
        value = self._ask(lambda: self._reader.get_tensor(variable.key))
        return np.asarray(value, object) if variable.dtype == "string" else np.asarray(value)

    def global_step(self) -> int | None:
        """Return how many updates its program had counted; None if no variable looks like such a count.

        Raises:
            CorruptCheckpointError: the bytes of that variable are not those that were written.
        """
        counters = {
            part: variable.name
            for variable in reversed(self.variables.values())
            if variable.shape == () and variable.dtype in ("int64", "int32") and not variable.slot_of
            for part in (variable.name.rpartition("/")[2], variable.full_name)
        }
        return next((int(self.read(counters[part])) for part in _STEP_NAMES if part in counters), None)

    def save_counter(self) -> int | None:
        """Return which one this was of those that its tf.train.Checkpoint wrote; None if nobody counted.

        Raises:
            CorruptCheckpointError: the bytes of that variable are not those that were written.
        """
        return int(self.read("save_counter")) if "save_counter" in self.variables else None

    def _full_names(self) -> dict[str, str]:
        from google.protobuf.message import DecodeError  # noqa: PLC0415 - with TensorFlow
        from tensorflow.core.protobuf import trackable_object_graph_pb2  # noqa: PLC0415 - TensorFlow is an extra

        data = self._ask(lambda: self._reader.get_tensor(_OBJECT_GRAPH))
        try:
            graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(data)
        except (DecodeError, TypeError) as error:
            raise self._corrupt(f"its object graph cannot be read: {error}") from error
        return {value.checkpoint_key: value.full_name for node in graph.nodes for value in node.attributes}

    def _check_size(self, variable: TfVariable) -> None:
        """See that the files can hold the variable, before room is made for it: its shape is only a claim."""
        item = 1 if variable.dtype == "string" else _tensorflow().dtypes.as_dtype(variable.dtype).size
        num_bytes = math.prod(variable.shape) * (item or 1)
        if num_bytes > self._num_bytes:
            raise self._corrupt(
                f"{variable.name} would have {num_bytes:,} bytes or more, and all shards have {self._num_bytes:,}"
            )

    def _ask(self, question: Callable[[], Any]) -> Any:
        errors = _tensorflow().errors
        try:
            return question()
        except (errors.OpError, RuntimeError, LookupError, ValueError, MemoryError) as error:
            raise self._corrupt(f"{type(error).__name__}: {error}") from error

    def _corrupt(self, found: str) -> CorruptCheckpointError:
        return _corrupt(self.prefix, found)


def _tensorflow() -> Any:
    try:
        import tensorflow  # noqa: PLC0415 - it is an extra, and takes seconds
    except ImportError as error:
        raise ConfigError(
            "the checkpoints of TensorFlow are read by TensorFlow, which cannot be imported",
            found=f"{type(error).__name__}: {error}",
            expected="TensorFlow 2.19 or later",
            fix='pip install "keras-estimator[tensorflow]"',
        ) from error
    return tensorflow


def _readable(key: str) -> tuple[str, str]:
    """Return the name of a value that an object holds, and of the variable that it is a slot of."""
    path = _unescaped(key.removesuffix(_VALUE))
    slot = _SLOT_KEY.fullmatch(path)
    if slot is None:
        return path, ""
    return f"{slot['optimizer']}/{slot['slot']}/{slot['variable']}", slot["variable"]


def _unescaped(path: str) -> str:
    """Undo how TensorFlow writes a slash and a dot that are in the name of an attribute."""
    return re.sub(r"\.([S.])", lambda found: "/" if found[1] == "S" else ".", path)


def _place(prefix: Path) -> tuple[int, str]:
    number = number_of(prefix)
    return -1 if number is None else number, prefix.name


def _index(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _shards(prefix: Path) -> list[tuple[int, int, Path]]:
    """Return the number of each shard that is there, of how many, and its file."""
    try:
        names = sorted(os.listdir(prefix.parent))
    except OSError:
        return []
    found = [(_SHARD.fullmatch(name, len(prefix.name)), name) for name in names if name.startswith(prefix.name)]
    files = [(int(match[1]), int(match[2]), prefix.with_name(name)) for match, name in found if match]
    return [shard for shard in files if shard[2].is_file()]  # opening a pipe would take for ever


def _newest_name(folder: Path) -> str:
    """Return the name in the file `checkpoint`; the folder before it is that of the machine that wrote it."""
    try:
        data = read_plain_file(folder / "checkpoint", _MAX_STATE_FILE_BYTES, follows_links=True)
        found = _NEWEST.search(data.decode("utf-8", "replace"))
        return re.split(r"[/\\]", os.fsdecode(text_encoding.CUnescape(found[2])))[-1] if found else ""
    except (OSError, ValueError):
        return ""


def _corrupt(prefix: Path, found: str) -> CorruptCheckpointError:
    others = [path for path in list_tf_checkpoints(prefix.parent) if path != prefix]
    return CorruptCheckpointError(
        f"the checkpoint {prefix} cannot be trusted",
        found=found,
        expected="the bytes that TensorFlow wrote",
        fix="put its files back from a backup" + (f", or take another one: {others[-1]}" if others else ""),
    )


def _missing(path: Path) -> NoCheckpointError:
    folder = path if path.is_dir() else path.parent
    there = [prefix.name for prefix in list_tf_checkpoints(folder)]
    return NoCheckpointError(
        f"there is no checkpoint of TensorFlow at {path}",
        found=f"in {folder}: " + (", ".join(there[-5:]) if there else "none"),
        expected="a prefix such as model.ckpt-300, whose files are model.ckpt-300.index and model.ckpt-300.data-...",
        fix=f"pass one of those: {folder / there[-1]}" if there else "look for one: find . -name '*.index'",
    )


def _examples(names: list[str]) -> str:
    return ": " + ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else ""
