"""A checkpoint is whole or absent; a damaged one is never used and never passed over in silence."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_estimator.checkpoints import Checkpoint, Checkpoints
from keras_estimator.errors import CheckpointError, CorruptCheckpointError, EstimatorWarning, NoCheckpointError


def state_of(step: int) -> dict[str, Any]:
    return {"kernel": np.full((2, 3), step, np.float32), "step": np.int64(step)}


def write(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        checkpoints.write(step, state_of(step), {"plan": "graph"})


def steps_in(checkpoints: Checkpoints) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints.list()]


def damage(folder: Path) -> None:
    file = folder / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def test_what_is_written_is_read_by_step_by_folder_and_as_the_newest(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.write(20, state_of(20), {"plan": "graph", "data": {"batch": 3}})
    assert path == tmp_path / "checkpoints" / "step-20"
    elsewhere = Checkpoints(tmp_path / "other_model_dir")
    for restored in (
        checkpoints.read(20),
        elsewhere.read(path),
        elsewhere.read(str(path)),
        checkpoints.newest_readable(),
    ):
        assert restored is not None
        assert (restored.step, restored.path, restored.run) == (20, path, {"plan": "graph", "data": {"batch": 3}})
        np.testing.assert_array_equal(restored.state["kernel"], state_of(20)["kernel"])


def test_a_folder_holds_its_two_files_and_nothing_lies_beside_it(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep_max=1)
    write(checkpoints, 1, 2, 2)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-2"]
    assert sorted(path.name for path in (checkpoints.folder / "step-2").iterdir()) == ["run.json", "state.safetensors"]


def test_they_are_listed_by_step_and_foreign_things_are_not(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    assert (checkpoints.list(), checkpoints.latest(), checkpoints.newest_readable()) == ([], None, None)
    write(checkpoints, 100, 9, 0)
    for name in ("step-007", "step--1", "step-1x", "backup", "step-99999999999999999999"):
        (checkpoints.folder / name).mkdir()
    (checkpoints.folder / "step-5").write_text("a file")
    assert steps_in(checkpoints) == [0, 9, 100]
    assert checkpoints.latest() == Checkpoint(100, checkpoints.folder / "step-100")


def test_the_same_step_is_replaced(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 3)
    checkpoints.write(3, {"other": np.zeros(1)}, {})
    assert list(checkpoints.read(3).state) == ["other"]


def test_one_that_is_not_there_is_named_with_those_that_are(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(NoCheckpointError, match="no checkpoint of step 5") as caught:
        checkpoints.read(5)
    assert caught.value.fix == "call train first"
    write(checkpoints, 10, 20)
    with pytest.raises(NoCheckpointError) as caught:
        checkpoints.read(5)
    assert caught.value.found.endswith("steps 10, 20")
    with pytest.raises(NoCheckpointError):
        checkpoints.read(tmp_path / "nowhere")
    with pytest.raises(NoCheckpointError):
        checkpoints.read("a\0b")


def test_a_damaged_one_is_passed_over_loudly(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 1, 2, 3, 4)
    damage(checkpoints.folder / "step-4")
    (checkpoints.folder / "step-3" / "run.json").unlink()
    with pytest.warns(EstimatorWarning, match="going back to step 2") as caught:
        restored = checkpoints.newest_readable()
    assert restored is not None
    assert restored.step == 2
    text = str(caught[0].message)
    assert f"{checkpoints.folder / 'step-4'}: state.safetensors does not have the size and SHA-256" in text
    assert f"{checkpoints.folder / 'step-3'}: run.json cannot be read: No such file" in text
    with pytest.raises(CorruptCheckpointError):
        checkpoints.read(4)


def test_if_none_can_be_trusted_the_run_does_not_begin_anew(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 1, 2)
    damage(checkpoints.folder / "step-1")
    damage(checkpoints.folder / "step-2")
    with pytest.raises(CorruptCheckpointError, match="none of the checkpoints") as caught:
        checkpoints.newest_readable()
    assert caught.value.found.count("state.safetensors") == 2


def test_a_damaged_one_is_replaced_when_its_step_comes_again(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 1, 2)
    damage(checkpoints.folder / "step-2")
    write(checkpoints, 2)
    restored = checkpoints.newest_readable()
    assert restored is not None
    assert restored.step == 2


def test_one_under_the_name_of_another_is_refused(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 1)
    shutil.copytree(checkpoints.folder / "step-1", checkpoints.folder / "step-2")
    shutil.copytree(checkpoints.folder / "step-1", tmp_path / "my best one")
    with pytest.raises(CorruptCheckpointError, match="the name of another one"):
        checkpoints.read(2)
    assert checkpoints.read(tmp_path / "my best one").step == 1


@pytest.mark.parametrize(("keep_max", "kept"), [(2, [3, 4]), (1, [4]), (9, [0, 1, 2, 3, 4]), (0, None), (None, None)])
def test_only_the_newest_are_kept(tmp_path: Path, keep_max: int | None, kept: list[int] | None):
    checkpoints = Checkpoints(tmp_path, keep_max=keep_max)
    write(checkpoints, *range(5))
    assert steps_in(checkpoints) == (kept or [0, 1, 2, 3, 4])


def test_what_was_just_written_and_what_is_protected_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoints = Checkpoints(tmp_path, keep_max=1)
    write(checkpoints, 8, 9)
    write(checkpoints, 5)  # after going back from a damaged step 9
    assert steps_in(checkpoints) == [5, 9]
    monkeypatch.chdir(tmp_path)
    checkpoints.write(10, state_of(10), {}, protected=["checkpoints/step-5"])
    assert steps_in(checkpoints) == [5, 10]


def test_one_every_so_many_hours_is_kept_for_good_also_after_restarts(tmp_path: Path):
    gap = 0.2
    for step in range(9):  # a new object each time stands for a new process
        write(Checkpoints(tmp_path, keep_max=1, keep_every_n_hours=2.5 * gap / 3600), step)
        time.sleep(gap)
    kept = steps_in(Checkpoints(tmp_path))
    assert kept[-1] == 8
    # Written 0.2 s apart and a little more; one every 0.5 s: about every third, never two in a row, never none.
    assert 2 <= len(kept[:-1]) <= 4
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(kept[:-1]))
    assert kept[0] in (1, 2, 3)


def test_without_hours_none_is_kept_for_good(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep_max=1, keep_every_n_hours=None)
    write(checkpoints, 1, 2, 3)
    assert steps_in(checkpoints) == [3]


KILLED = """
import os, random, signal, sys, time
import numpy as np
from keras_estimator.checkpoints import Checkpoints

