"""A training may be killed anywhere: the same command again ends with the same bits, each example consumed as often."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from failing_disk import AFTER, HALFWAY, needs_a_compiler
from fork_server import KINDS, STEPS, Killer, killing, newest_of_whole, what_was_lost

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_a_compiler]
LAST_WORDS = "rename */checkpoints/@(.replaced-step-240|step-240/run.json)"
# Each is met in one process after the other: `at` counts the calls of that process.
POINTS: dict[str, dict[str, Any]] = {
    "before anything is written": {"pattern": "mkdir */checkpoints"},
    "before a checkpoint is written": {"pattern": "mkdir */.writing-step-*", "at": 2},
    "in the middle of its state": {"pattern": "write */.writing-step-*/*", "at": 3, "moment": HALFWAY},
    "in the middle of what is said about it": {"pattern": "write */run.json", "at": 2, "moment": HALFWAY},
    "before it is on the disk": {"pattern": "fsync */.writing-step-*/state.safetensors", "at": 2},
    "when it is on the disk but has no name": {"pattern": "rename */checkpoints/step-*", "at": 2},
    "when it has its name": {"pattern": "rename */checkpoints/step-*", "at": 2, "moment": AFTER},
    "before an old one is removed": {"pattern": "remove */.removing-step-*", "at": 3},
    "when half of an old one is removed": {"pattern": "remove */.removing-step-*", "at": 4, "moment": AFTER},
    "in an evaluation": {},
    "before an evaluation is written down": {"pattern": "write */eval/events*", "at": 2},
    "after that": {"pattern": "write */eval/events*", "at": 2, "moment": AFTER},
    "when an export begins": {"pattern": "mkdir */export/best/*"},
    "in an export": {"pattern": "open-to-write */export/best/*", "at": 3},
    "before an export has its name": {"pattern": "rename */export/best/*[0-9]"},
    "when an export has its name": {"pattern": "rename */export/best/*[0-9]", "moment": AFTER},
    "in the last export": {"pattern": "mkdir */export/final/*", "moment": AFTER},
    "before the last checkpoint has its name": {"pattern": "rename */checkpoints/step-240"},
    "when it says that nothing comes after it": {"pattern": LAST_WORDS},
}


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with killing() as killer:
        yield killer


def test_at_every_named_point(killer: Killer):
    kind = "evaluated and exported"
    newest = None
    for name, strikes in POINTS.items():
        given = {"strikes": {**strikes, "signal": signal.SIGKILL}} if strikes else {"dies_in_evaluation": True}
        status = killer.server.run(killer.run, **given, **KINDS[kind])
        assert status == -signal.SIGKILL, f"{name}: {killer.said()}"
        what_was_lost(killer.run, newest)
        newest = newest_of_whole(killer.run)
    killer.end(kind)


def test_at_forty_random_moments(killer: Killer):
    kills = killer.kill_at_random(40, seed=1)
    phases = Counter(kill.phase for kill in kills)
    assert {"starting", "training"} <= phases.keys(), phases  # the moments are spread, or this shows too little


DURING_A_SAVE = "fsync */.writing-step-*/state.safetensors"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_during_a_save_ends_it_after_the_step_with_a_checkpoint(killer: Killer, number: int, status: int):
    assert killer.server.run(killer.run, strikes={"pattern": DURING_A_SAVE, "at": 4, "signal": number}) == status
    step = what_was_lost(killer.run, None)
    assert newest_of_whole(killer.run) == step
    assert 15 <= step < STEPS / 2
    killer.end("arrays")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once_and_the_checkpoint_under_way_is_whole(killer: Killer, number: int):
    strikes = {"pattern": "fsync */.writing-step-17/state.safetensors", "signal": number}
    assert killer.server.run(killer.run, asked_to_end_at=17, strikes=strikes) == -signal.SIGINT, killer.said()
    assert "KeyboardInterrupt" in killer.said()
    assert "trained to step" not in killer.said()
    assert newest_of_whole(killer.run) == what_was_lost(killer.run, None) == 17
    killer.end("arrays")
