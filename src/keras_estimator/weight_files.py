"""Find out what holds weights at a path, and list them: checkpoints of ours and of TensorFlow, and files of Keras.

Nothing of it is a program to us: a SavedModel and a `.keras` file hold code too, which is never looked at.
"""

from __future__ import annotations

import contextlib
import functools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from keras_estimator.checkpoints import Checkpoints, Restored
from keras_estimator.errors import CheckpointError, NoCheckpointError
from keras_estimator.hdf5_weights import open_hdf5_weights
from keras_estimator.state_files import STATE_FILE
from keras_estimator.tf_checkpoints import TfCheckpoint, find_tf_checkpoint
from keras_estimator.weight_matching import LAYERS, STATE, Stored

_HDF5_BEGINS = b"\x89HDF\r\n\x1a\n"
# What is not warm-started: optimizers, metrics and seeds.
_NO_WEIGHT_OF_OURS = re.compile(r"(optimizer|loss_tracker|compile_metrics|compile_loss)/.*|(.*/)?seed_generator/state")
# Optimizers and the counters of TensorFlow; the optimizer of Keras 3 leads to the weights, too.
_NO_WEIGHT_OF_TF = re.compile(
    r"training/.*|(.*/)?optimizer/(?!_trainable_variables/).*|(.*/)?(save_counter|global_step)"
)


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator[list[Stored]]:
    """Open what is at a path and list the weights in it; they can be read until it is closed.

    Args:
        path: A checkpoint of this package, or a model_dir, which stands for its newest one; a checkpoint of TensorFlow
            (`model.ckpt-300`), or a folder of them; a SavedModel; a `.keras`, `.weights.h5` or `.h5` file.

    Raises:
        NoCheckpointError: there is nothing there.
        CorruptCheckpointError: its bytes are not those that were written, or it leads elsewhere.
        CheckpointError: it is something else.
    """
    if (path / STATE_FILE).exists():
        yield _of_ours(Checkpoints(path.parent.parent).read(path))
    elif (restored := _newest_of_ours(path)) is not None:
        yield _of_ours(restored)
    elif (prefix := _tensorflow_at(path)) is not None:
        yield _of_tensorflow(TfCheckpoint(prefix))
    elif _is_hdf5(path) or (path.is_file() and zipfile.is_zipfile(path)):
        with open_hdf5_weights(path) as stored:
            yield stored
    elif path.exists():
        raise _of_no_kind(path)
    else:
        raise NoCheckpointError(
            "there is nothing to begin with",
            found=f"no {path}",
            expected="weights that were saved",
            fix=f"ls {path.parent}",
        )


def _newest_of_ours(path: Path) -> Restored | None:
    return Checkpoints(path).newest_readable() if path.is_dir() else None


def _tensorflow_at(path: Path) -> Path | None:
    return find_tf_checkpoint(path / "variables" / "variables") or find_tf_checkpoint(path)


def _is_hdf5(path: Path) -> bool:
    if not path.is_file():
        return False  # to open a pipe may take for ever
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(_HDF5_BEGINS)) == _HDF5_BEGINS
    return False


def _of_ours(restored: Restored) -> list[Stored]:
    return [
        Stored(path, value.shape, value.dtype.name, functools.partial(restored.state.__getitem__, path), {STATE: path})
        for path, value in restored.state.items()
        if not _NO_WEIGHT_OF_OURS.fullmatch(path)
    ]


def _of_tensorflow(checkpoint: TfCheckpoint) -> list[Stored]:
    """List the variables by the names that programs gave them; objects may hold one variable several times."""
    return [
        Stored(
            name,
            variable.shape,
            variable.dtype,
            functools.partial(checkpoint.read, name),
            {LAYERS: variable.full_name.removesuffix(":0")} if variable.full_name else {},
        )
        for name, variable in checkpoint.variables.items()
        if not (variable.slot_of or _is_slot(name, checkpoint) or _NO_WEIGHT_OF_TF.fullmatch(name))
    ]


def _is_slot(name: str, checkpoint: TfCheckpoint) -> bool:
    """Tell whether an optimizer of TensorFlow 1 kept this beside a weight: `kernel/Adam` beside `kernel`."""
    return name.rpartition("/")[0] in checkpoint.variables


def _of_no_kind(path: Path) -> CheckpointError:
    what = "a folder" if path.is_dir() else "a file"
    names = ", ".join(sorted(each.name for each in path.iterdir())[:5]) if path.is_dir() else path.name
    return CheckpointError(
        f"there are no weights in {path}",
        found=f"{what}: {names}",
        expected="a model_dir, a checkpoint (also of TensorFlow), a SavedModel, a .keras, .weights.h5 or .h5 file",
        fix="save them in one of these forms: model.save_weights('pretrained.weights.h5')",
    )
