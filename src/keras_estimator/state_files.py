"""The two files of a checkpoint: `state.safetensors` and `run.json`, written and verified.

Reading believes nothing that it has not verified, and can only ever give arrays and JSON values.
What safetensors has no type for is stored in another form, noted in `run.json` under "arrays":

    complex64, complex128       floats with one more axis (real, imaginary)
    int4, float8_e4m3fnuz ...   one byte for each number, as ml_dtypes has them in memory
    bytes, text                 one row of bytes: the length of each item (int64), then the items;
                                text is UTF-8
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save_file

from keras_estimator.errors import CheckpointError, CorruptCheckpointError
from keras_estimator.plain_files import read_plain_file

if sys.platform != "win32":
    import fcntl

Array = npt.NDArray[Any]

FORMAT = 1
STATE_FILE, RUN_FILE = "state.safetensors", "run.json"
_MAX_RUN_FILE_BYTES = 64 * 2**20
_END_OF_RUN_FILE, _LONGEST_END = re.compile(rb'"sha256": "[0-9a-f]{64}"\n}\n\Z'), 100

_STORED_AS_IS: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    **{f"{kind.upper()}{8 * size}": np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
_STORED_AS_FLOATS: dict[str, np.dtype[Any]] = {"complex64": np.dtype("f4"), "complex128": np.dtype("f8")}
_STORED_AS_BYTES: dict[str, np.dtype[Any]] = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in ("int2", "uint2", "int4", "uint4", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz")
    if hasattr(ml_dtypes, name)
}


def write_files(
    folder: Path,
    *,
    step: int,
    state: Mapping[str, Array],
    run: Mapping[str, Any],
    first_written_at: float,
) -> None:
    """Write both files into an empty folder and make the disk hold them.

    Equal states give equal bytes of `state.safetensors`.

    Raises:
        CheckpointError: the state holds something that no checkpoint can.
        OSError, SafetensorError: the disk does not take it.
    """
    arrays, notes = _encode(state)
    state_file, run_file = folder / STATE_FILE, folder / RUN_FILE
    save_file(arrays, state_file)
    with state_file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    record = {
        "format": FORMAT,
        "step": int(step),
        "written_at": time.time(),
        "first_written_at": first_written_at,
        "state": {"bytes": state_file.stat().st_size, "sha256": digest},
        "arrays": notes,
        "run": dict(run),
    }
    run_file.write_bytes(_written(record))
    shutil.copymode(run_file, state_file)  # safetensors makes a file for this user alone; an evaluator may be another
    for path in (state_file, run_file, folder):
        flush(path)


def amend_record(folder: Path, run: Mapping[str, Any]) -> None:
    """Write another `run` to a checkpoint; a kill leaves the old one or the new one.

    Raises:
        CorruptCheckpointError: its `run.json` is not what was written.
        CheckpointError: `run` is too long.
        OSError: the disk does not take it.
    """
    replace_file(folder / RUN_FILE, _written({**read_record(folder), "run": dict(run)}))


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the record and the state of a checkpoint, verified.

    Raises:
        CorruptCheckpointError: the bytes are not those that were written, or cannot be read.
    """
    record = read_record(folder)
    num_bytes = record["state"]["bytes"]
    data = _read_bytes(folder, STATE_FILE, max_bytes=num_bytes)
    if len(data) != num_bytes or hashlib.sha256(data).hexdigest() != record["state"]["sha256"]:
        raise _corrupt(folder, f"{STATE_FILE} does not have the size and SHA-256 that {RUN_FILE} names")
    try:
        tensors = deserialize(data)  # type: ignore[no-untyped-call]  # its authors gave it no types
        state = _decode(folder, dict(tensors), record["arrays"])
    except (SafetensorError, LookupError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise _corrupt(folder, f"{STATE_FILE} cannot be read: {type(error).__name__}: {error}") from error
    return record, state


def read_record(folder: Path) -> dict[str, Any]:
    """Return the contents of `run.json`, whose text must be the one that was written.

    Raises:
        CorruptCheckpointError: it is another, or cannot be read.
    """
    data = _read_bytes(folder, RUN_FILE, max_bytes=_MAX_RUN_FILE_BYTES)
    if not _END_OF_RUN_FILE.search(data[-_LONGEST_END:]):  # before something that may be long is parsed
        raise _corrupt(folder, f"{RUN_FILE} does not end with the SHA-256 of what stands before it")
    try:
        record = json.loads(data)
        del record["sha256"]
        untouched = _render(record) == data
    except (ValueError, LookupError, TypeError, RecursionError, MemoryError) as error:
        raise _corrupt(folder, f"{RUN_FILE} cannot be read: {type(error).__name__}: {error}") from error
    if not untouched:
        raise _corrupt(folder, f"{RUN_FILE} does not have the SHA-256 that it names")
    if record.get("format") != FORMAT:
        raise _corrupt(folder, f"its format is {record.get('format')!r}; this version of the package reads {FORMAT}")
    if not _has_all_fields(record):
        raise _corrupt(folder, f"{RUN_FILE} lacks a field, or has one of the wrong type")
    return dict(record)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in the place of the one that is there; a kill leaves the old one or the new one.

    Raises:
        OSError: the disk does not take it; the old one is there.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(data)
        flush(fresh)
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    flush(path.parent)


def flush(path: Path) -> None:
    """Make the disk hold the contents of this file, or the names in this folder."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path, *, waits: bool) -> Iterator[bool]:
    """Hold the lock of a folder, which the system lets go of when the process is killed.

    Args:
        folder: It has to be there.
        waits: Whether to wait for another process that holds it.

    Yields:
        Whether it is held: not so where folders cannot be locked, on Windows and some network file systems.
    """
    if sys.platform == "win32":
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        is_held = False
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = True
        yield is_held
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process that was forked meanwhile has the descriptor, too
        os.close(descriptor)


def _written(record: Mapping[str, Any]) -> bytes:
    """Return what to write to `run.json`.

    Raises:
        CheckpointError: it is so long that nobody would read it again.
    """
    data = _render(record)
    if len(data) > _MAX_RUN_FILE_BYTES:
        sizes = {name: len(json.dumps(value)) for name, value in record["run"].items()}
        raise CheckpointError(
            f"what is to be remembered beside the state is too long for {RUN_FILE}",
            found=f"{len(data):,} bytes; the longest parts: {sorted(sizes.items(), key=lambda each: -each[1])[:3]}",
            expected=f"at most {_MAX_RUN_FILE_BYTES:,} bytes",
            fix="return NumPy arrays from the `state()` of a hook: they are stored beside the variables",
        )
    return data


def _render(record: Mapping[str, Any]) -> bytes:
    """Return the one text of `run.json` for this record; its last field is the SHA-256 of the rest."""
    digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    return (json.dumps({**record, "sha256": digest}, indent=1) + "\n").encode()


def _read_bytes(folder: Path, name: str, *, max_bytes: int) -> bytes:
    try:
        return read_plain_file(folder / name, max_bytes)
    except OSError as error:
        raise _corrupt(folder, f"{name} cannot be read: {error.strerror}") from error


def _has_all_fields(record: Mapping[str, Any]) -> bool:
    kinds = {"step": int, "written_at": float, "first_written_at": float, "state": dict, "arrays": dict, "run": dict}
    if not all(type(record.get(name)) is kind for name, kind in kinds.items()):
        return False
    num_bytes, digest = record["state"].get("bytes"), record["state"].get("sha256")
    return record["step"] >= 0 and type(num_bytes) is int and num_bytes >= 0 and type(digest) is str


def _corrupt(folder: Path, found: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"the checkpoint {folder} cannot be trusted",
        found=found,
        expected="the bytes that were written",
        fix=f"put it back from a backup, or go on from an older one: rm -r {folder}",
    )


def _not_storable(path: object, found: str) -> CheckpointError:
    return CheckpointError(
        f"the state at {path!r} cannot be stored in a checkpoint",
        found=found,
        expected="numbers, booleans, only bytes or only str, at a path that is a str",
        fix="hold it outside of the model's variables",
    )


def _encode(state: Mapping[Any, Array]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays as safetensors can hold them, and a note for each that was changed."""
    arrays: dict[str, Array] = {}
    notes: dict[str, Any] = {}
    for path, value in state.items():
        if not isinstance(path, str) or path == "__metadata__":
            raise _not_storable(path, "a path that safetensors cannot name")
        array = np.asarray(value, order="C")
        name = array.dtype.name
        if array.dtype.hasobject:
            name, arrays[path] = _join(path, array)
        elif name in _STORED_AS_FLOATS:
            array = array.astype(name, copy=False)  # in the byte order of this machine
            arrays[path] = array.reshape(-1).view(_STORED_AS_FLOATS[name]).reshape(*array.shape, 2)
        elif name in _STORED_AS_BYTES:
            arrays[path] = array.reshape(-1).view(np.uint8).reshape(array.shape)
        elif array.dtype.newbyteorder("=") in _STORED_AS_IS.values():
            arrays[path] = array.astype(array.dtype.newbyteorder("="), copy=False)
            continue
        else:
            raise _not_storable(path, f"an array of {array.dtype}")
        notes[path] = {"type": name, "shape": list(array.shape)}
    return arrays, notes


def _decode(folder: Path, stored: Mapping[str, Any], notes: Mapping[str, Any]) -> dict[str, Array]:
    state: dict[str, Array] = {}
    for path, tensor in stored.items():
        state[path] = np.ndarray(tensor["shape"], _STORED_AS_IS[tensor["dtype"]], tensor["data"])
    for path, note in notes.items():
        kind, shape = note["type"], tuple(note["shape"])
        if not all(type(size) is int and size >= 0 for size in shape):
            raise _corrupt(folder, f"{shape} is no shape")
        restored = _split(state[path], kind, shape) if kind in ("bytes", "text") else _back(state[path], kind, shape)
        if restored is None:
            array = state[path]
            raise _corrupt(folder, f"{kind} of shape {shape} is not stored as {array.dtype} of shape {array.shape}")
        state[path] = restored
    return state


def _back(array: Array, kind: str, shape: tuple[int, ...]) -> Array | None:
    """Undo what `_encode` did to numbers; None if it did not do that."""
    if kind in _STORED_AS_FLOATS:
        stored_type, stored_shape, original = _STORED_AS_FLOATS[kind], (*shape, 2), np.dtype(kind)
    else:
        stored_type, stored_shape, original = np.dtype("u1"), shape, _STORED_AS_BYTES[kind]
    if array.dtype != stored_type or array.shape != stored_shape:
        return None
    restored: Array = array.reshape(-1).view(original).reshape(shape)
    return restored


def _join(path: str, array: Array) -> tuple[str, Array]:
    items = array.reshape(-1).tolist()
    kinds = {type(item) for item in items}
    if kinds == {str}:
        kind, items = "text", [item.encode("utf-8", "surrogatepass") for item in items]
    elif kinds <= {bytes, np.bytes_}:
        kind = "bytes"
    else:
        raise _not_storable(path, f"objects of type {', '.join(sorted(kind.__name__ for kind in kinds))}")
    lengths = np.array([len(item) for item in items], "<i8")
    return kind, np.frombuffer(bytearray(lengths.tobytes() + b"".join(items)), np.uint8)


def _split(array: Array, kind: str, shape: tuple[int, ...]) -> Array | None:
    """Undo `_join`; None if this is not what it gave."""
    data, num_items = array.tobytes(), math.prod(shape)
    start = 8 * num_items
    if array.dtype != np.uint8 or array.ndim != 1 or start > len(data):
        return None
    lengths = np.frombuffer(data, "<i8", num_items).tolist() if num_items else []
    if any(length < 0 for length in lengths) or start + sum(lengths) != len(data):
        return None
    items = np.empty(num_items, object)
    for number, length in enumerate(lengths):
        item = data[start : start + length]
        items[number] = item if kind == "bytes" else item.decode("utf-8", "surrogatepass")
        start += length
    return items.reshape(shape)
