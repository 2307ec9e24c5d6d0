"""Model_dirs, and files of them, that somebody has made up: pipes, devices, bombs, forged records, foreign graphs."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_models import Maker, Touches, payload

from keras_estimator.state_files import RUN_FILE, STATE_FILE

# Each is given a copy of a run that was killed at step 10 of 20; what they change is read with the checkpoint.
RUNS: dict[str, Maker] = {}
READERS: dict[str, tuple[str, ...]] = {}  # of each of RUNS
FILES: dict[str, Maker] = {}  # A file of the checkpoint is something else.
CHECKPOINTS: dict[str, Maker] = {}  # These are of no use to anybody.
RECORDS: dict[str, Maker] = {}  # These are as whole as the others: only who goes on from them can tell.
NESTED = b"[" * 100_000 + b"]" * 100_000
BOMB = 2**40  # bytes, in a file that takes no room on the disk


def step(folder: Path) -> Path:
    """Return the folder of the one checkpoint."""
    return folder / "checkpoints" / "step-10"


def forge(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change `run.json` as somebody would who knows how its SHA-256 is made."""
    record = json.loads((checkpoint / RUN_FILE).read_text())
    del record["sha256"]
    change(record)
    digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    (checkpoint / RUN_FILE).write_text(json.dumps({**record, "sha256": digest}, indent=1) + "\n")


def forge_state(checkpoint: Path, data: bytes) -> None:
    (checkpoint / STATE_FILE).write_bytes(data)
    new = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    forge(checkpoint, lambda record: record.update(state=new))


def forge_header(checkpoint: Path, header: bytes, length: int | None = None) -> None:
    forge_state(checkpoint, (len(header) if length is None else length).to_bytes(8, "little") + header)


