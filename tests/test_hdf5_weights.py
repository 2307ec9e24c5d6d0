"""Files of Keras are read as data; what leads elsewhere, names code, or claims what is not there is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from keras_estimator.errors import CheckpointError, CorruptCheckpointError
from keras_estimator.hdf5_weights import open_hdf5_weights
from keras_estimator.weight_files import open_weights
from keras_estimator.weight_matching import LAYERS, PLACE, SAVED

KERNEL = np.arange(6, dtype="float32").reshape(2, 3)


def write(path: Path, fill: Callable[[h5py.File, h5py.Group], None]) -> Path:
    """Write a `.weights.h5` file with a Dense, and what `fill` adds to the group of its weights."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "hidden"
        group["0"] = KERNEL
        fill(file, group)
    return path


def external_link(folder: Path) -> Path:
    write(folder / "secret.h5", lambda *_: None)
    return write(folder / "a.h5", lambda file, _: file.__setitem__("b", h5py.ExternalLink("secret.h5", "/layers")))


def link_as_root(folder: Path) -> Path:
    write(folder / "secret.h5", lambda *_: None)
    link = h5py.ExternalLink("secret.h5", "/layers")
    return write(folder / "a.h5", lambda file, _: file.__setitem__("model_weights", link))


def soft_link(folder: Path) -> Path:
    return write(folder / "a.h5", lambda _, group: group.__setitem__("1", h5py.SoftLink("/layers/dense/vars/0")))


def external_data(folder: Path) -> Path:
    (folder / "secret").write_bytes(b"\0" * 64)
    places = [(str(folder / "secret"), 0, 64)]
    return write(folder / "a.h5", lambda _, group: group.create_dataset("1", (16,), "f4", external=places))


def virtual_data(folder: Path) -> Path:
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(write(folder / "secret.h5", lambda *_: None), "layers/dense/vars/0", (2, 3))
    return write(folder / "a.h5", lambda _, group: group.create_virtual_dataset("1", layout))


def foreign_filter(folder: Path) -> Path:
    def fill(_: h5py.File, group: h5py.Group) -> None:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((4,))
        settings.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(group.id, b"1", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), settings)

    return write(folder / "a.h5", fill)


def claimed_shape(folder: Path) -> Path:
    return write(folder / "a.h5", lambda _, group: group.create_dataset("1", (2**50,), "f4", chunks=(64,)))


def claimed_piece(folder: Path) -> Path:
    sizes = {"shape": (1,), "maxshape": (None,), "chunks": (2**28,), "compression": "gzip"}
    return write(folder / "a.h5", lambda _, group: group.create_dataset("1", dtype="f4", **sizes))


