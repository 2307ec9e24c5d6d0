"""Opens a checkpoint of ours or of TensorFlow as one and the same thing: arrays by name, and what was recorded."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.checkpoints_seen import CheckpointSeen, all_checkpoints_in, bytes_below
from keras_estimator.errors import NoCheckpointError
from keras_estimator.report.elements import size
from keras_estimator.state_files import RUN_FILE, STATE_FILE, Array
from keras_estimator.tf_checkpoints import TfCheckpoint, find_tf_checkpoint

_MANY_BYTES = 100_000_000  # reading takes longer than a moment


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A checkpoint that can be read.

    Attributes:
        path: Its folder; of TensorFlow's, the prefix.
        step: How many updates its run had made; None if TensorFlow's does not say.
        names: Those of its arrays.
        read: Gives the array of a name.
        recorded: What its run has recorded, as JSON values; nothing for TensorFlow's.
        full_names: What the program called the arrays, where that is another name.
    """

    path: Path
    step: int | None
    names: Sequence[str]
    read: Callable[[str], Array]
    recorded: Mapping[str, Any]
    full_names: Mapping[str, str]

    def verify(self) -> None:
        """Read all of it; ours was verified when it was opened.

        Raises:
            CorruptCheckpointError: it is damaged.
        """
        for name in self.names:
            self.read(name)


def open_checkpoint(folder: Path, which: str | None, note: Callable[[str], None]) -> Opened:
    """Open a checkpoint; one of ours is verified at once.

    Args:
        folder: A model_dir.
        which: A step of this model_dir; the folder of a checkpoint, the prefix of one of TensorFlow, or another
            model_dir, which stands for the newest in it: from here or from the model_dir. None: the newest one.
        note: Takes what is said before something that takes long.

    Raises:
        NoCheckpointError: there is none.
        CorruptCheckpointError: it is damaged.
        ConfigError: it is TensorFlow's, and TensorFlow is not installed.
    """
    if which is not None and re.fullmatch(r"[0-9]{1,18}", which):
        for one in reversed(all_checkpoints_in(folder)):
            if one.step == int(which) and not one.is_aside:
                return open_seen(one, note)
        raise _missing(folder, which)
    for path in [folder] if which is None else [Path(which), folder / which, folder / "checkpoints" / which]:
        newest = Checkpoints(path).latest()
        if newest is not None:
            return _ours(newest.path, note)
        if (path / RUN_FILE).exists() or (path / STATE_FILE).exists():
            return _ours(path, note)
        if find_tf_checkpoint(path) is not None:
            return _of_tensorflow(path, note)
    raise _missing(folder, which)


def open_seen(seen: CheckpointSeen, note: Callable[[str], None]) -> Opened:
    """Open a checkpoint that was looked at; see `open_checkpoint`."""
    return (_of_tensorflow if seen.is_tensorflows else _ours)(seen.path, note)


def _ours(path: Path, note: Callable[[str], None]) -> Opened:
    num_bytes = bytes_below(path)
    if num_bytes > _MANY_BYTES:
        note(f"reading {size(num_bytes)}: {path}")
    restored = Checkpoints(path.parent.parent).read(path)
    return Opened(path, restored.step, sorted(restored.state), restored.state.__getitem__, restored.run, {})


def _of_tensorflow(path: Path, note: Callable[[str], None]) -> Opened:
    if "tensorflow" not in sys.modules:
        note("starting TensorFlow, which reads its own checkpoints")
    checkpoint = TfCheckpoint(path)
    names = [name for name, variable in checkpoint.variables.items() if variable.is_array]
    full_names = {name: checkpoint.variables[name].full_name for name in names if checkpoint.is_object_based}
    return Opened(checkpoint.prefix, checkpoint.global_step(), names, checkpoint.read, {}, full_names)


def _missing(folder: Path, which: str | None) -> NoCheckpointError:
    names = [one.path.name if one.is_tensorflows else str(one.step) for one in all_checkpoints_in(folder)]
    return NoCheckpointError(
        f"there is no checkpoint in {folder}" if which is None else f"there is no checkpoint {which}",
        found=f"in {folder}: {', '.join(names[-10:]) or 'none'}",
        expected="a step, the folder of a checkpoint, or a prefix such as model.ckpt-300",
        fix=f"keras-estimator checkpoints {folder}",
    )
