"""Hostile sources, settings, blueprints and environments, and what reads them."""

from __future__ import annotations

import io
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_models import Maker, Touches, payload

TEXTS: dict[str, Maker] = {}
READERS: dict[str, tuple[str, ...]] = {}
_DEEP = 100_000


def file(reader: str, name: str, case: str, make: Callable[[Path, Path], object]) -> None:
    """Add a case: a file of this name in a folder of its own."""

    def change(folder: Path, outside: Path) -> Path:
        path = folder / "texts" / name
        path.parent.mkdir()
        found = make(path, outside)
        if isinstance(found, bytes):
            path.write_bytes(found)
        return path.parent if reader == "doctor" else path

    TEXTS[case], READERS[case] = change, (reader,)


def source(case: str, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    file("doctor", "model.py", f"a source {case}", lambda path, outside: data)


source(
    "that runs when it is read",
    "import keras\nopen('payload.txt', 'w')\n__import__('os').system('touch payload.txt')\n",
)
source("in 100,000 brackets", "import keras\nx = " + "(" * _DEEP)
source("of 100,000 minus signs", "import keras\nx = " + "-" * _DEEP + "1")
source("of 50,000 attributes", "import keras\nx = a" + ".a" * 50_000)
source("of 20,000 sums", "import keras\nx = 1" + "+1" * 20_000)
source("of a whole number of 100,000 digits", "import keras\nx = " + "9" * _DEEP)
source("with a zero byte", b"import keras\n\0")
source("with bytes that are no text", b"import keras\n# \xff\xfe\n")
source("in an encoding that is code", b"# -*- coding: unicode_escape -*-\nimport keras\n")
file("doctor", "model.py", "a source that is a pipe", lambda path, outside: os.mkfifo(path))
file("doctor", "model.py", "a source that is a device", lambda path, outside: path.symlink_to("/dev/zero"))
file("doctor", "model.py", "a source that leads to itself", lambda path, outside: path.symlink_to(path))
file("doctor", "model.py", "a source of 1 TB", lambda path, outside: (path.touch(), os.truncate(path, 2**40)))
file("doctor", "a", "folders that lead in circles", lambda path, outside: _circles(path))
file("doctor", "pyproject.toml", "settings in 100,000 lists", lambda path, outside: b"a = " + b"[" * _DEEP)
file("doctor", "pyproject.toml", "settings with a number as a table", lambda path, outside: b"tool = 3")
file("doctor", "pyproject.toml", "settings of a long number", lambda path, outside: b"a = " + b"9" * _DEEP)
file("doctor", "pyproject.toml", "settings of 1 TB", lambda path, outside: (path.touch(), os.truncate(path, 2**40)))
file("doctor", "pyproject.toml", "settings that are a pipe", lambda path, outside: os.mkfifo(path))


def _circles(path: Path) -> None:
    path.mkdir()
    for name in "bcd":
        (path / name).symlink_to(path)


def _head(text: bytes, body: bytes) -> bytes:
    begin = b"keras-estimator blueprint\n" + len(text).to_bytes(4, "big") + text
    return begin + len(body).to_bytes(8, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def _blueprint(path: Path, outside: Path) -> bytes:
    from keras_estimator.model.carrying.bytes_head import made_with  # noqa: PLC0415 - it starts Keras

    return _head(json.dumps(made_with()).encode(), pickle.dumps(Touches(payload(outside))))


file("blueprint", "model.bytes", "a blueprint that is a pickle", _blueprint)
file(
    "blueprint",
    "model.bytes",
    "no blueprint but a pickle",
    lambda path, outside: pickle.dumps(Touches(payload(outside))),
)
file("blueprint", "model.bytes", "a blueprint with a head in lists", lambda path, outside: _head(b"[" * 60_000, b""))
file(
    "blueprint",
    "model.bytes",
    "a blueprint with a head of 4 GB",
    lambda path, outside: _head(b"", b"")[:26] + b"\xff" * 4,
)
for _case, _text in {
    "in 100,000 lists": "[" * _DEEP,
    "in 900 lists": '{"cluster": {"worker": ' + "[" * 900 + "]" * 900 + "}}",
    "of a long number": '{"task": {"index": ' + "9" * _DEEP + "}}",
    "of worker 2**60": json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 2**60}}),
    "of another type": '{"cluster": 3}',
}.items():
    file("cluster", "TF_CONFIG", f"TF_CONFIG {_case}", lambda path, outside, text=_text: text.encode())


def doctor(folder: Path) -> Any:
    from keras_estimator.doctor.command import Asked, run_doctor  # noqa: PLC0415 - it is imported where it is watched

    said = io.StringIO()
    run_doctor(
        Asked((str(folder),), None, (), (), "text", False, unsafe_fixes=False, diff=False), said.write, said.write
    )


def blueprint(path: Path) -> Any:
    """Take the bytes of a blueprint; to build it is to run its code, as its documentation says."""
    from keras_estimator.model.blueprint import Blueprint  # noqa: PLC0415 - it starts Keras

    Blueprint.from_bytes(path.read_bytes())


def cluster(path: Path) -> Any:
    from keras_estimator.cluster import read_task  # noqa: PLC0415 - it is imported where it is watched

    read_task({"TF_CONFIG": path.read_text()})


RUN: dict[str, Callable[[Path], Any]] = {"doctor": doctor, "blueprint": blueprint, "cluster": cluster}


def plain(reader: str, work: Path) -> Path | None:
    """Return what a reader of texts can read; None for another reader."""
    folder = work / "texts"
    folder.mkdir(exist_ok=True)
    if reader == "doctor":
        (folder / "model.py").write_text("import keras\n\nkeras.layers.Lambda(lambda x: x)\n")
        return folder
    if reader == "blueprint":
        from hostile_models import plain_model  # noqa: PLC0415 - it starts Keras

        from keras_estimator.model.blueprint import Blueprint  # noqa: PLC0415 - as above

        (folder / "model.bytes").write_bytes(Blueprint.of(plain_model()).to_bytes())
        return folder / "model.bytes"
    if reader == "cluster":
        (folder / "TF_CONFIG").write_text("{}")
        return folder / "TF_CONFIG"
    return None
