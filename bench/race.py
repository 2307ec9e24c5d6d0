"""Runs the contenders of one workload by turns and collects what they measured.

All of them are started, and compile, together; then each round asks every one in the same order, so that
what the machine does besides falls on all alike. What is timed runs alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bench.environments import ENVIRONMENTS
from bench.rows import MODES, ROWS
from bench.workloads import Workload

_ROOT = Path(__file__).parent.parent
_LAST_LINES = 12
_HOPELESS = 2.0  # A setting that is so many times slower than another of its family is left out.
CALLS = {"evaluate": ("evaluate",), "predict": ("predict",), "latency": ("predict_one", "answer", "train_once")}


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        modes: Which of `rows.MODES`.
        rounds: Turns of each contender: to train, and then as many to evaluate and predict.
        secs: About how long a turn trains.
        call_secs: A turn calls each of `evaluate`, `predict` and the others until so many seconds have passed.
        quick: Whether as few steps as can be are made instead.
    """

    modes: Sequence[str] = MODES
    rounds: int = 5
    secs: float = 0.5
    call_secs: float = 0.15
    quick: bool = False

    def steps(self, workload: Workload, rate: float) -> int:
        """Return the steps of a turn, at so many steps per second: as long a turn for all, whatever their speed."""
        turns = 1 if self.quick else max(1, round(rate * self.secs / workload.at_once))
        return turns * workload.at_once


class WorkerError(Exception):
    """A worker failed; the text has the end of what it wrote."""


