"""A checkpoint is found by whatever a person calls it, ours or TensorFlow's, and read the same way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from written_checkpoints import OLD, damage_record, state_of, write

from keras_estimator.checkpoints_seen import all_checkpoints_in
from keras_estimator.errors import CorruptCheckpointError, NoCheckpointError
from keras_estimator.inspection.opened import Opened, open_checkpoint, open_seen


def opened(folder: Path, which: str | None) -> Opened:
    return open_checkpoint(folder, which, note=lambda text: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model_dir that began with tf.estimator and went on with ours."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(OLD / "object_based", folder, dirs_exist_ok=True)
    write(folder, 10, 20)
    return folder


@pytest.mark.parametrize("which", [None, "20", "step-20", "checkpoints/step-20", "{run}/checkpoints/step-20", "{run}"])
def test_one_of_ours_by_all_its_names(run: Path, which: str | None):
    found = opened(run, which and which.format(run=run))
    assert (found.path, found.step) == (run / "checkpoints" / "step-20", 20)
    assert found.names == ["kernel", "step", "words"]
    np.testing.assert_array_equal(found.read("kernel"), state_of(20)["kernel"])
    assert found.recorded["data"] == {"batches": 20}


@pytest.mark.parametrize("which", ["5", "model.ckpt-5", "{run}/model.ckpt-5.index"])
def test_one_of_tensorflow_by_all_its_names(run: Path, which: str):
    found = opened(run, which.format(run=run))
    assert (found.path, found.step) == (run / "model.ckpt-5", 5)
    assert found.full_names["layer_with_weights-0/kernel"] == "hidden/kernel"
    assert found.read("layer_with_weights-0/kernel").shape == (2, 3)
    assert found.recorded == {}


def test_of_one_step_ours_is_meant(run: Path):
    assert opened(run, "10").path.name == "step-10"


def test_every_one_that_is_seen_can_be_opened(run: Path):
    seen = all_checkpoints_in(run)
    assert [open_seen(one, note=lambda text: None).path for one in seen] == [one.path for one in seen]


@pytest.mark.parametrize("which", ["7", "step-7", "nothing", "9" * 18, "9" * 19, "٣"])
def test_what_is_not_there_is_an_error_that_names_what_is(run: Path, which: str, monkeypatch: pytest.MonkeyPatch):
    (run / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(run / "empty")
    with pytest.raises(NoCheckpointError) as raised:
        opened(run, which)
    assert raised.value.found == f"in {run}: model.ckpt-5, model.ckpt-10, 10, 20"


def test_one_without_its_files_is_damaged_and_not_missing(tmp_path: Path):
    write(tmp_path, 1, 2)
    damage_record(tmp_path, 2)
    shutil.rmtree(tmp_path / "checkpoints" / "step-1")
    (tmp_path / "checkpoints" / "step-1").mkdir()
    for which in ("1", "2", None):
        with pytest.raises(CorruptCheckpointError):
            opened(tmp_path, which)
