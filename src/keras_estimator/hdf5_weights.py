"""Read the weights in an HDF5 file of Keras as data: no class is looked up, and no other file is opened.

There are two kinds. In `.weights.h5`, and in the `model.weights.h5` of a `.keras` file, weights are numbered within
their layers: `layers/dense_1/vars/0`. The older `.h5` has their names: `model_weights/dense_1/dense_1/kernel:0`.

HDF5 can lead to other files (links, external and virtual data), name code to unpack with (filters), and claim sizes
that are not there. All of these are refused before anything is read; the size of a value is looked at first.
"""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from keras_estimator.errors import CorruptCheckpointError
from keras_estimator.weight_matching import LAYERS, PLACE, SAVED, Array, Stored, with_names_of_layers

_IN_ZIP = "model.weights.h5"
_OLDER = "model_weights"
# Deflate, shuffle, checksum, szip, n-bit, scale and offset, LZF: what is in HDF5 and h5py themselves.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
_HEAP = b"GCOL"
_READ_AT_ONCE = 2**20
_ALWAYS_ALLOWED_BYTES = 256 * 2**20
_MOST_EXPANSION = 1000  # Deflate makes no more of a byte than 1032.
_MOST_EXPANSION_IN_ZIP = 100  # Keras stores the file in it as it is.
_NO_WEIGHTS = ("optimizer/", "optimizer_weights/")
_DAMAGED = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError, EOFError, AttributeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@contextlib.contextmanager
def open_hdf5_weights(path: Path) -> Iterator[list[Stored]]:
    """Open a `.keras`, `.weights.h5` or `.h5` file and list the weights in it; they can be read until it is closed.

    Args:
        path: A file that is there. Which kind it is, its contents say.

    Raises:
        CorruptCheckpointError: it is damaged, leads elsewhere, or claims sizes that cannot be; also while a weight
            is read.
    """
    import h5py  # noqa: PLC0415 - Keras brings it; only who has such a file waits for it

    with contextlib.ExitStack() as opened:
        with _as_damage(path):
            is_zip = zipfile.is_zipfile(path)
            source = _inside(path, opened) if is_zip else opened.enter_context(path.open("rb"))
            has_names = _can_read_texts(source)
            file = opened.enter_context(h5py.File(source if is_zip else path, "r"))
            stored = _stored(path, file, has_names=has_names)
        yield stored


def _inside(path: Path, opened: contextlib.ExitStack) -> IO[bytes]:
    archive = opened.enter_context(zipfile.ZipFile(path))
    if _IN_ZIP not in archive.namelist():
        raise _refused(path, f"a zip file without {_IN_ZIP}: {', '.join(archive.namelist()[:5])}")
    member = archive.getinfo(_IN_ZIP)
    _check_expansion(path, _IN_ZIP, member.file_size, member.compress_size, _MOST_EXPANSION_IN_ZIP)
    return opened.enter_context(archive.open(member))


def _can_read_texts(source: IO[bytes]) -> bool:
    """Tell whether HDF5 gets to the end of the heaps that hold texts: it stays for ever at a free piece of size 0."""
    position, ends_with = 0, b""
    while data := source.read(_READ_AT_ONCE):
        text = ends_with + data
        for found in re.finditer(_HEAP, text):
            if not _has_end(source, position - len(ends_with) + found.start()):
                source.seek(0)
                return False
        position += len(data)
        ends_with = text[1 - len(_HEAP) :]
        source.seek(position)
    source.seek(0)
    return True


def _has_end(source: IO[bytes], start: int) -> bool:
    source.seek(start + 8)
    size = int.from_bytes(source.read(8), "little")
    if size > _READ_AT_ONCE:
        return False  # Keras's have 4 KiB
    heap, at = source.read(max(size - 16, 0)), 0
    while len(heap) - at >= 16:
        piece = int.from_bytes(heap[at + 8 : at + 16], "little")
        is_free = heap[at : at + 2] == bytes(2)
        if is_free and piece == 0:
            return False
        at += piece if is_free else 16 + (piece + 7) // 8 * 8
    return True


