"""`keras-estimator checkpoints` does what it is asked for, on real runs, at once and while one is being written."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from written_checkpoints import OLD, damage_state, write

import keras_estimator as ke
from keras_estimator.errors import CheckpointError, ConfigError, NoCheckpointError
from keras_estimator.inspection.command import Asked, run_checkpoints


def asked(folder: Path, action: str = "list", *which: str, **options: Any) -> tuple[int, list[str]]:
    said: list[str] = []
    status = run_checkpoints(Asked(folder, action, which, **options), said.append, lambda text: None)
    return status, said


def answer(folder: Path, action: str = "list", *which: str, **options: Any) -> Any:
    _, [text] = asked(folder, action, *which, format="json", **options)
    return json.loads(text)


def command(*arguments: str | Path, at: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "keras_estimator.cli", "checkpoints", *map(str, arguments)]
    return subprocess.run(program, cwd=at, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model_dir of a run that has finished."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")], name="line")
    model.compile("sgd", "mse")
    folder = tmp_path_factory.mktemp("run")
    config = ke.RunConfig(model_dir=folder, save_checkpoints_steps=2, plan="graph")
    x = np.ones((8, 2), np.float32)
    ke.model_to_estimator(model, config=config).train((x, x[:, :1]), max_steps=4)
    return folder


def test_a_run_is_listed_shown_compared_and_verified(run: Path):
    listed = answer(run)["checkpoints"]
    assert [one["step"] for one in listed] == [0, 2, 4]
    assert listed[-1]["metrics"].keys() == {"loss"}
    shown = answer(run, "show")
    kernel = next(array for array in shown["arrays"] if array["name"] == "dense/kernel")
    assert (shown["step"], kernel["shape"], kernel["dtype"]) == (4, [2, 1], "float32")
    assert shown["recorded"]["plan"] == "graph"
    differing = {array["name"] for array in answer(run, "diff", "2", "4")["arrays"]}
    assert {"dense/kernel", "dense/bias", "optimizer/iterations"} <= differing
    assert asked(run, "diff", "4", "4")[0] == 0
    assert asked(run, "diff", "2", "4")[0] == 1
    status, lines = asked(run, "verify")
    assert (status, lines[-1]) == (0, "3 checkpoints read, none damaged")


def test_verify_finds_what_is_damaged(tmp_path: Path):
    write(tmp_path, 1, 2, 3)
    damage_state(tmp_path, 2)
    status, [first, second, third, total] = asked(tmp_path, "verify")
    assert (status, total) == (1, "3 checkpoints read, 1 damaged")
    assert ": whole (" in first
    assert "step-2: damaged: state.safetensors does not have the size and SHA-256 that run.json names" in second
    assert ": whole (" in third
    assert asked(tmp_path, "verify", "1", "3")[0] == 0
    assert [one["problem"] != "" for one in answer(tmp_path, "verify")["checkpoints"]] == [False, True, False]
    with pytest.raises(CheckpointError, match="cannot be trusted"):
        asked(tmp_path, "show", "2")


def test_checkpoints_of_tensorflow_are_inspected_like_ours(tmp_path: Path):
    folder = OLD / "object_based"
    assert [one["step"] for one in answer(folder)["checkpoints"]] == [5, 10]
    names = {array["full_name"]: array["name"] for array in answer(folder, "show")["arrays"]}
    assert names["hidden/kernel"] == "layer_with_weights-0/kernel"
    assert asked(folder, "verify")[0] == 0
    write(tmp_path, 10)
    status, lines = asked(tmp_path, "diff", "10", str(OLD / "name_based" / "model.ckpt-10"))
    assert status == 1
    assert any("only in A: float32 (2, 3)" in line for line in lines)


def test_prune_removes_unless_it_is_dry(tmp_path: Path):
    write(tmp_path, 1, 2, 3)
    dry = answer(tmp_path, "prune", keep=1, dry_run=True)
    assert [one["step"] for one in dry["removed"]] == [1, 2]
    assert len(answer(tmp_path)["checkpoints"]) == 3
    asked(tmp_path, "prune", keep=1)
    assert [one["step"] for one in answer(tmp_path)["checkpoints"]] == [3]


@pytest.mark.parametrize(
    ("action", "which", "options", "fix"),
    [
        ("300", [], {}, "show 300"),
        ("shwo", [], {}, "list"),
        ("diff", ["1"], {}, "diff 200 300"),
        ("list", ["1"], {}, "list"),
        ("show", ["1", "2"], {}, "show 300"),
        ("show", [], {"format": "xml"}, "show --format text"),
        ("prune", [], {}, "prune --keep 5 --dry-run"),
        ("prune", [], {"damaged": True, "keep_every_n_hours": 1.0}, "prune --keep 5 --dry-run"),
        ("prune", [], {"keep": 1, "keep_every_n_hours": 0.0}, "prune --keep 5 --dry-run"),
        ("verify", [], {"dry_run": True}, "verify"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_read(
    action: str, which: list[str], options: dict[str, Any], fix: str
):
    with pytest.raises(ConfigError) as raised:
        asked(Path("nowhere"), action, *which, **options)
    assert raised.value.fix == f"keras-estimator checkpoints nowhere {fix}"


def test_a_folder_without_checkpoints_is_an_error_that_says_what_is_in_it(tmp_path: Path):
    write(tmp_path / "run", 1)
    (tmp_path / "empty").mkdir()
    for folder, found in ((tmp_path / "empty", "an empty folder"), (tmp_path, "in it: empty, run")):
        for action in ("list", "verify"):
            with pytest.raises(NoCheckpointError) as raised:
                asked(folder, action)
            assert raised.value.found == found
    with pytest.raises(NoCheckpointError) as inside:
        asked(tmp_path / "run" / "checkpoints")
    assert inside.value.fix == f"keras-estimator checkpoints {tmp_path / 'run'}"
    with pytest.raises(ConfigError, match="there is no folder"):
        asked(tmp_path / "missing")


def test_the_command_ends_with_a_status_and_no_traceback(tmp_path: Path):
    write(tmp_path / "run", 1, 2)
    done = command("run", at=tmp_path)
    assert (done.stdout.splitlines()[0].split()[0], done.returncode, done.stderr) == ("step", 0, "")
    missing = command("run", "show", "\x1b[2J3", at=tmp_path)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("NoCheckpointError: there is no checkpoint \\x1b[2J3\n  found:    in run: 1, 2\n")
    too_long = command("run", "show", "x" * 5000, at=tmp_path)
    assert (too_long.returncode, "Traceback" in too_long.stderr) == (2, False)
    pruned = command("run", "prune", "--keep", "1", at=tmp_path)
    assert (pruned.returncode, pruned.stderr) == (0, "verifying step 2\n")


def test_our_own_checkpoints_need_no_keras(tmp_path: Path):
    write(tmp_path, 1)
    program = (
        "import sys; from keras_estimator.cli import app; app(['checkpoints', '.', 'show'], standalone_mode=False);"
        "print({'keras', 'tensorflow', 'tensorboard'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("\nset()\n"), done.stderr


def test_a_run_that_is_being_written_is_never_called_damaged(tmp_path: Path):
    """The writer replaces steps and removes old ones while this looks, reads and prunes."""
    program = """
import itertools, sys, numpy as np
from keras_estimator.checkpoints import Checkpoints
checkpoints = Checkpoints(sys.argv[1], keep_max=3)
for number in itertools.count():
    size = 1000 * (number % 3 + 1)
    checkpoints.write(number // 2, {"a": np.full(size, number, np.float32)}, {"metrics": {"loss": float(number)}})
"""
    early = {f"step-{step}" for step in range(5)}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as writer:
        try:
            while {folder.name for folder in tmp_path.glob("checkpoints/step-*")} <= early:
                assert writer.poll() is None
                time.sleep(0.01)
            for _ in range(30):
                assert [one["problem"] for one in answer(tmp_path)["checkpoints"] if one["problem"]] == []
                assert asked(tmp_path, "verify")[0] == 0
                asked(tmp_path, "show")
                pruned = answer(tmp_path, "prune", keep=1, damaged=True)
                assert [one["problem"] for one in pruned["removed"] if one["problem"]] == []
            assert writer.poll() is None
        finally:
            writer.kill()