class Worker:
    """The process of one contender.

    Args:
        name: The contender.
        workload: What it trains.
        command: What it runs; the interpreter is that of its environment.
        log: Where it writes what is not an answer.
        settings: Environment variables of its own.
    """

    def __init__(
        self, name: str, workload: Workload, command: Sequence[str], log: IO[str], settings: Mapping[str, str]
    ) -> None:
        self.name = name
        self.workload = workload
        self._log = log
        # All contenders run on the processor: TensorFlow 2.15 would not find today's CUDA.
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | settings
        self._process: Any = subprocess.Popen(
            list(command),
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer (see worker.py).

        Raises:
            WorkerError: the worker failed or ended.
        """
        self.send(**request)
        return self.answer()

    def send(self, **request: Any) -> None:
        """Send a request; `answer` waits for what comes of it."""
        with contextlib.suppress(BrokenPipeError):  # `answer` says why
            self._process.stdin.write(json.dumps(request) + "\n")

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer.

        Raises:
            WorkerError: the worker failed or ended.
        """
        line = self._process.stdout.readline()
        if not line:  # It crashed; otherwise it would have said what is wrong.
            self._log.seek(0)
            line = json.dumps({"error": self._log.read() or "the process ended without a word"})
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError("\n".join(answer["error"].splitlines()[-_LAST_LINES:]))
        return answer

    def close(self) -> None:
        """End the process: it ends when there are no more requests."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


def race(
    workload: Workload, pythons: dict[str, Path], effort: Effort, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Measure the contenders of a workload.

    Args:
        workload: What they train.
        pythons: The interpreter of each contender.
        effort: How much is measured.
        say: Takes a line for the person who waits.

    Returns:
        By contender what was measured, or `{"failed": text}`, or with `left_out` why it was tried only.
    """
    with workers_of(workload, pythons) as workers:
        turns = Turns(workload, workers, say)
        turns.take("starting", lambda worker: worker.answer())
        rates = tried(turns, workload, effort)
        for number in range(effort.rounds if "train" in effort.modes else 0):
            title = f"training, round {number + 1} of {effort.rounds}"
            turns.take(title, lambda worker: _trained(worker, effort, effort.steps(workload, rates[worker.name])))
        calls = [call for mode in effort.modes for call in CALLS.get(mode, ())]
        if calls:  # After all training, which they could disturb.
            turns.together("first calls", [{"do": "call", "what": call, "secs": 0.0} for call in calls])
            for number in range(effort.rounds):
                title = f"calls, round {number + 1} of {effort.rounds}"
                turns.take(title, lambda worker: {"calls": [_called(worker, calls, effort.call_secs)]})
        turns.take("memory", lambda worker: worker.ask(do="memory"))
    return turns.results


@contextlib.contextmanager
def workers_of(workload: Workload, pythons: dict[str, Path]) -> Iterator[list[Worker]]:
    """Start a process for each contender; end them afterwards.

    Args:
        workload: What they train.
        pythons: The interpreter of each.
    """
    started: list[Worker] = []
    try:
        for name, python in pythons.items():
            log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `Worker.close` closes it
            command = [str(python), "-m", "bench.worker", name, workload.name]
            environment = ENVIRONMENTS.get(ROWS[name].environment)
            started.append(Worker(name, workload, command, log, environment.settings if environment else {}))
        yield list(started)
    finally:
        for worker in started:
            worker.close()


class Turns:
    """Those who take turns, and what came of it so far.

    Args:
        workload: What they train.
        workers: Those who do; one that fails or is left out is out.
        say: Takes a line for the person who waits.

    Attributes:
        results: By contender what was measured.
    """

    def __init__(self, workload: Workload, workers: list[Worker], say: Callable[[str], None]) -> None:
        self._workload = workload
        self._workers = workers
        self._say = say
        self.results: dict[str, dict[str, Any]] = {worker.name: {} for worker in workers}

    @property
    def names(self) -> list[str]:
        """Those who are in."""
        return [worker.name for worker in self._workers]

    def take(
        self, title: str, measure: Callable[[Worker], dict[str, Any]], names: Collection[str] | None = None
    ) -> None:
        """Measure each of some, or all, once and alone; file the answer, a list after those before it."""
        for worker in self._chosen(names):
            self._say(f"{self._workload.name}, {title}: {worker.name}")
            self._file(worker, measure)

    def together(self, title: str, requests: Sequence[Mapping[str, Any]], names: Collection[str] | None = None) -> None:
        """Let some, or all, do at the same time what is not measured."""
        self._say(f"{self._workload.name}, {title}")
        chosen = self._chosen(names)
        for worker in chosen:
            for request in requests:
                worker.send(**request)

        def wait(worker: Worker) -> dict[str, Any]:
            for _ in requests:
                worker.answer()
            return {}

        for worker in chosen:
            self._file(worker, wait)

    def _chosen(self, names: Collection[str] | None) -> list[Worker]:
        return [worker for worker in self._workers if names is None or worker.name in names]

    def _file(self, worker: Worker, measure: Callable[[Worker], dict[str, Any]]) -> None:
        try:
            answer = measure(worker)
        except WorkerError as error:
            self.results[worker.name] = {"failed": str(error)}
            self._workers.remove(worker)
            return
        filed = self.results[worker.name]
        for key, value in answer.items():
            filed[key] = filed.get(key, []) + value if isinstance(value, list) else value

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Let some take no further turn, and say why."""
        for worker in [worker for worker in self._workers if worker.name in reasons]:
            self.results[worker.name]["left_out"] = reasons[worker.name]
            self._workers.remove(worker)
            worker.close()


def tried(turns: Turns, workload: Workload, effort: Effort, *, leaves_out: bool = True) -> dict[str, float]:
    """Let all compile, and train a little by turns; leave out the settings that cannot be the best of their family.

    Args:
        turns: Those who are tried.
        workload: What they train.
        effort: How much is measured.
        leaves_out: Whether any is left out.

    Returns:
        By contender its steps per second.
    """
    rates: dict[str, float] = {}

    def rated(worker: Worker) -> dict[str, Any]:
        # The second call may still differ from those that follow; it says how many steps fill a turn.
        second = worker.ask(do="train", steps=workload.at_once, secs=0)
        third = worker.ask(do="train", steps=effort.steps(workload, second["steps"] / second["inside"]), secs=0)
        rates[worker.name] = third["steps"] / third["inside"]
        return {"tried": rates[worker.name]}

    def try_out(names: Collection[str]) -> None:
        turns.together("compiling", [{"do": "train", "steps": workload.at_once, "secs": 0}], names)
        turns.take("trying", rated, names)
        best = {name: hopeless_beside(name, rates) for name in turns.names if leaves_out}
        turns.leave_out({name: f"{row} is over {_HOPELESS:g} x as fast" for name, row in best.items() if row})

    refined = {name: ROWS[name].refines for name in turns.names if leaves_out and ROWS[name].refines in turns.names}
    try_out([name for name in turns.names if name not in refined])
    hopeless = {name: of for name, of in refined.items() if of not in turns.names}
    turns.leave_out({name: f"not tried, as {of} is out" for name, of in hopeless.items()})
    if len(hopeless) < len(refined):
        try_out(refined)
    return rates


def hopeless_beside(name: str | None, rates: Mapping[str, float]) -> str | None:
    """Return the setting of the same family that is so much faster that this one need not be measured, if any.

    Args:
        name: The row.
        rates: Steps per second by row.
    """
    if name not in rates or ROWS[name].stays:
        return None
    best = max((each for each in rates if ROWS[each].family == ROWS[name].family), key=rates.__getitem__)
    return best if rates[best] > _HOPELESS * rates[name] else None


def _trained(worker: Worker, effort: Effort, steps: int) -> dict[str, Any]:
    """Train for one turn; more than one call only where it has become far faster than in its trial."""
    return {"rounds": [worker.ask(do="train", steps=steps, secs=0 if effort.quick else effort.secs / 2)]}


def _called(worker: Worker, calls: Sequence[str], secs: float) -> dict[str, Any]:
    return {call: worker.ask(do="call", what=call, secs=secs) for call in calls}
