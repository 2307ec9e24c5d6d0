"""The head of a blueprint's bytes: what they are and what made them, checked before anything is unpickled.

A line that says what this is, the length of a JSON text, that text (the format, the versions of Python,
Keras and TensorFlow), then the length and a checksum of all that follows.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import warnings
import zlib
from typing import Any

import keras

from keras_estimator.errors import BlueprintError, EstimatorWarning
from keras_estimator.model.carrying import tensorflow_parts

FORMAT = 1
_MAGIC = b"keras-estimator blueprint\n"
_LENGTH = struct.Struct(">I")
_BODY = struct.Struct(">QI")
# Far more than such a text has: a length beyond it is no length.
_LONGEST_TEXT = 1 << 16
_MAKE_ANEW = "make the bytes anew: Blueprint.of(model).to_bytes()"


def made_with() -> dict[str, Any]:
    """Return the format of the bytes that this process writes, and the versions that matter to who reads them."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "format": FORMAT,
        "python": python,
        "keras": keras.__version__,
        "tensorflow": tensorflow_parts.version(),
    }


def begin(file: io.BytesIO) -> None:
    """Write the head, with room for what is known of the body at its end."""
    text = json.dumps(made_with()).encode()
    file.write(_MAGIC + _LENGTH.pack(len(text)) + text + bytes(_BODY.size))


def finish(file: io.BytesIO) -> bytes:
    """Write the length and the checksum of the body into the head.

    Args:
        file: Begun with `begin`, with the whole body in it.

    Returns:
        All bytes of the file.
    """
    start = len(_MAGIC) + _LENGTH.size + len(json.dumps(made_with()).encode()) + _BODY.size
    with file.getbuffer() as everything:
        body = everything[start:]
        _BODY.pack_into(everything, start - _BODY.size, len(body), zlib.crc32(body))
        body.release()
    return file.getvalue()


def body_of(data: bytes) -> io.BytesIO:
    """Check the bytes of a blueprint, and warn if another version of Keras or TensorFlow has made them.

    Args:
        data: What `finish` returned.

    Returns:
        A file at the start of the body.

    Raises:
        BlueprintError: They are something else, are damaged, or are of another format or version of Python.
    """
    made, start = check(data)
    _warn_of_versions(made)
    file = io.BytesIO(data)
    file.seek(start)
    return file


def check(data: bytes) -> tuple[dict[str, Any], int]:
    """Check the bytes of a blueprint; nothing of them is run.

    Args:
        data: What `finish` returned.

    Returns:
        What the head says, and where the body starts.

    Raises:
        BlueprintError: They are something else, are damaged, or are of another format or version of Python.
    """
    if not data.startswith(_MAGIC):
        raise BlueprintError(
            "these bytes are no blueprint",
            found=f"{len(data)} bytes that begin with {data[:24]!r}",
            expected="what Blueprint.to_bytes() returned, whole and unchanged",
            fix=_MAKE_ANEW,
        )
    made, start = _read_text(data)
    _compare(made)
    if start + _BODY.size > len(data):
        raise _damaged(f"they end after {len(data)} bytes")
    length, checksum = _BODY.unpack_from(data, start)
    start += _BODY.size
    if length != len(data) - start:
        raise _damaged(f"{len(data) - start} of {length} bytes after the head")
    with memoryview(data) as everything:
        if zlib.crc32(everything[start:]) != checksum:
            raise _damaged("other bytes than were written: their checksums differ")
    return made, start


def _read_text(data: bytes) -> tuple[dict[str, Any], int]:
    """Return what the head says, and where it ends."""
    start = len(_MAGIC) + _LENGTH.size
    length = _LENGTH.unpack_from(data, len(_MAGIC))[0] if start <= len(data) else _LONGEST_TEXT
    text = data[start : start + length] if length < _LONGEST_TEXT else b""
    try:
        made = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged("a head that cannot be read") from error
    if not isinstance(made, dict):
        raise _damaged("a head that cannot be read")
    return made, start + length


def _compare(made: dict[str, Any]) -> None:
    """Refuse what cannot be read here."""
    here = made_with()
    if made.get("format") != here["format"]:
        raise BlueprintError(
            "a blueprint has a format that this version of keras_estimator does not read",
            found=f"format {made.get('format')}",
            expected=f"format {here['format']}",
            fix=f"use one version of keras_estimator in both processes, or {_MAKE_ANEW}",
        )
    if made.get("python") != here["python"]:
        raise BlueprintError(
            "a blueprint of another version of Python cannot be read: it has code, and code does not travel",
            found=f"made with Python {made.get('python')}",
            expected=f"Python {here['python']}, which is running now",
            fix=f"python{made.get('python')} in this process, too; or {_MAKE_ANEW}",
        )


def _warn_of_versions(made: dict[str, Any]) -> None:
    here = made_with()
    others = [name for name in ("keras", "tensorflow") if made.get(name) != here[name]]
    if others:
        made_by = " and ".join(f"{name} {made.get(name)}" for name in others)
        read_by = " and ".join(f"{name} {here[name]}" for name in others)
        text = (
            f"a blueprint that was made with {made_by} is read with {read_by}: private attributes may differ. "
            f"Way out: install {' '.join(f'{name}=={made.get(name)}' for name in others)} here, or {_MAKE_ANEW}."
        )
        warnings.warn(text, EstimatorWarning, stacklevel=5)  # the caller of `build`, through `read_graph`


def _damaged(found: str) -> BlueprintError:
    return BlueprintError(
        "the bytes of a blueprint are damaged",
        found=found,
        expected="what Blueprint.to_bytes() returned, whole and unchanged",
        fix=f"carry all of the bytes (a file in mode 'wb' and 'rb'), or {_MAKE_ANEW}",
    )