def tensor(shape: Any, start: Any, end: Any, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def replace(path: Path, outside: Path, how: str) -> None:
    """Put something else in the place of a file."""
    if path.exists():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if how == "a pipe":
        os.mkfifo(path)
    elif how == "a device":
        path.symlink_to("/dev/zero")
    elif how == "a circle of links":
        path.symlink_to(path)
    elif how == "a folder":
        path.mkdir()
    elif how == "1 TB":
        path.touch()
        os.truncate(path, BOMB)
    elif how == "a pickle":
        path.write_bytes(pickle.dumps(Touches(payload(outside))))
    else:
        path.write_bytes(NESTED)


def _each_file_replaced() -> None:
    kinds = ("a pipe", "a device", "a circle of links", "a folder", "1 TB", "a pickle", "100,000 lists")
    for name, readers in {
        f"checkpoints/step-10/{RUN_FILE}": (),
        f"checkpoints/step-10/{STATE_FILE}": (),
        "description.json": ("report",),
        "eval/evaluator.json": ("notes", "report"),
        "eval/events.out.tfevents.1": ("report",),
        "export/best/1/assets.extra/evaluation.json": ("exporter",),
        "model.ckpt-7.index": ("command", "report"),
        "checkpoint": ("command", "weights"),
    }.items():
        for kind in kinds:

            def change(folder: Path, outside: Path, name: str = name, kind: str = kind) -> Path:
                replace(folder / name, outside, kind)
                return folder

            case = f"{kind} for {Path(name).name}"
            (RUNS if readers else FILES)[case] = change
            if readers:
                READERS[case] = readers


_each_file_replaced()


def checkpoint(name: str, change: Callable[[Path], object], table: dict[str, Maker] = CHECKPOINTS) -> None:
    def make(folder: Path, outside: Path) -> Path:
        change(step(folder))
        return folder

    table[name] = make


def _state_of_1_tb(at: Path) -> None:
    os.truncate(at / STATE_FILE, BOMB)
    forge(at, lambda record: record["state"].update(bytes=BOMB))


def header_of(**tensors: Any) -> Callable[[Path], None]:
    return lambda at: forge_header(
        at, json.dumps({name.replace("_", "/"): one for name, one in tensors.items()}).encode()
    )


checkpoint("a state of 1 TB, as run.json says", _state_of_1_tb)
checkpoint("a header of 90 MB of which nothing is there", lambda at: forge_header(at, b"{}", 90 * 2**20))
checkpoint("a header of 20 MB of spaces", lambda at: forge_header(at, b"{" + b" " * 20 * 2**20 + b"}x"))
checkpoint("a header in 100,000 lists", lambda at: forge_header(at, b'{"a":' + NESTED + b"}"))
checkpoint("tensors that lie over each other", header_of(a=tensor([4], 0, 4), b=tensor([4], 2, 6)))
checkpoint("a tensor behind the end", header_of(a=tensor([2**40], 0, 2**40)))
checkpoint("a tensor of no number of elements", header_of(a=tensor([float("nan")], 0, 0)))
checkpoint("a tensor of 2**80 elements", header_of(a=tensor([2**40, 2**40], 0, 0)))
checkpoint("a tensor of less than no elements", header_of(a=tensor([-1], 0, 0)))
checkpoint("a tensor in 100 dimensions", header_of(a=tensor([0] * 100, 0, 0)))
checkpoint("a tensor of a type that is a function", header_of(a=tensor([0], 0, 0, "os.system")))
checkpoint("a whole number of 100,000 digits", lambda at: (at / RUN_FILE).write_text('{"a": ' + "9" * 100_000 + "}"))
checkpoint("8 MB of empty lists", lambda at: (at / RUN_FILE).write_text('{"a": [' + "[]," * (2**23 // 3) + "[]]}"))
checkpoint("256 kB of empty lists before its end", lambda at: (at / RUN_FILE).write_text(_lists_before_the_end()))
checkpoint("notes of a text of 2**60 rows", lambda at: forge(at, _note({"type": "text", "shape": [2**60]})))
checkpoint("notes of another type", lambda at: forge(at, _note({"type": "object", "shape": []})))


def _lists_before_the_end() -> str:
    return '{"a": [' + "[]," * (2**18 // 3) + f'[]],\n "sha256": "{"0" * 64}"\n}}\n'


def _note(note: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["arrays"].update({"dense/bias": note})


def run_with(*path: Any, value: Any) -> Callable[[Path], None]:
    """Forge what a checkpoint says of the run."""

    def change(record: dict[str, Any]) -> None:
        place: Any = record["run"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return lambda at: forge(at, change)


def _nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


_CALLBACKS = ("hooks", "states", "KerasCallbacks", "callbacks")
for _number, (_path, _value) in enumerate(
    [
        (("hooks",), []),
        (("hooks", "states"), [1]),
        (("hooks", "states"), {"x": {"@array": "nowhere"}}),
        (("hooks", "states"), {"x": _nested(900)}),
        (("hooks", "kept_steps"), {"x": ["__import__('os')"]}),
        (("hooks", "states", "KerasCallbacks"), [1]),
        (_CALLBACKS, [1]),
        ((*_CALLBACKS, 0, "settings"), []),
        ((*_CALLBACKS, 0, "settings"), {"patience": [1]}),
        ((*_CALLBACKS, 1, "file"), {"name": "x", "bytes": -1}),
        (("hooks", "states", "KerasCallbacks", "epoch"), "1"),
        (("hooks", "states", "KerasCallbacks", "logs"), {"loss": "1"}),
        (("data",), [1]),
        (("data", "passes"), "1"),
        (("data", "batches"), -1),
        (("data", "first_pass"), None),
        (("data", "finished"), None),
    ]
):
    checkpoint(f"a forged record, number {_number}", run_with(*_path, value=_value), RECORDS)

# A checkpoint of these is gone on from: what is no memory of a callback is passed over.
HARMLESS: dict[str, Maker] = {}
for _number, _value in enumerate(
    [
        {"best": _nested(300)},
        {"best": {"dict": [[[1], 2]]}},
        {"best": {"eval": "__import__('os').system('x')"}},
        {"monitor_op": 1, "on_epoch_end": 1, "set_model": 1, "__class__": 1, "__dict__": {}, "model": 1},
        {"best_weights": {"variables": [1]}},
        {"best_weights": {"variables": 1}},
    ]
):
    checkpoint(f"a forged callback, number {_number}", run_with(*_CALLBACKS, 0, "attributes", value=_value), HARMLESS)


checkpoint("forged random numbers", run_with("data", "draws", value={"seed": "x", "python": [1]}), HARMLESS)


def _csv_elsewhere(folder: Path, outside: Path) -> Path:
    """Let CSVLogger write to another file than the program said."""
    file = {"name": str(payload(outside)), "bytes": 0}
    forge(step(folder), lambda record: _csv_of(record).update(file=file, attributes={"filename": file["name"]}))
    return folder


def _csv_of(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["run"]["hooks"]["states"]["KerasCallbacks"]["callbacks"][1]
    return found


HARMLESS["a forged callback that writes elsewhere"] = _csv_elsewhere


def _event(data: bytes, length: int | None = None) -> bytes:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c  # noqa: PLC0415 - a slow import

    head = struct.pack("<Q", len(data) if length is None else length)
    return head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))


def events(name: str, make: Callable[[], bytes]) -> None:
    def change(folder: Path, outside: Path) -> Path:
        (folder / "eval").mkdir(exist_ok=True)
        (folder / "eval" / "events.out.tfevents.1").write_bytes(make())
        return folder

    RUNS[name], READERS[name] = change, ("report",)


def _scalar_of_shape(size: int) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - a slow import

    event = Event(step=1, wall_time=1.0)
    value = event.summary.value.add(tag="loss")
    value.tensor.dtype = 1  # DT_FLOAT
    value.tensor.float_val.append(1.0)
    value.tensor.tensor_shape.dim.add(size=size)
    return _event(event.SerializeToString())


events("an event of 3 GB of which nothing is there", lambda: _event(b"abc", 3 * 2**30))
events("an event of 2**64 - 1 bytes", lambda: _event(b"abc", 2**64 - 1))
events("a scalar of 2 GB", lambda: _scalar_of_shape(2**29))
events("a scalar of 4 EB", lambda: _scalar_of_shape(2**60))
events("an event that is a pickle", lambda: _event(pickle.dumps(Touches(Path("x")))))


def run(name: str, *readers: str) -> Callable[[Maker], Maker]:
    def note(maker: Maker) -> Maker:
        RUNS[name], READERS[name] = maker, readers
        return maker

    return note


@run("TensorFlow's list of checkpoints leads elsewhere", "command", "weights", "report")
def _(folder: Path, outside: Path) -> Path:
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{os.path.relpath(outside, folder)}/model.ckpt-9"\n')
    return folder


@run("notes of an evaluator in which metrics are a list", "notes")
def _(folder: Path, outside: Path) -> Path:
    return notes(folder, evaluations=[{"step": 10, "state": "a", "metrics": [1]}])


@run("notes of an evaluator with steps that are code", "notes")
def _(folder: Path, outside: Path) -> Path:
    return notes(folder, kept_steps=["__import__('os')"])


def notes(folder: Path, **changes: Any) -> Path:
    contents = {"format": 1, "evaluations": [], "memory": {}, "kept_steps": [], **changes}
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / "evaluator.json").write_text(json.dumps(contents))
    return folder


@run("exports that are links and graphs that write", "report", "exporter")
def _(folder: Path, outside: Path) -> Path:
    shutil.rmtree(folder / "export", ignore_errors=True)
    saved_model_that_writes(folder / "export" / "best" / "1", payload(outside))
    (outside / "export").mkdir()
    (outside / "export" / "saved_model.pb").write_bytes(b"x")
    (folder / "export" / "best" / "2").symlink_to(outside / "export")
    (folder / "export" / "circle").symlink_to(folder / "export")
    return folder


def saved_model_that_writes(folder: Path, written: Path) -> Path:
    """Return a SavedModel that writes a file when it is called."""
    import tensorflow as tf  # noqa: PLC0415 - the test that only lists the names of the cases does not start it

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 64))])
        def serve(self, x: Any) -> Any:
            tf.io.write_file(str(written), "written")
            return x + tf.cast(tf.strings.length(tf.io.read_file(str(written))), tf.float32)

    module = Writes()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve, "serve": module.serve})
    return folder
