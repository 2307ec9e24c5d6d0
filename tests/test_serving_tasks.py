"""A worker or a parameter server serves until the chief was there and is gone, and says who never came."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

import keras_estimator as ke
from keras_estimator.cluster import Task
from keras_estimator.engines.tensorflow import serving_tasks
from keras_estimator.engines.tensorflow.serving_tasks import await_end


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secs in {"_LOOK_EVERY_SECS": 0.01, "_REFUSED_SECS": 0.1, "_SILENT_SECS": 0.5, "_GRACE_SECS": 0.3}.items():
        monkeypatch.setattr(serving_tasks, name, secs)


def waited(answers: Iterator[str], *, asked_after: float = 1e9, patience: float = 5.0) -> float:
    began = time.monotonic()
    await_end(lambda: next(answers), lambda: time.monotonic() - began > asked_after, patience, "ps 0")
    return time.monotonic() - began


def answers(*given: tuple[str, float]) -> Iterator[str]:
    """Yield each answer for some seconds, and the last for ever."""
    for answer, secs in given:
        until = time.monotonic() + secs
        while time.monotonic() < until:
            yield answer
    while True:
        yield given[-1][0]


def test_it_ends_soon_after_a_chief_that_has_ended():
    assert waited(answers(("refused", 0.2), ("there", 0.2), ("refused", 0))) < 0.45 + 0.2


def test_a_network_that_is_down_for_a_moment_is_no_end():
    assert waited(answers(("there", 0.05), ("silent", 0.3), ("there", 0.2), ("silent", 0))) > 0.3 + 0.2 + 0.5


def test_a_chief_that_never_came_is_named():
    with pytest.raises(ke.WorkerLostError, match="did not start") as caught:
        waited(answers(("refused", 0)), patience=0.1)
    assert "ps 0" in caught.value.expected


def test_asked_to_end_it_waits_for_the_chief_to_save():
    assert 0.25 < waited(answers(("there", 0.25), ("refused", 0)), asked_after=0.01) < 0.6
    assert 0.3 < waited(answers(("there", 0)), asked_after=0.01) < 0.6  # not for ever
    assert waited(answers(("refused", 0)), asked_after=0.01) < 0.2  # for nobody


def test_a_chief_that_was_there_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch):
    task = Task("ps", 0, (("chief", ("127.0.0.1:1",)), ("ps", ("127.0.0.1:2",))))
    monkeypatch.setattr(serving_tasks, "_ended", {"127.0.0.1:1"})
    serving_tasks.serve(task, 100.0)


def test_one_server_serves_all_calls(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    task = Task("ps", 0, (("chief", ("127.0.0.1:1",)), ("ps", (address,))))
    monkeypatch.setattr(serving_tasks, "_servers", {})
    for _ in range(2):
        with pytest.raises(ke.WorkerLostError):
            serving_tasks.serve(task, 0.1)
    assert list(serving_tasks._servers) == [("ps", 0)]  # noqa: SLF001 - what is tested