def zip_bomb(folder: Path) -> Path:
    with (
        zipfile.ZipFile(folder / "a.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("model.weights.h5", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(2**20))
    return folder / "a.keras"


def zip_of_others(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.keras", "w") as archive:
        archive.writestr("../config.json", "{}")
    return folder / "a.keras"


def cut(folder: Path) -> Path:
    path = write(folder / "whole.h5", lambda *_: None)
    (folder / "a.h5").write_bytes(path.read_bytes()[:-500])
    return folder / "a.h5"


class Canary:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("open('canary', 'w')",)


def a_pickle(folder: Path) -> Path:
    (folder / "a.h5").write_bytes(pickle.dumps(Canary()))
    return folder / "a.h5"


REFUSED = {
    external_link: "b is a ExternalLink to /layers",
    link_as_root: "model_weights is a ExternalLink",
    soft_link: "1 is a SoftLink",
    external_data: "dense/vars/1 lies in another file",
    virtual_data: "dense/vars/1 lies in another file",
    foreign_filter: r"not HDF5's own: \[32001\]",
    claimed_shape: "claims 4,503,599,627,370,496 bytes, of which 0 are stored",
    claimed_piece: "in pieces of 1,073,741,824",
    zip_bomb: "model.weights.h5 claims 314,572,800 bytes",
    zip_of_others: r"without model.weights.h5: \.\./config.json",
    cut: "truncated file",
    a_pickle: "a file: a.h5",
}


def read_all(path: Path) -> dict[str, np.ndarray]:
    with open_weights(path) as stored:
        return {each.name: each.read() for each in stored}


@pytest.mark.parametrize("made", REFUSED, ids=lambda made: made.__name__)
def test_what_is_no_plain_file_of_weights_is_refused(made: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=REFUSED[made]) as caught:
        read_all(made(tmp_path))
    assert isinstance(caught.value, CorruptCheckpointError) == (made is not a_pickle)


AUDITED = """
import encodings.cp437  # zipfile reads names in it
import sys
from pathlib import Path
from keras_estimator.errors import CheckpointError
from keras_estimator.weight_files import open_weights

def read(path):
    try:
        with open_weights(Path(path)) as stored:
            return [each.read() for each in stored]
    except CheckpointError:
        return None

read(sys.argv[1])
seen = []
def note(event, arguments):
    written = event == "open" and not (arguments[1] or "r").startswith("r")
    if written or event.startswith(("exec", "compile", "import", "socket.", "subprocess.", "os.system", "ctypes.")):
        seen.append((event, arguments))
sys.addaudithook(note)
refused = [read(path) is None for path in sys.argv[2:]]
events = list(seen)
print(refused)
print(events)
"""


def test_nothing_runs_or_is_written_while_a_file_is_read(tmp_path: Path) -> None:
    paths = []
    for made in REFUSED:
        (tmp_path / made.__name__).mkdir()
        paths.append(made(tmp_path / made.__name__))
    code = tmp_path / "code.keras"  # what is beside the weights would run, if anybody loaded it
    with zipfile.ZipFile(code, "w") as archive:
        archive.write(write(tmp_path / "a.h5", lambda *_: None), "model.weights.h5")
        archive.writestr(
            "config.json", '{"module": "builtins", "class_name": "exec", "config": "open(\'canary\', \'w\')"}'
        )
    whole = write(tmp_path / "whole.h5", lambda *_: None)
    program = [sys.executable, "-c", AUDITED, whole, *paths, code]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path)
    refused, events = done.stdout.splitlines()
    assert refused == str([True] * len(REFUSED) + [False])
    assert events == "[]"
    assert not list(tmp_path.rglob("canary"))


def test_both_kinds_of_files_give_the_names_of_their_weights(tmp_path: Path) -> None:
    newer = write(tmp_path / "newer.h5", lambda file, _: file.__setitem__("optimizer/vars/0", 1.0))
    with open_hdf5_weights(newer) as stored:
        assert [each.name for each in stored] == ["layers/dense/vars/0"]
        assert stored[0].names == {PLACE: "layers/dense/vars/0", SAVED: "layers/hidden/vars/0"}
        np.testing.assert_array_equal(stored[0].read(), KERNEL)
    with h5py.File(tmp_path / "older.h5", "w") as file:
        file["model_weights/hidden/net/hidden/kernel:0"] = KERNEL
        file["optimizer_weights/adam/step"] = 1
    with open_hdf5_weights(tmp_path / "older.h5") as stored:
        assert [each.names for each in stored] == [{LAYERS: "net/hidden/kernel"}]
        assert (stored[0].shape, stored[0].dtype) == ((2, 3), "float32")


def test_a_file_of_the_first_keras_3_has_places_only(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["_layer_checkpoint_dependencies/dense/vars/0"] = KERNEL
    with open_hdf5_weights(tmp_path / "a.h5") as stored:
        assert stored[0].names == {PLACE: "layers/dense/vars/0"}


def test_a_group_that_holds_itself_is_entered_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", lambda file, group: group.__setitem__("again", file["layers"]))
    assert list(read_all(path)) == ["layers/dense/vars/0"]


def test_a_heap_without_end_costs_only_the_names_of_layers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", lambda *_: None)
    data = bytearray(path.read_bytes())
    start = data.index(b"GCOL") + 16
    data[start : start + 16] = bytes(16)  # HDF5 would stay at this piece for ever
    path.write_bytes(data)
    with open_hdf5_weights(path) as stored:
        assert stored[0].names == {PLACE: "layers/dense/vars/0"}


def test_changed_bytes_give_clean_errors_or_other_numbers(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.h5", lambda *_: None).read_bytes()
    random = np.random.RandomState(0)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        changed[random.randint(len(changed))] ^= 1 << random.randint(8)
        (tmp_path / "a.h5").write_bytes(changed)
        try:
            read_all(tmp_path / "a.h5")
        except CheckpointError:
            refused += 1
    assert refused > 20
