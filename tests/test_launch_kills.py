"""Under `keras-estimator launch` any process may be killed at any moment: the run ends as one that was not killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import lean_processes
import pytest
from clusters import START, command

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import NoCheckpointError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc"),
]
MEMBERS = ("chief", "worker")
STEPS, NUM_KILLS = 60, 20
MOST_SECS_OF_A_START, MOST_SECS_OF_A_LAUNCH = 90, 600  # this machine may have other tests to run, too
# Wide, so that to save takes a good part of the time; slow, and not over before the last kill.
SCRIPT = (
    START
    + f"""
from pathlib import Path

class Pace(ke.Hook):
    cadence = ke.Cadence(every_steps=1)
    def begin(self, run):
        Path(sys.argv[2], f"trains-{{os.getpid()}}").touch()
    def after_steps(self, run):
        while not Path(sys.argv[2], "no-more-kills").exists():
            time.sleep(0.1)
            if run.step < {STEPS} - 10:
                break

keras.utils.set_random_seed(1)
made = dense(L.Dense(1000), L.Dropout(0.2), L.Dense(500))
estimator(made, save_checkpoints_steps=2).train(DATA, [Pace()], max_steps={STEPS})
"""
)


class Moment(NamedTuple):
    """When one process is killed: so many seconds after the group was started, or after both began to train."""

    is_of_training: bool
    secs: float
    member: str


def moments(seed: int, number: int) -> list[Moment]:
    """Draw moments: by turns of start-up and of waiting for each other, and of training and saving."""
    drawn = random.Random(seed)
    spans = [(0.2, 6.0), (0.0, 2.5)]
    return [Moment(bool(n % 2), drawn.uniform(*spans[n % 2]), drawn.choice(MEMBERS)) for n in range(number)]


def marked(folder: Path) -> dict[int, dict[str, str]]:
    """Return the environments of all processes that a launch has started, whatever session they are in."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines = (each / "environ").read_bytes().decode(errors="replace").split("\0")
            if f"LAUNCHED_IN={folder}" in lines:
                found[int(each.name)] = dict(line.partition("=")[::2] for line in lines)
    return found


def group_of(folder: Path) -> dict[str, int]:
    """Return the members that are there, by type."""
    tasks = {pid: environment.get("TF_CONFIG") for pid, environment in marked(folder).items()}
    return {json.loads(text)["task"]["type"]: pid for pid, text in tasks.items() if text}


@contextlib.contextmanager
def launched(folder: Path, restarts: int) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "script.py").write_text(SCRIPT)
    given = command(folder / "script.py", folder / "run", folder, restarts=restarts)
    environment = lean_processes.environment(LAUNCHED_IN=str(folder))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(given, stdout=log, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def said(folder: Path, last: int = 60) -> str:
    return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-last:])


def until(condition: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + MOST_SECS_OF_A_START
    while not condition():
        assert time.monotonic() < end, said(folder)
        time.sleep(0.02)


def newest_of_whole(folder: Path) -> int:
    """Read every checkpoint that is there, with its checksums; return the step of the newest."""
    checkpoints, step = Checkpoints(folder / "run"), 0
    for checkpoint in checkpoints.list():
        with contextlib.suppress(NoCheckpointError):  # one that is removed meanwhile, as it is old
            step = checkpoints.read(checkpoint).step
    return step


def writes(folder: Path, since: float) -> bool:
    """Say whether the group that is there since that time writes a checkpoint; half of an older one may lie there."""
    with contextlib.suppress(FileNotFoundError):
        return any(each.stat().st_mtime > since for each in (folder / "run" / "checkpoints").glob(".*"))
    return True  # it has just got its name


def kill(moment: Moment, folder: Path, before: set[int]) -> tuple[set[int], str]:
    """Wait for the moment in the life of the next group, and kill; return who was in it and what it was doing."""

    def is_there() -> bool:
        return len(set(group_of(folder).values()) - before) == len(MEMBERS)

    def trains() -> bool:
        return all((folder / f"trains-{pid}").exists() for pid in group.values())

    until(is_there, folder)
    group, since = group_of(folder), time.time()
    if moment.is_of_training:
        until(trains, folder)
    time.sleep(moment.secs)
    phase = "saving" if writes(folder, since) else "training" if trains() else "starting"
    os.kill(group[moment.member], signal.SIGKILL)
    return set(group.values()), phase


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "no-more-kills").touch()
    with launched(folder, 0) as process:
        assert process.wait(MOST_SECS_OF_A_LAUNCH) == 0, said(folder)
    return folder


@pytest.mark.timeout(MOST_SECS_OF_A_LAUNCH + 200)
def test_a_run_that_is_killed_twenty_times_ends_as_one_that_was_not(tmp_path: Path, undisturbed: Path):
    began, before, doing, steps = time.monotonic(), set[int](), list[str](), [0]
    with launched(tmp_path, NUM_KILLS) as process:
        for moment in moments(1, NUM_KILLS):
            group, phase = kill(moment, tmp_path, before)
            before |= group
            doing.append(phase)
            steps.append(newest_of_whole(tmp_path))
        (tmp_path / "no-more-kills").touch()
        assert process.wait(MOST_SECS_OF_A_START) == 0, said(tmp_path)
    assert time.monotonic() - began < MOST_SECS_OF_A_LAUNCH
    assert f"restart {NUM_KILLS} of {NUM_KILLS}" in (tmp_path / "log").read_text(errors="replace")
    assert {"starting", "training"} <= set(doing)  # the moments are spread, or this shows too little
    assert steps == sorted(steps)  # what was saved is not lost
    assert marked(tmp_path) == {}
    assert newest_of_whole(tmp_path) == STEPS
    assert [each for each in (tmp_path / "run").rglob("*") if re.search(r"^\.|temp|tmp", each.name)] == []
    folders = [Checkpoints(folder / "run") for folder in (tmp_path, undisturbed)]
    assert [each.step for each in folders[0].list()] == [each.step for each in folders[1].list()]
    found = [checkpoints.read(STEPS) for checkpoints in folders]
    assert found[0].state.keys() == found[1].state.keys()
    assert all(found[0].state[path].tobytes() == value.tobytes() for path, value in found[1].state.items())
