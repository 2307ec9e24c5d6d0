"""Runs the contenders of one workload by turns and collects what they measured.

All of them are started and prepared first; then each round asks every one in the same order, so that
what the machine does besides falls on all alike. Only one computes at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bench.workloads import Workload

_ROOT = Path(__file__).parent.parent
_LAST_LINES = 12


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Turns of each contender: to train, and then as many to evaluate and predict.
        secs: A turn calls `train` until so many seconds have passed.
        times: A turn calls each of `evaluate`, `predict` and `predictor` so often.
        quick: Whether the workload's `quick_steps` are made instead of its `steps`.
    """

    rounds: int = 5
    secs: float = 1.0
    times: int = 3
    quick: bool = False


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
        By contender what was measured, or `{"failed": text}`.
    """
    results: dict[str, dict[str, Any]] = {}
    with _workers(workload, pythons) as workers:
        steps = workload.quick_steps if effort.quick else workload.steps
        _in_turn("starting", workers, results, say, lambda worker: worker.answer())
        _in_turn("warming up", workers, results, say, lambda worker: _warmed_up(worker, workload, steps))
        for number in range(effort.rounds):
            title = f"training, round {number + 1} of {effort.rounds}"
            _in_turn(title, workers, results, say, lambda worker: _trained(worker, effort, steps))
        for number in range(effort.rounds):  # After all training, which they could disturb.
            title = f"calls, round {number + 1} of {effort.rounds}"
            _in_turn(title, workers, results, say, lambda worker: _called(worker, effort))
        _in_turn("memory", workers, results, say, lambda worker: worker.ask(do="memory"))
    return results


@contextlib.contextmanager
def _workers(workload: Workload, pythons: dict[str, Path]) -> Iterator[list[Worker]]:
    started: list[Worker] = []
    try:
        for name, python in pythons.items():
            log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `Worker.close` closes it
            command = [str(python), "-m", "bench.worker", name, workload.name]
            started.append(Worker(name, workload, command, log, {}))
        yield list(started)
    finally:
        for worker in started:
            worker.close()


def _in_turn(
    title: str,
    workers: list[Worker],
    results: dict[str, dict[str, Any]],
    say: Callable[[str], None],
    measure: Callable[[Worker], dict[str, Any]],
) -> None:
    """Measure each worker once and file the answer, a list after those before it; one that fails is out."""
    for worker in list(workers):
        say(f"{worker.workload.name}, {title}: {worker.name}")
        try:
            answer = measure(worker)
        except WorkerError as error:
            results[worker.name] = {"failed": str(error)}
            workers.remove(worker)
            continue
        filed = results.setdefault(worker.name, {})
        for key, value in answer.items():
            filed[key] = filed.get(key, []) + value if isinstance(value, list) else value


def _warmed_up(worker: Worker, workload: Workload, steps: int) -> dict[str, Any]:
    """Let it trace and compile: two calls, as the second may still differ from those that follow."""
    first = worker.ask(do="train", steps=workload.quick_steps, secs=0)
    worker.ask(do="train", steps=steps, secs=0)
    return {"first_call_secs": first["wall"]}


def _trained(worker: Worker, effort: Effort, steps: int) -> dict[str, Any]:
    return {"rounds": [worker.ask(do="train", steps=steps, secs=effort.secs)]}


def _called(worker: Worker, effort: Effort) -> dict[str, Any]:
    """Measure the calls around the training."""
    names = ("evaluate", "predict", "predictor")
    return {"calls": [{name: worker.ask(do="call", what=name, times=effort.times) for name in names}]}
