"""What was written is read back to the bit, and nothing else is ever read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from keras_estimator.errors import CheckpointError, CorruptCheckpointError
from keras_estimator.state_files import RUN_FILE, STATE_FILE, amend_record, read_files, read_record, write_files

ML_TYPES = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "int4", "uint4"]
TYPES = [np.dtype(code) for code in "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16 >i4 >f8 >c8".split()]
STATE = {
    "dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "seed": np.array([1, 2], np.uint32),
    "words": np.array([[b"a\0b", b""], [b"\xff", b"last"]], object),
    "spectrum": np.array([1 + 2j, -1j], np.complex64),
}


def write(folder: Path, state: dict[Any, Any], run: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder, step=7, state=state, run=run or {}, first_written_at=1.0)
    return folder


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change `run.json` as somebody would who knows how its SHA-256 is made."""
    record = json.loads((folder / RUN_FILE).read_text())
    del record["sha256"]
    change(record)
    digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    (folder / RUN_FILE).write_text(json.dumps({**record, "sha256": digest}, indent=1) + "\n")


def forge_state(folder: Path, data: bytes) -> None:
    (folder / STATE_FILE).write_bytes(data)
    new = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    forge(folder, lambda record: record.update(state=new))


def assert_same(read: dict[str, Any], written: dict[str, Any]) -> None:
    assert set(read) == set(written)
    for path, array in written.items():
        assert read[path].dtype == np.asarray(array).dtype.newbyteorder("=")
        assert read[path].shape == np.shape(array)
        assert read[path].flags.writeable
        if read[path].dtype.hasobject:
            assert read[path].tolist() == np.asarray(array).tolist()
        else:
            native = np.asarray(array).astype(read[path].dtype)
            assert read[path].tobytes() == native.tobytes(), path


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(st.sampled_from(TYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_numbers_come_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[Any, Any]):
    folder = write(tmp_path_factory.mktemp("numbers"), {"a": array, "transposed": array.T})
    assert_same(read_files(folder)[1], {"a": array, "transposed": array.T})


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        hnp.arrays(object, hnp.array_shapes(min_dims=0, min_side=0, max_side=3), elements=st.binary()),
        hnp.arrays(object, hnp.array_shapes(min_dims=0, min_side=0, max_side=3), elements=st.text()),
    ),
    st.text(),
)
def test_strings_come_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[Any, Any], path: str):
    state = {"before/" + path.encode("utf-8", "replace").decode(): array}
    folder = write(tmp_path_factory.mktemp("strings"), state)
    assert_same(read_files(folder)[1], state)


