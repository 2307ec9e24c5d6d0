"""Trainings that are killed by the dozen, forked by one process that has imported Keras: that takes seconds."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import failing_disk
import lean_processes

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.hooks.reporting import read_scalars

PASSES, STEPS, INTERVAL = 30, 240, 5  # passes over the data, steps of them, and between checkpoints
KINDS: dict[str, dict[str, Any]] = {
    "arrays": {"data": "arrays"},
    "tf.data": {"data": "pipeline"},
    "a PyDataset that draws": {"data": "py_dataset"},
    "an iterator with a state": {"data": "iterator"},
    "evaluated and exported": {"data": "arrays", "evaluates": True},
}
MOST_KILLS = 6  # of one training, so that there are enough of each kind
PHASES = {
    "checkpoints/.writing-*": "writing a checkpoint",
    "checkpoints/.removing-*": "removing an old one",
    "export/*/temp-*": "exporting",
}
_PROGRAM = Path(__file__).with_name("forked_training.py")


class ForkServer:
    """Runs `forked_training.run_once` as often as is asked, each time in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.secs = 0.0  # how long the last one trained, if its first step was waited for

    def run(
        self, folder: Path, *, waits_for_a_step: bool = False, kill_after: float | None = None, **options: Any
    ) -> int:
        """Train until the end or a kill; return the exit status.

        Args:
            folder: The model_dir; what the process wrote and its newest step lie beside it.
            waits_for_a_step: Whether the time until it is killed begins with its first step.
            kill_after: Seconds.
            options: Those of `forked_training.run_once`.
        """
        log = folder.with_suffix(".log")
        asked = {"waits_for_a_step": waits_for_a_step, "kill_after": kill_after, "folder": str(folder), "log": str(log)}
        folder.with_suffix(".step").unlink(missing_ok=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**asked, **options}) + "\n")
        self._process.stdin.flush()
        status, self.secs = json.loads(self._process.stdout.readline())
        return int(status)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[ForkServer]:
    """Start a server that can be struck; it ends with the block."""
    settings = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    environment = lean_processes.environment(**settings, **failing_disk.environment(folder))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen([sys.executable, _PROGRAM], stderr=log, env=environment, **pipes) as process,
    ):
        yield ForkServer(process)
        process.communicate()


class Kill(NamedTuple):
    """What a kill met, and what was left.

    Attributes:
        kind: A key of `KINDS`.
        phase: What the process was doing.
        step: The newest step that it had made; 0 if it had made none.
        newest: The step of the newest checkpoint afterwards; None if there is none.
    """

    kind: str
    phase: str
    step: int
    newest: int | None


