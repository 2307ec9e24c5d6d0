"""Model files with a hole of Keras, HDF5, zip or pickle in them: each would leave a trace if somebody fell for it.

A trace is the file `payload.txt` outside of the folder of the case, or the numbers of `secret.bin` in the weights.
"""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Maker = Callable[[Path, Path], Path]  # The folder of the case, one outside of it; returns what is to be read.
SECRET_NUMBER = 1234.5
FILES: dict[str, Maker] = {}


class Touches:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._command = f"touch {path}"

    def __reduce__(self) -> Any:
        return os.system, (self._command,)


def payload(outside: Path) -> Path:
    return outside / "payload.txt"


def of(name: str) -> Callable[[Maker], Maker]:
    def note(maker: Maker) -> Maker:
        FILES[name] = maker
        return maker

    return note


def plain_model() -> Any:
    import keras  # noqa: PLC0415 - the test that only lists the names of the cases starts no Keras

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(1, name="dense")], name="plain")
    model.compile("sgd", "mse")
    return model


def with_lambda(outside: Path) -> Any:
    import keras  # noqa: PLC0415 - as above

    text = f"lambda x: (__import__('os').system('touch {payload(outside)}'), x)[1]"
    # A function of this file would be saved by its name; this one has its code in the file.
    return keras.Sequential([keras.Input((64,)), keras.layers.Lambda(eval(text), output_shape=(64,))])