@pytest.mark.parametrize("name", ML_TYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_types_of_machine_learning_come_back(tmp_path: Path, name: str, shape: tuple[int, ...]):
    state = {"a": np.ones(shape, getattr(ml_dtypes, name))}
    assert_same(read_files(write(tmp_path, state))[1], state)


def test_scalars_and_an_empty_state_come_back(tmp_path: Path):
    state = {"iterations": np.int64(3), "rate": np.float32(0.1), "flag": True}
    assert_same(read_files(write(tmp_path / "a", state))[1], state)
    assert read_files(write(tmp_path / "b", {}))[1] == {}


def test_what_the_caller_recorded_comes_back(tmp_path: Path):
    run = {"plan": "graph", "metrics": {"loss": 0.1, "a": float("inf")}, "data": [1, None, {"é": True}], "n": 2**60}
    record, _ = read_files(write(tmp_path, STATE, run))
    assert record["run"] == run
    assert list(record["run"]) == list(run)
    assert record["step"] == 7


def test_equal_states_give_equal_bytes(tmp_path: Path):
    first = write(tmp_path / "a", STATE)
    second = write(tmp_path / "b", {path: np.array(array) for path, array in reversed(STATE.items())})
    assert (first / STATE_FILE).read_bytes() == (second / STATE_FILE).read_bytes()


def test_the_arrays_are_plain_safetensors(tmp_path: Path):
    arrays = load_file(write(tmp_path, STATE) / STATE_FILE)
    np.testing.assert_array_equal(arrays["dense/kernel"], STATE["dense/kernel"])
    np.testing.assert_array_equal(arrays["spectrum"], [[1, 2], [0, -1]])


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("a", np.array([b"a", "b"], object), "objects of type bytes, str"),
        ("a", np.array([None], object), "objects of type NoneType"),
        ("a", np.array("2020-01-01", "datetime64[D]"), "an array of datetime64[D]"),
        ("a", np.array([b"a"]), "an array of |S1"),
        ("__metadata__", np.zeros(1), "a path that safetensors cannot name"),
        (3, np.zeros(1), "a path that safetensors cannot name"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path: Path, path: Any, value: Any, found: str):
    with pytest.raises(CheckpointError, match="cannot be stored") as caught:
        write(tmp_path, {path: value})
    assert caught.value.found == found


@pytest.mark.parametrize("name", [STATE_FILE, RUN_FILE])
def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path, name: str):
    folder = write(tmp_path, STATE, {"metrics": {"loss": 0.25}})
    intact = (folder / name).read_bytes()
    dice = random.Random(1)
    for _ in range(250):
        place = dice.randrange(len(intact))
        flipped = bytes([intact[place] ^ (1 << dice.randrange(8))])
        (folder / name).write_bytes(intact[:place] + flipped + intact[place + 1 :])
        with pytest.raises(CorruptCheckpointError):
            read_files(folder)
    for length in [0, 1, 7, 8, 9, len(intact) - 1, *(dice.randrange(len(intact)) for _ in range(50))]:
        (folder / name).write_bytes(intact[:length])
        with pytest.raises(CorruptCheckpointError):
            read_files(folder)
    (folder / name).write_bytes(intact + b"\n")
    with pytest.raises(CorruptCheckpointError):
        read_files(folder)
    (folder / name).write_bytes(intact)
    assert_same(read_files(folder)[1], STATE)


def test_hostile_arrays_with_the_right_digest_raise_nothing_else(tmp_path: Path):
    folder = write(tmp_path, STATE)
    intact, dice = (folder / STATE_FILE).read_bytes(), random.Random(2)
    end_of_header = 8 + int.from_bytes(intact[:8], "little")
    for _ in range(400):
        data = bytearray(intact)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data) if dice.random() < 0.3 else end_of_header)] = dice.randrange(256)
        forge_state(folder, bytes(data))
        with contextlib.suppress(CorruptCheckpointError):
            read_files(folder)  # a changed number cannot be told from another number


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F32", "shape": [0, 4611686018427387904], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F32", "shape": [0, 99999999999999999999], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F32", "shape": [' + "0, " * 99 + '0], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F4", "shape": [0], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "os.system", "shape": [0], "data_offsets": [0, 0]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400000000000]}}',
        '{"a": ' * 10_000,
        "[]",
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, header: str):
    folder = write(tmp_path, {})
    forge_state(folder, len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(CorruptCheckpointError):
        read_files(folder)


def row(*lengths: int, rest: bytes = b"") -> np.ndarray[Any, Any]:
    return np.frombuffer(np.array(lengths, "<i8").tobytes() + rest, np.uint8)


@pytest.mark.parametrize(
    ("note", "stored"),
    [
        ({"type": "bytes", "shape": [2]}, row(1, 5, rest=b"ab")),
        ({"type": "bytes", "shape": [2]}, row(-1, 3, rest=b"ab")),
        ({"type": "bytes", "shape": [2**62]}, row(1, rest=b"a")),
        ({"type": "bytes", "shape": [-1]}, row(1, rest=b"a")),
        ({"type": "bytes", "shape": [True]}, row(1, rest=b"a")),
        ({"type": "bytes", "shape": [0, 2**70]}, row()),
        ({"type": "text", "shape": []}, row(1, rest=b"\xff")),
        ({"type": "bytes", "shape": []}, np.zeros((3, 3), np.uint8)),
        ({"type": "bytes", "shape": []}, np.zeros(8, np.float32)),
        ({"type": "complex64", "shape": [2]}, np.zeros((2, 3), np.float32)),
        ({"type": "complex64", "shape": [2]}, np.zeros((2, 2), np.float64)),
        ({"type": "int4", "shape": [3]}, np.zeros(4, np.uint8)),
        ({"type": "object", "shape": [3]}, np.zeros(3, np.uint8)),
        ({"type": ["bytes"], "shape": [3]}, np.zeros(3, np.uint8)),
        ({"shape": [3]}, np.zeros(3, np.uint8)),
        ({"type": "bytes", "shape": 3}, np.zeros(3, np.uint8)),
        (None, np.zeros(3, np.uint8)),
    ],
)
def test_a_hostile_note_is_refused(tmp_path: Path, note: Any, stored: np.ndarray[Any, Any]):
    folder = write(tmp_path, {})
    save_file({"a": stored}, tmp_path / "forged")
    forge_state(folder, (tmp_path / "forged").read_bytes())
    forge(folder, lambda record: record.update(arrays={"a": note}))
    with pytest.raises(CorruptCheckpointError):
        read_files(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(format=2),
        lambda record: record.update(step=-1),
        lambda record: record.update(step="7"),
        lambda record: record.update(step=True),
        lambda record: record.update(written_at=None),
        lambda record: record.update(state=[]),
        lambda record: record.update(state={"bytes": -1, "sha256": ""}),
        lambda record: record.update(run=None),
        lambda record: record.update(arrays={"missing": {"type": "bytes", "shape": []}}),
        lambda record: record.clear(),
    ],
)
def test_a_record_that_lacks_something_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object]):
    folder = write(tmp_path, STATE)
    forge(folder, change)
    with pytest.raises(CorruptCheckpointError):
        read_files(folder)


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"3", b'{"sha256": 1}', b"[" * 200_000, b"1" * 10_000, b'"\\ud800"', b"\xff", b"\0"]
)
def test_a_record_that_is_none_is_refused(tmp_path: Path, data: bytes):
    (write(tmp_path, STATE) / RUN_FILE).write_bytes(data)
    with pytest.raises(CorruptCheckpointError):
        read_record(tmp_path)


