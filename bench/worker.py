"""One contender in a process of its own: reads requests as JSON lines, does them, answers in JSON lines.

    python -m bench.worker CONTENDER WORKLOAD

| request                                      | answer                                                      |
|----------------------------------------------|-------------------------------------------------------------|
| none: it is prepared                         | versions                                                    |
| `do: train`, `steps`, `secs`                 | totals over calls of `train(steps)`, until `secs` have gone |
| `do: call`, `what`, `times`                  | the seconds of each of the calls, and those that the bare   |
|                                              | forward passes of as many batches took right after each     |
| `do: memory`                                 | peak resident memory in MiB                                 |
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from bench.contenders import CONTENDERS, EVALUATED_BATCHES, Contender
from bench.workloads import WORKLOADS


def _train(contender: Contender, request: dict[str, Any]) -> dict[str, Any]:
    """Call `train` until `secs` have passed, at least once."""
    calls, steps, inside = 0, 0, 0.0
    began = time.perf_counter()
    while not calls or time.perf_counter() - began < request["secs"]:
        made, seconds = contender.train(request["steps"])
        calls, steps, inside = calls + 1, steps + made, inside + seconds
    return {"calls": calls, "steps": steps, "inside": inside, "wall": time.perf_counter() - began}


def _call(contender: Contender, request: dict[str, Any]) -> dict[str, Any]:
    """Time single calls of `evaluate`, `predict` or `predictor`, each followed by the forward passes in it.

    The first of both is not counted: it may compile, and it finds the caches full of another contender.
    """
    call: Callable[[], None] = getattr(contender, request["what"])
    batches = EVALUATED_BATCHES if request["what"] == "evaluate" else 1
    seconds: list[float] = []
    forward: list[float] = []
    try:
        call()
    except NotImplementedError:
        return {"seconds": seconds, "forward": forward}
    contender.forward_passes(batches)
    for _ in range(request["times"]):
        seconds.append(_seconds(call))
        forward.append(_seconds(lambda: contender.forward_passes(batches)))
    return {"seconds": seconds, "forward": forward}


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _memory(contender: Contender, request: dict[str, Any]) -> dict[str, Any]:
    """Read the peak resident memory; macOS counts bytes where Linux counts KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_mib": peak / (1024 * 1024 if sys.platform == "darwin" else 1024)}


_ANSWERS = {"train": _train, "call": _call, "memory": _memory}


def answer(prepare: Callable[[], tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]]) -> None:
    """Prepare what is measured, then answer until the requests end.

    Args:
        prepare: Returns the first answer, and what answers a request.
    """
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        first, respond = prepare()
        print(json.dumps(first), file=answers)
        for line in sys.stdin:
            print(json.dumps(respond(json.loads(line))), file=answers)
    except Exception:  # noqa: BLE001 - whatever it is, the other process reports it
        error = traceback.format_exc()
        print(error, file=sys.stderr)
        print(json.dumps({"error": error}), file=answers)


def _contender() -> tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]:
    contender = CONTENDERS[sys.argv[1]](WORKLOADS[sys.argv[2]])
    versions = {name: importlib.import_module(name).__version__ for name in ("tensorflow", "keras")}
    return {"versions": versions}, lambda request: _ANSWERS[request["do"]](contender, request)


if __name__ == "__main__":
    answer(_contender)
