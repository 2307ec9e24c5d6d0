"""Checkpoints are looked at from outside: all of a folder are found, and what is plainly wrong is said."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from written_checkpoints import OLD, damage_record, damage_state, set_aside, write

from keras_estimator.checkpoints_seen import all_checkpoints_in


def test_a_checkpoint_tells_its_step_time_size_and_metrics(tmp_path: Path):
    path = write(tmp_path, 9).path_of(9)
    [seen] = all_checkpoints_in(tmp_path)
    assert (seen.step, seen.path, seen.problem) == (9, path, "")
    assert seen.metrics == {"loss": 0.1, "accuracy": 0.009}
    assert seen.num_bytes == sum(file.stat().st_size for file in path.iterdir())
    assert seen.written_at is not None
    assert abs(seen.written_at - path.stat().st_mtime) < 60


def test_what_is_seen_from_outside_is_said_and_what_is_not_is_not(tmp_path: Path):
    write(tmp_path, 1, 2, 3, 4)
    damage_record(tmp_path, 1)
    damage_state(tmp_path, 2)
    (tmp_path / "checkpoints" / "step-3" / "state.safetensors").write_bytes(b"short")
    (tmp_path / "checkpoints" / "step-4").rename(tmp_path / "checkpoints" / "step-5")
    assert [one.problem for one in all_checkpoints_in(tmp_path)] == [
        "run.json does not end with the SHA-256 of what stands before it",
        "",
        "state.safetensors does not have the size that was written",
        "it holds the state of step 4",
    ]


def test_all_of_a_folder_are_found_with_ours_last(tmp_path: Path):
    shutil.copytree(OLD / "name_based", tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.ckpt-10.data-00000-of-00001").unlink()
    write(tmp_path, 30, 4, 200)
    aside = set_aside(tmp_path, 200)
    first, *rest = all_checkpoints_in(tmp_path)
    assert (first.step, first.path, first.is_aside) == (200, aside, True)
    assert first.problem == "set aside: its state is not what was written"
    assert [(one.step, one.is_tensorflows) for one in rest] == [(5, True), (10, True), (4, False), (30, False)]
    assert (rest[0].problem, rest[0].num_bytes) == ("", 276 + 823)
    assert "none of its shards" in rest[1].problem
    assert all_checkpoints_in(tmp_path / "missing") == []


def test_one_that_is_being_replaced_is_never_called_damaged(tmp_path: Path):
    program = """
import itertools, sys, numpy as np
from keras_estimator.checkpoints import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
for number in itertools.count():
    checkpoints.write(7, {"a": np.zeros(1 + number % 2)}, {})
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as writer:
        try:
            while not (tmp_path / "checkpoints" / "step-7").exists():
                assert writer.poll() is None
                time.sleep(0.01)
            until = time.monotonic() + 2
            while time.monotonic() < until:
                assert [one.problem for one in all_checkpoints_in(tmp_path) if one.problem] == []
            assert writer.poll() is None
        finally:
            writer.kill()
