"""Look at what lies in a model_dir: curves, checkpoints, exports, and the description of the run.

Nothing is loaded and nothing is believed: a checkpoint is looked at, its state is not read.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.checkpoints_seen import CheckpointSeen, bytes_below, look_at_checkpoint
from keras_estimator.errors import ConfigError
from keras_estimator.event_files import Folder, Rewind, read_folders
from keras_estimator.run_description import Description, read_description

_NUMBER = re.compile(r"[0-9]{1,18}")
_SAVED_MODELS = ("saved_model.pb", "saved_model.pbtxt")


@dataclasses.dataclass(frozen=True)
class ExportSeen:
    """An export: its folder below `export`, when its model was written, and the bytes of all its files."""

    name: str
    written_at: float
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class Contents:
    """All that a report shows."""

    model_dir: Path
    folders: list[Folder]
    checkpoints: list[CheckpointSeen]
    exports: list[ExportSeen]
    description: Description

    def training(self) -> Folder | None:
        """Return the curves of the training."""
        return next((folder for folder in self.folders if folder.name == "train"), None)

    def evaluations(self) -> list[Folder]:
        """Return the curves of each evaluation."""
        return [folder for folder in self.folders if folder.name != "train"]

    def rewinds(self) -> list[Rewind]:
        """Return where the training went back to a checkpoint."""
        training = self.training()
        return training.rewinds if training else []


def look_at(model_dir: str | os.PathLike[str]) -> Contents:
    """Look at a run.

    Args:
        model_dir: The folder of an Estimator.

    Raises:
        ConfigError: there is no such folder, or nothing of a run in it.
    """
    folder = Path(model_dir)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise _no_run(folder, found)
    contents = Contents(
        folder,
        read_folders(folder),
        [look_at_checkpoint(checkpoint) for checkpoint in Checkpoints(folder).list()],
        sorted(_exports(folder / "export"), key=lambda export: (export.written_at, export.name)),
        read_description(folder),
    )
    if not (contents.folders or contents.checkpoints or contents.exports or any(contents.description)):
        names = sorted(path.name for path in folder.iterdir())
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise _no_run(folder, f"in it: {shown}" if names else "an empty folder")
    return contents


def _no_run(folder: Path, found: str) -> ConfigError:
    return ConfigError(
        f"there is no run in {folder}",
        found=found,
        expected="the model_dir of an Estimator: a folder with checkpoints, train or eval in it",
        fix="keras-estimator report MODEL_DIR, with the model_dir that the program gave to model_to_estimator",
    )


def _exports(folder: Path) -> Iterator[ExportSeen]:
    """Yield the exports in `export/<number>` and `export/<name>/<number>`."""
    for path in _folders(folder):
        places = [path] if _NUMBER.fullmatch(path.name) else list(_folders(path))
        for place in places:
            written_at = next(filter(None, (_written_at(place / name) for name in _SAVED_MODELS)), None)
            if written_at is not None and _NUMBER.fullmatch(place.name):
                yield ExportSeen(str(place.relative_to(folder)), written_at, bytes_below(place))


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(inner for inner in path.iterdir() if inner.is_dir())
    except OSError:
        return []


def _written_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def last_points(folder: Folder) -> dict[str, tuple[int, float]]:
    """Return the last step and value of each curve of a folder."""
    return {tag: (step, curve[step].value) for tag, curve in folder.curves.items() for step in [max(curve)]}


def lowest(curve: dict[int, Any]) -> int | None:
    """Return the step of the lowest value of a curve; None if none is finite."""
    finite = [step for step, point in curve.items() if math.isfinite(point.value)]
    return min(finite, key=lambda step: curve[step].value, default=None)