model_dir, first = sys.argv[1], int(sys.argv[2])
dice = random.Random(first)
checkpoints = Checkpoints(model_dir, keep_max=2)
secs = time.monotonic()
checkpoints.write(0, {"a": np.zeros(20_000)}, {})
secs = time.monotonic() - secs
for round in range(15):
    child = os.fork()
    if not child:
        step = first
        while True:  # each step twice: the second time it replaces a checkpoint
            step += 1
            checkpoints.write(step // 2, {"a": np.full(20_000, step // 2)}, {})
    time.sleep(dice.uniform(0, 6 * secs))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    restored = Checkpoints(model_dir).newest_readable()
    latest = Checkpoints(model_dir).latest()
    if restored is not None:
        assert restored.path == latest.path and (restored.state["a"] == restored.step).all()
        assert restored.step >= first // 2, (restored.step, first)
        first = 2 * restored.step
checkpoints.write(10**6, {"a": np.zeros(1)}, {})
assert all(name.startswith("step-") for name in os.listdir(checkpoints.folder)), os.listdir(checkpoints.folder)
print("last step", first // 2)
"""


def test_a_writer_may_be_killed_at_any_moment(tmp_path: Path):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", KILLED, str(tmp_path), "0"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 0


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_whenever_a_replacement_is_cut_off_one_of_the_two_is_there(tmp_path: Path, place: str):
    checkpoints = Checkpoints(tmp_path, keep_max=2)
    write(checkpoints, 1, 2)
    old, aside, new = (checkpoints.folder / name for name in ("step-2", ".replaced-step-2", ".writing-step-2"))
    shutil.copytree(old, new)
    if place != "before":
        old.rename(aside)
    if place == "after":
        new.rename(old)
    restored = checkpoints.newest_readable()
    assert restored is not None
    assert restored.step == 2
    write(checkpoints, 3)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-2", "step-3"]


def test_what_a_killed_writer_left_is_cleared_at_the_next_write(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 1)
    for name in (".writing-step-5", ".removing-step-0"):
        shutil.copytree(checkpoints.folder / "step-1", checkpoints.folder / name)
    (checkpoints.folder / ".not-ours").mkdir()
    assert steps_in(checkpoints) == [1]
    write(checkpoints, 2)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        ".not-ours",
        "step-1",
        "step-2",
    ]


def test_a_reader_beside_a_writer_never_sees_a_broken_one(tmp_path: Path):
    writer, reader = Checkpoints(tmp_path, keep_max=1), Checkpoints(tmp_path)
    write(writer, 0)
    is_over = threading.Event()

    def keep_writing() -> None:
        for step in range(1, 60):
            write(writer, step // 3)  # every step three times: twice it is replaced
        is_over.set()

    thread = threading.Thread(target=keep_writing)
    thread.start()
    newest = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while not is_over.is_set():
            restored = reader.newest_readable()
            assert restored is not None
            assert (restored.state["step"], restored.step >= newest) == (restored.step, True)
            newest = restored.step
    thread.join()
    assert newest > 0


DISK_FULL = """
import os, resource, sys
import numpy as np
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CheckpointError

checkpoints = Checkpoints(sys.argv[1])
checkpoints.write(1, {"a": np.zeros(1000)}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    checkpoints.write(2, {"a": np.zeros(100_000)}, {})
except CheckpointError as error:
    print(error)
assert os.listdir(checkpoints.folder) == ["step-1"], os.listdir(checkpoints.folder)
assert checkpoints.newest_readable().step == 1
"""


def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing_half_written(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", DISK_FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the checkpoint of step 2 cannot be written\n")
    assert "File too large" in done.stdout


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path):
    (tmp_path / "checkpoints").write_text("a file is in the way")
    with pytest.raises(CheckpointError, match="step 1 cannot be written"):
        write(Checkpoints(tmp_path), 1)


def test_a_state_that_cannot_be_stored_leaves_nothing_behind(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be stored"):
        checkpoints.write(1, {"a": np.array([object()])}, {})
    with pytest.raises(TypeError):
        checkpoints.write(1, {}, {"not JSON": object()})
    assert list(checkpoints.folder.iterdir()) == []


def test_a_checkpoint_of_the_first_format_can_be_read():
    """If this fails the format has changed: give it a new number, and keep reading this one."""
    restored = Checkpoints(Path(__file__).parent / "data" / "model_dir_of_format_1").newest_readable()
    assert restored is not None
    assert (restored.step, restored.run) == (3, {"plan": "graph", "metrics": {"loss": 0.5}})
    assert restored.state["words"].tolist() == [b"one", b"two"]
    np.testing.assert_array_equal(restored.state["kernel"], np.arange(6, dtype=np.float32).reshape(2, 3))
