"""What a run needs to go on is never removed; what is not needed is, and nothing else."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from written_checkpoints import OLD, damage_record, damage_state, set_aside, write

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CheckpointError, CorruptCheckpointError, NoCheckpointError
from keras_estimator.inspection.pruning import Pruning, choose, remove
from keras_estimator.state_files import locked


def chosen(folder: Path, keep: int | None = None, hours: float | None = None, *, damaged: bool = False) -> Pruning:
    return choose(folder, keep, hours, damaged=damaged, note=lambda text: None)


def names(seen: Any) -> list[str]:
    return [one.path.name for one in seen]


def test_the_newest_are_kept_and_the_others_removed(tmp_path: Path):
    checkpoints = write(tmp_path, 1, 2, 3, 4)
    pruning = chosen(tmp_path, 2)
    assert (names(pruning.removed), names(pruning.kept)) == (["step-1", "step-2"], ["step-3", "step-4"])
    assert [each.step for each in checkpoints.list()] == [1, 2, 3, 4]
    remove(tmp_path, pruning)
    remove(tmp_path, pruning)  # another process was faster
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-3", "step-4"]
    checkpoints.read(4)
    assert chosen(tmp_path, 2).removed == []


def test_the_newest_that_verifies_stays_whatever_lies_above_it(tmp_path: Path):
    write(tmp_path, 1, 2, 3, 4)
    damage_state(tmp_path, 3)
    damage_record(tmp_path, 4)
    assert names(chosen(tmp_path, 1).removed) == ["step-1"]
    pruning = chosen(tmp_path, 1, damaged=True)
    assert (names(pruning.removed), names(pruning.kept)) == (["step-1", "step-3", "step-4"], ["step-2"])


def test_if_none_verifies_nothing_is_removed(tmp_path: Path):
    write(tmp_path, 1, 2)
    damage_state(tmp_path, 1)
    damage_state(tmp_path, 2)
    with pytest.raises(CorruptCheckpointError, match="no checkpoint verifies"):
        chosen(tmp_path, 1, damaged=True)


def test_damaged_ones_alone_are_removed_if_that_is_all_that_is_asked_for(tmp_path: Path):
    write(tmp_path, 1, 2, 3)
    damage_record(tmp_path, 1)
    aside = set_aside(tmp_path, 3)
    pruning = chosen(tmp_path, damaged=True)
    assert names(pruning.removed) == ["damaged-step-3", "step-1"]
    remove(tmp_path, pruning)
    assert not aside.exists()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-2"]


def test_what_a_hook_wants_to_keep_stays(tmp_path: Path):
    write(tmp_path, 1, 2, 3)
    write(tmp_path, 4, hooks={"kept_steps": {"EarlyStopping": [2], "odd": [None, "3"], "more": 1}})
    assert names(chosen(tmp_path, 1).removed) == ["step-1", "step-3"]


def test_one_every_so_many_hours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoints = Checkpoints(tmp_path, keep_max=None)
    for step in range(6):
        monkeypatch.setattr("time.time", lambda step=step: 1e9 + 1800.0 * step)
        checkpoints.write(step, {}, {})
    assert names(chosen(tmp_path, 1, 1.0).removed) == ["step-0", "step-1", "step-3"]


def test_checkpoints_of_tensorflow_are_left_alone(tmp_path: Path):
    shutil.copytree(OLD / "name_based", tmp_path, dirs_exist_ok=True)
    with pytest.raises(NoCheckpointError, match="TensorFlow are left alone"):
        chosen(tmp_path, 1)
    write(tmp_path, 20, 30)
    pruning = chosen(tmp_path, 1)
    assert (names(pruning.removed), names(pruning.kept)) == (["step-20"], ["step-30"])


def test_nothing_is_removed_while_a_checkpoint_is_being_written(tmp_path: Path):
    path = write(tmp_path, 1, 2).path_of(1)
    remover = threading.Thread(target=remove, args=(tmp_path, chosen(tmp_path, 1)))
    with locked(path.parent, waits=True) as is_held:
        assert is_held
        remover.start()
        remover.join(0.2)
        assert path.exists()
    remover.join()
    assert not path.exists()


def test_what_the_disk_does_not_let_go_of_is_said(tmp_path: Path):
    write(tmp_path, 1, 2)
    pruning = chosen(tmp_path, 1)
    shutil.move(tmp_path / "checkpoints", tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="cannot be removed"):
        remove(tmp_path, pruning)
