"""What lies in a model_dir is found, sized and checked from outside; what is no run is refused."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError
from keras_estimator.hooks.reporting import write_scalars
from keras_estimator.report.contents import last_points, look_at, lowest


def save(model_dir: Path, *steps: int, **metrics: float) -> None:
    for step in steps:
        Checkpoints(model_dir).write(step, {"w": np.zeros(1000, "float32")}, {"metrics": metrics})


def export(folder: Path, size: int = 10, name: str = "saved_model.pb") -> None:
    (folder / "variables").mkdir(parents=True)
    (folder / name).write_bytes(bytes(size))
    (folder / "variables" / "variables.index").write_bytes(bytes(5))


def test_checkpoints_are_listed_with_what_they_recorded(tmp_path: Path):
    save(tmp_path, 10, 20, loss=0.5, accuracy=math.nan)
    first, second = look_at(tmp_path).checkpoints
    assert (first.step, second.step) == (10, 20)
    assert first.problem == second.problem == ""
    assert second.metrics["loss"] == 0.5
    assert math.isnan(second.metrics["accuracy"])
    assert second.written_at == pytest.approx(time.time(), abs=60)
    assert 4000 < second.num_bytes < 8000


def test_what_can_be_seen_of_a_damaged_checkpoint_is_said(tmp_path: Path):
    save(tmp_path, 1, 2, 3, 4)
    folder = tmp_path / "checkpoints"
    os.truncate(folder / "step-1" / "state.safetensors", 100)
    (folder / "step-2" / "state.safetensors").unlink()
    (folder / "step-3" / "run.json").write_text("{}")
    (folder / "step-4").rename(folder / "step-5")
    problems = {seen.step: seen.problem for seen in look_at(tmp_path).checkpoints}
    assert "size" in problems[1]
    assert "size" in problems[2]
    assert "run.json" in problems[3]
    assert problems[5] == "it holds the state of step 4"


def test_exports_are_found_with_and_without_a_name(tmp_path: Path):
    export(tmp_path / "export" / "100")
    export(tmp_path / "export" / "best" / "200", size=20)
    export(tmp_path / "export" / "text" / "300", name="saved_model.pbtxt")
    export(tmp_path / "export" / "best" / "temp-400")
    (tmp_path / "export" / "best" / "500").mkdir()
    (tmp_path / "export" / "note.txt").write_text("")
    found = {seen.name: seen.num_bytes for seen in look_at(tmp_path).exports}
    assert found == {"100": 15, os.path.join("best", "200"): 25, os.path.join("text", "300"): 15}


def test_curves_are_there_by_what_they_are(tmp_path: Path):
    for step, loss in ((1, 3.0), (2, 1.0), (3, math.nan)):
        write_scalars(tmp_path / "train", step, {"loss": loss})
    write_scalars(tmp_path / "eval_a", 1, {"loss": 2.0})
    contents = look_at(tmp_path)
    training = contents.training()
    assert training is not None
    assert [folder.name for folder in contents.evaluations()] == ["eval_a"]
    assert last_points(training)["loss"][0] == 3
    assert lowest(training.curves["loss"]) == 2
    assert lowest({}) is None


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "other"])
def test_a_folder_without_a_run_is_refused_and_nothing_is_written(kind: str, tmp_path: Path):
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("")
    elif kind != "missing":
        path.mkdir()
    if kind == "other":
        (path / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match="there is no run in") as caught:
        look_at(path)
    expected = {"missing": "no such folder", "empty": "an empty folder", "file": "a file", "other": "in it: notes.txt"}
    assert caught.value.found == expected[kind]
    assert "keras-estimator report" in caught.value.fix
