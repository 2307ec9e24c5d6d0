"""One contender in a process of its own: reads requests as JSON lines, does them, answers in JSON lines.

    python -m bench.worker CONTENDER WORKLOAD

| request                        | answer                                                                              |
|--------------------------------|-------------------------------------------------------------------------------------|
| none: it is prepared           | versions                                                                            |
| `do: train`, `steps`, `secs`   | totals over calls of `train(steps)`, until `secs` have gone                         |
| `do: call`, `what`, `secs`     | the median seconds of single calls, until `secs` have gone, and those that the      |
|                                | yardstick took right after each; nothing if the contender has no such call          |
| `do: memory`                   | peak resident memory in MiB                                                         |
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from bench.contenders import Contender
from bench.grown import GROWN
from bench.networks import NETWORKS
from bench.rows import ROWS

_LONG_SECS = 0.1  # After which it no longer matters that the caches were full of another contender.
# What a call of ours is timed beside (bench/ours.py).
_YARDSTICKS = {"evaluate": "forward_passes", "answer": "bare_answer", "train_once": "bare_step"}


def _train(contender: Contender, request: dict[str, Any]) -> dict[str, Any]:
    """Call `train` until `secs` have passed, at least once."""
    calls, steps, inside = 0, 0, 0.0
    began = time.perf_counter()
    while not calls or time.perf_counter() - began < request["secs"]:
        made, seconds = contender.train(request["steps"])
        calls, steps, inside = calls + 1, steps + made, inside + seconds
    return {"calls": calls, "steps": steps, "inside": inside, "wall": time.perf_counter() - began}


def _call(contender: Contender, request: dict[str, Any]) -> dict[str, Any]:
    """Time single calls, each followed by its yardstick; the first of both does not count where it is short."""
    call = getattr(contender, request["what"], None)
    if call is None:
        return {}
    beside = getattr(contender, _YARDSTICKS.get(request["what"], ""), None)
    both = [each for each in (call, beside) if each]
    began = time.perf_counter()
    turns = [[_seconds(each) for each in both]]
    while time.perf_counter() - began < request["secs"] or (len(turns) == 1 and min(turns[0]) < _LONG_SECS):
        turns.append([_seconds(each) for each in both])
    medians = [statistics.median(seconds) for seconds in zip(*(turns[1:] or turns), strict=True)]
    return dict(zip(("secs", "yardstick"), medians, strict=False))


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
    module, name = ROWS[sys.argv[1]].place.split(":")
    contender = getattr(importlib.import_module(module), name)({**NETWORKS, **GROWN}[sys.argv[2]])
    versions = {
        name: sys.modules[name].__version__ for name in ("tensorflow", "keras", "jax", "numpy") if name in sys.modules
    }
    return {"versions": versions}, lambda request: _ANSWERS[request["do"]](contender, request)


if __name__ == "__main__":
    answer(_contender)
