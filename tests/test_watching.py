"""A hook follows the evaluation that it was told to follow, or the only one."""

from __future__ import annotations

import pytest

from keras_estimator.errors import ConfigError
from keras_estimator.hooks.hook import Evaluation
from keras_estimator.hooks.watching import Watched


def news(watcher: Watched, *evaluations: tuple[int, str]) -> list[tuple[int, str]]:
    return [(step, name) for step, name in evaluations if watcher.is_news(Evaluation(step, name, {}))]


def test_one_that_was_made_again_is_no_news():
    assert news(Watched("EarlyStopping", None), (1, ""), (2, ""), (2, ""), (1, ""), (3, "")) == [
        (1, ""),
        (2, ""),
        (3, ""),
    ]


@pytest.mark.parametrize(
    ("wanted", "names", "watched"),
    [(None, ["valid"], "valid"), (None, ["valid", ""], ""), ("test", ["valid", "test"], "test")],
)
def test_it_follows_one(wanted: str | None, names: list[str], watched: str):
    watcher = Watched("EarlyStopping", wanted)
    watcher.choose(names)
    assert news(watcher, (1, "other"), (1, watched)) == [(1, watched)]


@pytest.mark.parametrize(("wanted", "names"), [(None, ["a", "b"]), ("c", ["a", "b"]), ("", ["a"])])
def test_one_that_is_not_there_is_told(wanted: str | None, names: list[str]):
    with pytest.raises(ConfigError, match="does not know which evaluation to watch"):
        Watched("EarlyStopping", wanted).choose(names)
