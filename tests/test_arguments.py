"""What the methods of an Estimator are given is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

import keras_estimator as ke
from keras_estimator.arguments import check_steps, existing, renamed, with_model_dir


def test_the_folder_may_stand_in_either_place_but_not_two_in_two(tmp_path: Path) -> None:
    assert with_model_dir(ke.RunConfig(), tmp_path).model_dir == str(tmp_path)
    assert with_model_dir(ke.RunConfig(tmp_path), None).model_dir == str(tmp_path)
    assert with_model_dir(ke.RunConfig(tmp_path), tmp_path).model_dir == str(tmp_path)
    with pytest.raises(ke.ConfigError, match="two folders"):
        with_model_dir(ke.RunConfig(tmp_path), tmp_path / "other")


def test_without_a_folder_a_temporary_one_is_made_and_said(caplog) -> None:
    caplog.set_level("INFO", "keras_estimator")
    folder = Path(with_model_dir(ke.RunConfig(), None).model_dir)
    assert folder.is_dir()
    assert str(folder) in caplog.text
    folder.rmdir()


def test_steps_are_checked() -> None:
    check_steps(None, None)
    check_steps(3, None)
    check_steps(None, 3)
    for steps in ((1, 1), (0, None), (None, 0), (-1, None)):
        with pytest.raises(ke.ConfigError):
            check_steps(*steps)


def test_a_path_must_exist(tmp_path: Path) -> None:
    assert existing(str(tmp_path)) == tmp_path
    with pytest.raises(ke.NoCheckpointError, match="no such checkpoint"):
        existing(tmp_path / "nowhere")


def test_metrics_are_renamed_one_to_one() -> None:
    metrics = {"loss": 1.0, "mae": 2.0}
    assert renamed(metrics, {}) == metrics
    assert renamed(metrics, {"mae": "error"}) == {"loss": 1.0, "error": 2.0}
    for wrong in ({"acc": "a"}, {"mae": "a", "acc": "b"}):
        with pytest.raises(ke.ConfigError, match="metric_names_map"):
            renamed(metrics, wrong)
