"""Chooses which checkpoints of a model_dir are not needed any more, and removes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_estimator.checkpoints import Checkpoint, Checkpoints, Restored
from keras_estimator.checkpoints_seen import CheckpointSeen, all_checkpoints_in
from keras_estimator.errors import CheckpointError, CorruptCheckpointError, NoCheckpointError


@dataclasses.dataclass(frozen=True)
class Pruning:
    """What is removed, and what stays, each by rising step."""

    removed: Sequence[CheckpointSeen]
    kept: Sequence[CheckpointSeen]


def choose(
    folder: Path,
    keep: int | None,
    keep_every_n_hours: float | None,
    *,
    damaged: bool,
    note: Callable[[str], None],
) -> Pruning:
    """Choose what to remove from a model_dir.

    The newest one that verifies stays, whatever is asked for, and so do those that a hook has asked to keep. One that
    is damaged counts for nothing. Checkpoints of TensorFlow are left alone.

    Args:
        folder: The model_dir.
        keep: How many of the newest to keep; None: all.
        keep_every_n_hours: Besides those, one every so many hours; None: none.
        damaged: Whether to remove those that are damaged.
        note: Takes what is said while it reads.

    Raises:
        CorruptCheckpointError: none verifies, so that nothing is removed.
        NoCheckpointError: there is none.
    """
    checkpoints = Checkpoints(folder, keep, keep_every_n_hours)
    newest, unreadable = _newest_that_verifies(checkpoints, note)
    seen = [
        dataclasses.replace(one, problem=unreadable.get(one.path) or _confirmed(checkpoints, one))
        for one in all_checkpoints_in(folder)
        if not one.is_tensorflows
    ]
    whole = [Checkpoint(one.step or 0, one.path) for one in seen if not one.problem]
    old = whole[:-keep] if keep else []
    needed = {newest.path, *_asked_for(newest, whole), *checkpoints.kept_for_good(old)}
    superfluous = {each.path for each in old} - needed
    removed = [one for one in seen if (damaged if one.problem else one.path in superfluous)]
    return Pruning(removed, [one for one in seen if one not in removed])


def remove(folder: Path, pruning: Pruning) -> None:
    """Remove what was chosen, while no checkpoint is being written.

    Raises:
        CheckpointError: the disk does not let go of one.
    """
    checkpoints = Checkpoints(folder)
    try:
        checkpoints.remove(one.path for one in pruning.removed)
    except OSError as error:
        raise CheckpointError(
            f"a checkpoint in {folder} cannot be removed",
            found=f"{type(error).__name__}: {error}",
            expected="the right to write there",
            fix=f"ls -ld {checkpoints.folder}",
        ) from error


def _newest_that_verifies(checkpoints: Checkpoints, note: Callable[[str], None]) -> tuple[Restored, dict[Path, str]]:
    """Return the newest that can be read, and why the newer ones cannot."""
    unreadable: dict[Path, str] = {}
    for checkpoint in reversed(checkpoints.list()):
        note(f"verifying step {checkpoint.step}")
        try:
            return checkpoints.read(checkpoint), unreadable
        except CorruptCheckpointError as error:
            unreadable[checkpoint.path] = error.found
        except NoCheckpointError:
            continue  # its run has removed it in the meantime
    if not unreadable:
        raise NoCheckpointError(
            f"there is no checkpoint in {checkpoints.folder.parent}",
            found="nothing that this command may remove",
            expected="the model_dir of an Estimator; checkpoints of TensorFlow are left alone",
            fix=f"keras-estimator checkpoints {checkpoints.folder.parent}",
        )
    raise CorruptCheckpointError(
        "no checkpoint verifies, so none is removed",
        found="\n".join(f"{path.name}: {why}" for path, why in unreadable.items()),
        expected="one that a run can go on from",
        fix="put one back from a backup, or remove the folder by hand",
    )


def _confirmed(checkpoints: Checkpoints, seen: CheckpointSeen) -> str:
    """Return why one cannot be trusted, after reading it: nothing is removed for how it looks from outside."""
    if seen.is_aside or not seen.problem:
        return seen.problem
    try:
        checkpoints.read(seen.path)
    except CheckpointError as error:
        return error.found
    return ""


def _asked_for(newest: Restored, whole: Sequence[Checkpoint]) -> set[Path]:
    """Return those that hooks have asked to keep, such as the best one of early stopping."""
    hooks = newest.run.get("hooks")
    by_hook = hooks.get("kept_steps") if isinstance(hooks, dict) else None
    lists = by_hook.values() if isinstance(by_hook, dict) else []
    steps = {step for each in lists if isinstance(each, list) for step in each if type(step) is int}
    return {checkpoint.path for checkpoint in whole if checkpoint.step in steps}