def test_a_record_longer_than_any_real_one_is_not_read(tmp_path: Path):
    with (write(tmp_path, STATE) / RUN_FILE).open("ab") as file:
        file.truncate(2**40)  # takes no room on the disk, but would in memory
    with pytest.raises(CorruptCheckpointError, match="cannot be trusted") as caught:
        read_record(tmp_path)
    assert "1,099,511,627,776 bytes" in caught.value.found


@pytest.mark.parametrize("name", [STATE_FILE, RUN_FILE])
def test_only_plain_files_are_opened(tmp_path: Path, name: str):
    file = write(tmp_path / "checkpoint", STATE) / name
    file.rename(tmp_path / "elsewhere")
    for replace in (lambda: file.symlink_to(tmp_path / "elsewhere"), lambda: os.mkfifo(file), file.mkdir):
        replace()
        with pytest.raises(CorruptCheckpointError) as caught:
            read_files(file.parent)
        assert caught.value.found == f"{name} cannot be read: it is not a plain file"
        file.rmdir() if file.is_dir() else file.unlink()
    with pytest.raises(CorruptCheckpointError, match="cannot be trusted"):
        read_files(file.parent)


def test_reading_opens_the_two_files_and_runs_nothing(tmp_path: Path):
    folder = write(tmp_path, STATE)
    read_files(folder)
    events: list[tuple[str, Any]] = []
    is_watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if is_watching and event.split(".")[0] in ("open", "import", "exec", "compile", "socket", "subprocess", "os"):
            events.append((event, arguments[0]))

    sys.addaudithook(watch)  # it cannot be taken back, only told to look away
    read_files(folder)
    is_watching = False
    assert events == [("open", str(folder / RUN_FILE)), ("open", str(folder / STATE_FILE))]


def test_a_record_that_nobody_would_read_again_is_not_written(tmp_path: Path):
    write(tmp_path, {"a": np.zeros(1)})
    before = (tmp_path / RUN_FILE).read_bytes()
    with pytest.raises(CheckpointError, match="too long") as caught:
        amend_record(tmp_path, {"short": 1, "hooks": "x" * 65 * 2**20})
    assert "('hooks', " in caught.value.found
    assert (tmp_path / RUN_FILE).read_bytes() == before


def test_whoever_may_read_one_of_the_files_may_read_the_other(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write(tmp_path, {"a": np.zeros(1)})
    finally:
        os.umask(before)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in (RUN_FILE, STATE_FILE)} == {0o640}