def changed(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Change the members of a `.keras` file of the plain model."""
    plain_model().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_layers(folder: Path, *layers: dict[str, Any]) -> Path:
    """Put layers at the beginning of the config of the plain model, behind its input."""

    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        config["config"]["layers"][1:1] = layers
        members["config.json"] = json.dumps(config).encode()

    return changed(folder / "model.keras", change)


def with_weights(folder: Path, write: Callable[[Any], object]) -> Path:
    """Write other HDF5 weights into a `.keras` file of the plain model."""
    import h5py  # noqa: PLC0415 - as above

    def change(members: dict[str, bytes]) -> None:
        path = folder / "weights.h5"
        path.write_bytes(members["model.weights.h5"])
        with h5py.File(path, "r+") as file:
            kernel = next(name for name in names_in(file) if name.endswith("/0") and file[name].shape == (64, 1))
            group, _, key = kernel.rpartition("/")
            del file[kernel]
            write((file[group], key))
        members["model.weights.h5"] = path.read_bytes()
        path.unlink()

    return changed(folder / "model.keras", change)


def names_in(file: Any) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, thing: names.append(name) if hasattr(thing, "shape") else None)
    return names


def layer(of_module: str, name: str, **config: Any) -> dict[str, Any]:
    return {"module": of_module, "class_name": name, "config": config, "registered_name": None}


@of("a Lambda")
def _(folder: Path, outside: Path) -> Path:
    with_lambda(outside).save(folder / "model.keras")
    return folder / "model.keras"


@of("a Lambda in HDF5")
def _(folder: Path, outside: Path) -> Path:
    with_lambda(outside).save(folder / "model.h5")
    return folder / "model.h5"


@of("a function of os as a layer")
def _(folder: Path, outside: Path) -> Path:
    command = {"args": [f"touch {payload(outside)}"]}
    return with_layers(
        folder, {**layer("os", "system", command=f"touch {payload(outside)}"), "inbound_nodes": [command]}
    )


@of("a builtin as a layer")
def _(folder: Path, outside: Path) -> Path:
    return with_layers(folder, layer("builtins", "exec", source=f"open({str(payload(outside))!r}, 'w')"))


@of("a function of Keras that downloads as a layer")
def _(folder: Path, outside: Path) -> Path:
    options = {"fname": payload(outside).name, "origin": "http://127.0.0.1:9/x", "cache_dir": str(outside)}
    return with_layers(folder, layer("keras.utils", "get_file", **options))


@of("the switch of safe mode as a layer")
def _(folder: Path, outside: Path) -> Path:
    with_lambda(outside).save(folder / "lambda.keras")
    with zipfile.ZipFile(folder / "lambda.keras") as archive:
        unsafe = json.loads(archive.read("config.json"))["config"]["layers"][1]
    (folder / "lambda.keras").unlink()
    return with_layers(folder, layer("keras.config", "enable_unsafe_deserialization"), unsafe)


@of("a pickle in a layer of torch")
def _(folder: Path, outside: Path) -> Path:
    import base64  # noqa: PLC0415 - this case only

    text = base64.b64encode(pickle.dumps(Touches(payload(outside)))).decode()
    return with_layers(folder, layer("keras.layers", "TorchModuleWrapper", module=text))


@of("a vocabulary that is another file")
def _(folder: Path, outside: Path) -> Path:
    (outside / "words.txt").write_text("secret\nwords\n")
    return with_layers(folder, layer("keras.layers", "StringLookup", vocabulary=str(outside / "words.txt")))


@of("a SavedModel that writes as a layer")
def _(folder: Path, outside: Path) -> Path:
    from hostile_runs import saved_model_that_writes  # noqa: PLC0415 - it needs TensorFlow

    saved = saved_model_that_writes(outside / "saved_model", payload(outside))
    return with_layers(folder, layer("keras.layers", "TFSMLayer", filepath=str(saved), call_endpoint="serve"))


@of("a name that leads out of the archive")
def _(folder: Path, outside: Path) -> Path:
    escaped = os.path.relpath(payload(outside), folder)
    names = (escaped, f"../{escaped}", str(payload(outside)), "assets/../" + escaped)
    return changed(folder / "model.keras", lambda members: members.update(dict.fromkeys(names, b"out")))


@of("a config of 300 MB in 1 MB")
def _(folder: Path, outside: Path) -> Path:
    return _bomb(folder, "config.json", b" ")


@of("weights of 300 MB in 1 MB")
def _(folder: Path, outside: Path) -> Path:
    return _bomb(folder, "model.weights.h5", b"\0")


def _bomb(folder: Path, name: str, filler: bytes) -> Path:
    path = changed(folder / "model.keras", lambda members: members.pop(name))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open(name, "w") as file:
        for _ in range(300):
            file.write(filler * 10**6)
    return path


@of("a config in 100,000 lists")
def _(folder: Path, outside: Path) -> Path:
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    return changed(folder / "model.keras", lambda members: members.update({"config.json": deep}))


@of("a layer of 2**60 units")
def _(folder: Path, outside: Path) -> Path:
    def change(members: dict[str, bytes]) -> None:
        members["config.json"] = members["config.json"].replace(b'"units": 1,', b'"units": %d,' % 2**60)

    return changed(folder / "model.keras", change)


@of("pickled weights")
def _(folder: Path, outside: Path) -> Path:
    import io  # noqa: PLC0415 - this case only

    import numpy as np  # noqa: PLC0415 - as above

    data = io.BytesIO()
    np.savez(data, kernel=np.array([Touches(payload(outside))], object))

    def change(members: dict[str, bytes]) -> None:
        del members["model.weights.h5"]
        members["model.weights.npz"] = data.getvalue()

    return changed(folder / "model.keras", change)


@of("weights that are another file")
def _(folder: Path, outside: Path) -> Path:
    return with_weights(folder, lambda at: at[0].create_dataset(at[1], (64, 1), "f4", external=[secret(outside)]))


@of("weights that are linked to another file")
def _(folder: Path, outside: Path) -> Path:
    import h5py  # noqa: PLC0415 - as above

    with h5py.File(outside / "secret.h5", "w") as file:
        file["secret"] = [[SECRET_NUMBER]] * 64

    def write(at: Any) -> None:
        at[0][at[1]] = h5py.ExternalLink(str(outside / "secret.h5"), "secret")

    return with_weights(folder, write)


@of("weights that are put together of another file")
def _(folder: Path, outside: Path) -> Path:
    import h5py  # noqa: PLC0415 - as above

    with h5py.File(outside / "secret.h5", "w") as file:
        file["secret"] = [[SECRET_NUMBER]] * 64
    layout = h5py.VirtualLayout((64, 1), "f4")
    layout[...] = h5py.VirtualSource(str(outside / "secret.h5"), "secret", (64, 1))
    return with_weights(folder, lambda at: at[0].create_virtual_dataset(at[1], layout))


@of("weights of 8 PiB in no room")
def _(folder: Path, outside: Path) -> Path:
    return with_weights(folder, lambda at: at[0].create_dataset(at[1], (2**51, 1), "f4", chunks=(2**20, 1)))


@of("HDF5 weights that are another file")
def _(folder: Path, outside: Path) -> Path:
    import h5py  # noqa: PLC0415 - as above

    plain_model().save(folder / "model.h5")
    with h5py.File(folder / "model.h5", "r+") as file:
        kernel = next(name for name in names_in(file) if file[name].shape == (64, 1))
        del file[kernel]
        file.create_dataset(kernel, (64, 1), "f4", external=[secret(outside)])
    return folder / "model.h5"


@of("a SavedModel that writes")
def _(folder: Path, outside: Path) -> Path:
    from hostile_runs import saved_model_that_writes  # noqa: PLC0415 - it needs TensorFlow

    return saved_model_that_writes(folder / "saved_model", payload(outside))


@of("a pickle that is called a model")
def _(folder: Path, outside: Path) -> Path:
    (folder / "model.keras").write_bytes(pickle.dumps(Touches(payload(outside))))
    return folder / "model.keras"


@of("a pickle that is called HDF5")
def _(folder: Path, outside: Path) -> Path:
    (folder / "model.h5").write_bytes(pickle.dumps(Touches(payload(outside))))
    return folder / "model.h5"


@of("a pipe")
def _(folder: Path, outside: Path) -> Path:
    os.mkfifo(folder / "model.keras")
    return folder / "model.keras"


@of("a device")
def _(folder: Path, outside: Path) -> Path:
    (folder / "model.keras").symlink_to("/dev/zero")
    return folder / "model.keras"


def secret(outside: Path) -> tuple[str, int, int]:
    """Return a file with numbers that no weight has, as h5py names external storage."""
    import numpy as np  # noqa: PLC0415 - as above

    path = outside / "secret.bin"
    path.write_bytes(np.full(64, SECRET_NUMBER, "f4").tobytes())
    return str(path), 0, 256
