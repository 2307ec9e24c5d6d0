"""The checkpoints of the best evaluations stay, also after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted_evaluations import estimator, train

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError

#          0    1    2    3    4    5    6    7    8    9
LOSSES = [9.0, 5.0, 1.0, 4.0, 2.0, 8.0, 8.0, 8.0, 8.0, 8.0, 0.5, *([8.0] * 40)]


def kept(folder: Path) -> list[int]:
    return [each.step for each in Checkpoints(folder).list()]


def test_the_best_ones_stay_beside_the_newest(tmp_path: Path):
    train(estimator(tmp_path, LOSSES, keep_checkpoint_max=2), ke.KeepBest(number=2), max_steps=9)
    assert kept(tmp_path) == [2, 4, 5, 9]


def test_a_run_that_is_started_again_keeps_them_until_better_ones_come(tmp_path: Path):
    train(estimator(tmp_path, LOSSES, keep_checkpoint_max=1), ke.KeepBest(number=2), max_steps=7)
    assert kept(tmp_path) == [2, 4, 7]
    train(estimator(tmp_path, LOSSES, keep_checkpoint_max=1), ke.KeepBest(number=2), max_steps=9)
    assert kept(tmp_path) == [2, 4, 9]
    train(estimator(tmp_path, LOSSES, keep_checkpoint_max=1), ke.KeepBest(number=2), max_steps=14)
    assert kept(tmp_path) == [2, 10, 14]


def test_higher_may_be_better(tmp_path: Path):
    train(estimator(tmp_path, LOSSES, keep_checkpoint_max=1), ke.KeepBest(mode="max"), max_steps=4)
    assert kept(tmp_path) == [1, 4]


def test_what_it_cannot_watch_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="KeepBest does not know which evaluation to watch"):
        train(estimator(tmp_path), ke.KeepBest(eval_name="valid"), name="test")
    with pytest.raises(ConfigError, match="no such metric"):
        train(estimator(tmp_path), ke.KeepBest("accuracy"))
    for number in (0, -1, True, 1.5):
        with pytest.raises(ConfigError, match="`number`"):
            ke.KeepBest(number=number)  # type: ignore[arg-type]  # what is tested