def _stored(path: Path, file: Any, *, has_names: bool) -> list[Stored]:
    """List what may be a weight, with its names."""
    has_names = has_names and file.id.get_create_plist().get_sizes() == (8, 8)
    values, names_of_layers = _walk(path, file, has_names=has_names)
    is_older = _OLDER in file or any(name.startswith("layer_names") for name in file.attrs)
    if is_older:
        named = {at: _names_in_older(at.removeprefix(f"{_OLDER}/")) for at in values}
    else:
        places = {at: at.replace("_layer_checkpoint_dependencies", "layers") for at in values}
        saved = with_names_of_layers(places.values(), names_of_layers) if names_of_layers else {}
        named = {at: {PLACE: place, SAVED: saved[place]} if saved else {PLACE: place} for at, place in places.items()}
    return [
        Stored(at, tuple(value.shape), _type_of(value), _reader(path, at, value), named[at])
        for at, value in values.items()
        if value.shape is not None and not at.startswith(_NO_WEIGHTS)
    ]


def _names_in_older(at: str) -> dict[str, str]:
    """Return the name of a weight that lies in the group of its layer."""
    _, _, name = at.partition("/")
    return {LAYERS: name.removesuffix(":0")} if name else {}


def _walk(path: Path, file: Any, *, has_names: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values by their places, and the names that Keras notes for layers; every group is entered once."""
    import h5py  # noqa: PLC0415 - see above

    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    seen = set()
    waiting = [("", file)]
    while waiting:
        above, group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _refused(path, f"{above}{name} is a {type(link).__name__} to {link.path}"[:300])
            item = group[name]
            if isinstance(item, h5py.Dataset):
                values[f"{above}{name}"] = item
            elif isinstance(item, h5py.Group) and (at := h5py.h5o.get_info(item.id).addr) not in seen:
                seen.add(at)
                waiting.append((f"{above}{name}/", item))
                layer = item.attrs.get("name") if has_names and name == "vars" else None
                if isinstance(layer, str) and above:
                    names[above.removesuffix("/")] = layer
    return dict(sorted(values.items())), names


def _type_of(value: Any) -> str:
    """Return the name of the type; HDF5 has none for bfloat16, and h5py writes two bytes without a meaning."""
    return "bfloat16" if value.dtype == np.dtype("V2") else str(value.dtype.name)


def _reader(path: Path, at: str, value: Any) -> Callable[[], Array]:
    def read() -> Array:
        with _as_damage(path):
            _check(path, at, value)
            array: Array = value[()]
            return array.view(ml_dtypes.bfloat16) if _type_of(value) == "bfloat16" else array

    return read


def _check(path: Path, at: str, value: Any) -> None:
    """See that a value lies in this file, whole, and is unpacked by HDF5 itself."""
    if value.external or value.is_virtual:
        raise _refused(path, f"{at} lies in another file: {value.external or 'virtual data'}"[:300])
    settings = value.id.get_create_plist()
    filters = {settings.get_filter(number)[0] for number in range(settings.get_nfilters())}
    if not filters <= _FILTERS:
        raise _refused(path, f"{at} is packed with filters that are not HDF5's own: {sorted(filters - _FILTERS)}")
    num_bytes = math.prod(value.shape) * value.dtype.itemsize
    _check_expansion(path, at, num_bytes, value.id.get_storage_size(), _MOST_EXPANSION)
    chunk = math.prod(value.chunks or ()) * value.dtype.itemsize
    if chunk > max(num_bytes, _ALWAYS_ALLOWED_BYTES):
        raise _refused(path, f"{at} has {num_bytes:,} bytes in pieces of {chunk:,}")


def _check_expansion(path: Path, at: str, num_bytes: int, num_stored: int, most: int) -> None:
    if num_bytes > max(_ALWAYS_ALLOWED_BYTES, most * num_stored):
        raise _refused(path, f"{at} claims {num_bytes:,} bytes, of which {num_stored:,} are stored")


@contextlib.contextmanager
def _as_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except CorruptCheckpointError:
        raise
    except _DAMAGED as error:
        text = re.sub(r"\s+", " ", str(error))[:300]
        raise _refused(path, f"{type(error).__name__}: {text}") from error


def _refused(path: Path, found: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"the weights in {path} cannot be used",
        found=found,
        expected="a .keras, .weights.h5 or .h5 file as Keras writes it, with everything in it",
        fix="load it where you trust it, and save it again: model.save_weights('trusted.weights.h5')",
    )
