"""Waiting for others ends when all are there, or in time with who is missing."""

from __future__ import annotations

import logging

import pytest

from keras_estimator.engines.tensorflow import joining
from keras_estimator.errors import WorkerLostError


def test_it_waits_until_nobody_is_missing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(joining, "_LOOK_EVERY_SECS", 0.01)
    monkeypatch.setattr(joining, "_SAY_EVERY_SECS", 0.0)
    answers = [["worker 0", "worker 1"], ["worker 1"], []]
    with caplog.at_level(logging.INFO):
        joining.wait_for_all(lambda: answers.pop(0), "two", 60)
    assert not answers
    assert "waiting for worker 0, worker 1 since 0 s" in caplog.text


def test_who_did_not_come_is_named_in_time():
    with pytest.raises(WorkerLostError) as caught:
        joining.wait_for_all(lambda: ["worker 1"], "a chief and two workers", 0.3)
    assert caught.value.found == "no answer from worker 1 for 0 s"
    assert caught.value.expected == "a chief and two workers"


def test_a_process_that_was_late_is_told_what_to_move():
    assert "import keras_estimator" in joining.came_too_late("a cluster").fix