class Killer:
    """Kills trainings of all kinds, and compares what becomes of them with their unkilled twins."""

    def __init__(self, server: ForkServer, folder: Path) -> None:
        self.server, self.run = server, folder / "killed"
        self._folder = folder
        self._outcomes: dict[str, Any] = {}
        self._spans: dict[str, tuple[float, float]] = {}

    def outcome(self, kind: str) -> dict[str, Any]:
        """Return what a training leaves that was not killed."""
        if kind not in self._outcomes:
            began, run = time.monotonic(), self._folder / f"unkilled {kind}"
            status = self.server.run(run, waits_for_a_step=True, **KINDS[kind])
            assert status == 0, run.with_suffix(".log").read_text()
            self._outcomes[kind] = outcome(run)
            self._spans[kind] = time.monotonic() - began - self.server.secs, self.server.secs
        return self._outcomes[kind]

    def kill_at_random(self, number: int, seed: int, tell: Callable[[Kill], object] = lambda kill: None) -> list[Kill]:
        """Kill until there were so many kills, by turns while a process starts and while it trains.

        Each moment is drawn from the time that this takes an unkilled training, or the rest of one and a bit more. The
        clock of each process is off by up to two days, so that time runs backwards between some of them.

        Args:
            number: How many kills.
            seed: Decides the moments and the clocks.
            tell: Called after each.
        """
        dice, kills = random.Random(seed), list[Kill]()
        for kind in itertools.cycle(KINDS):
            if len(kills) >= number:
                return kills
            self.outcome(kind)
            is_over, newest, most = False, None, len(kills) + MOST_KILLS
            while not is_over:
                trains, clock = len(kills) % 2 == 1, dice.randint(-172_800, 172_800)
                starting, training = self._spans[kind]
                span = training * (1.2 - (newest or 0) / STEPS) if trains else starting
                secs = dice.uniform(0, span) if len(kills) < min(number, most) else None
                since = time.time()
                status = self.server.run(self.run, clock=clock, waits_for_a_step=trains, kill_after=secs, **KINDS[kind])
                is_over = status == 0
                assert is_over or status == -signal.SIGKILL, self.said()
                step = what_was_lost(self.run, newest)
                newest = newest_of_whole(self.run)
                if not is_over:
                    kills.append(Kill(kind, phase(self.run, since, step), step, newest))
                    tell(kills[-1])
            self.compare(kind)
        raise AssertionError

    def end(self, kind: str) -> None:
        """Let the training that was killed end, and compare."""
        assert self.server.run(self.run, **KINDS[kind]) == 0, self.said()
        self.compare(kind)

    def compare(self, kind: str) -> None:
        """Compare what is there with what an unkilled training leaves, and make room for another one."""
        found, expected = outcome(self.run), self.outcome(kind)
        for part, value in expected.items():
            assert found[part] == value, f"{kind}: {part}"
        shutil.rmtree(self.run)

    def said(self) -> str:
        """Return what the last process wrote."""
        return self.run.with_suffix(".log").read_text()


def what_was_lost(run: Path, before: int | None) -> int:
    """Check that a process went on from the newest checkpoint, and left one of what it did; return its last step."""
    noted = run.with_suffix(".step")
    step = int(noted.read_text() or 0) if noted.exists() else 0
    newest = newest_of_whole(run)
    assert (newest if newest is not None else -1) >= (before if before is not None else -1)
    if step:
        went_on = f"going on from step {before} (" in run.with_suffix(".log").read_text()
        assert went_on == (before is not None)
        # All that was due before has been begun, and the one before that is whole.
        assert newest is not None
        assert newest >= (step - 1) // INTERVAL * INTERVAL - INTERVAL
    return step


def newest_of_whole(run: Path) -> int | None:
    """Read every checkpoint that is there, with its checksums; return the step of the newest."""
    checkpoints = Checkpoints(run)
    return max((checkpoints.read(each).step for each in checkpoints.list()), default=None)


def phase(run: Path, since: float, step: int) -> str:
    """Say what a process that was started then did when it was killed, by what it has left behind."""
    for pattern, doing in PHASES.items():
        if any(path.stat().st_mtime > since for path in run.glob(pattern)):
            return doing
    return "starting" if not step else "training" if step < STEPS else "ending"


def outcome(run: Path) -> dict[str, Any]:
    """Return what a finished training leaves but for names and times; check that nothing else is left."""
    checkpoints = Checkpoints(run)
    state = checkpoints.read(checkpoints.list()[-1]).state
    (consumed,) = (array for path, array in state.items() if path.endswith("consumed"))
    assert (consumed == PASSES).all(), consumed
    # Of an export that was cut off, what lies aside is removed by one that is made a while later.
    assert [str(path) for path in run.rglob(".*")] == []
    marks = [json.loads(mark.read_text()) for mark in run.glob("export/*/*/assets.extra/evaluation.json")]
    return {
        "checkpoints": [each.step for each in checkpoints.list()],
        "state": {path: array.tobytes() for path, array in state.items()},
        "evaluations": read_scalars(run / "eval"),
        "exports": sorted(marks, key=str),
    }


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """Give a folder on a disk that is fast, if there is one: what a kill leaves is the same there."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@contextlib.contextmanager
def killing() -> Iterator[Killer]:
    """Give somebody who kills; all that is left of it is gone afterwards."""
    with in_memory() as folder, serving(folder) as server:
        yield Killer(server, folder)
