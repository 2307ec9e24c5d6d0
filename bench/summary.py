"""Turns what the contenders measured into rates, ratios by round and the targets that they meet or miss."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

OURS, OURS_ARRAYS = "ours", "ours-arrays"
BEST_FIT = "best fit"


@dataclasses.dataclass(frozen=True)
class Target:
    """A ratio of ours to a peer that is to be reached."""

    workload: str
    peer: str
    at_least: float


TARGETS = (
    Target("mlp", BEST_FIT, 0.95),
    Target("wide", BEST_FIT, 0.95),
    Target("cnn", BEST_FIT, 0.95),
    Target("mlp", "fit", 2.0),
    Target("mlp", "original", 1.5),
)


def summarize(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe one workload.

    Args:
        measured: What `race` returned.

    Returns:
        `contenders`: by name the rates, the milliseconds of calls and the memory, or `failed`.
        `ratios`: ours to each peer, both for the steps alone and for whole calls of `train`.
    """
    contenders = {name: _contender(results) for name, results in measured.items()}
    return {"contenders": contenders, "ratios": _ratios(contenders)}


def _contender(results: dict[str, Any]) -> dict[str, Any]:
    if "failed" in results:
        return {"failed": results["failed"]}
    rounds = results["rounds"]
    own = results["own_secs"]
    calls = {what: seconds for what, seconds in results["calls"].items() if seconds}
    return {
        "versions": results["versions"],
        "steps_per_second": _spread([turn["steps"] / turn["inside"] for turn in rounds]),
        "whole_call_steps_per_second": _spread([turn["steps"] / turn["wall"] for turn in rounds]),
        "train_call_overhead_ms": _spread([(turn["wall"] - turn["inside"]) / turn["calls"] * 1000 for turn in rounds]),
        "first_call_seconds": results["first_call_secs"],
        "call_ms": {what: statistics.median(seconds) * 1000 for what, seconds in calls.items()},
        "call_overhead_ms": {
            what: (statistics.median(seconds) - own["evaluate" if what == "evaluate" else "predict"]) * 1000
            for what, seconds in calls.items()
        },
        "peak_memory_mib": results["peak_mib"],
    }


def _spread(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def _ratios(contenders: dict[str, Any]) -> dict[str, Any]:
    """Divide ours by each peer round by round: dataset by dataset, arrays by arrays."""
    ran = {name: contender for name, contender in contenders.items() if "failed" not in contender}
    peers = {name: name for name in ran if name not in (OURS, OURS_ARRAYS)}
    for title, names in ((BEST_FIT, ("fit", "fit50")), (f"{BEST_FIT}-arrays", ("fit-arrays", "fit50-arrays"))):
        fits = [name for name in names if name in ran]
        if fits:
            peers[title] = max(fits, key=lambda name: ran[name]["steps_per_second"]["median"])
    ratios = {}
    for title, peer in peers.items():
        ours = ran.get(OURS_ARRAYS if title.endswith("-arrays") else OURS)
        if ours is not None:
            measures = ("steps_per_second", "whole_call_steps_per_second")
            ratios[title] = {measure: _ratio(ours[measure], ran[peer][measure]) for measure in measures}
    return ratios


def _ratio(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    return _spread([a / b for a, b in zip(ours["rounds"], peer["rounds"], strict=True)])


def targets(workloads: dict[str, Any]) -> list[dict[str, Any]]:
    """Say of each target whose peer ran what was reached.

    Args:
        workloads: By name what `summarize` returned.
    """
    judged = []
    for target in TARGETS:
        ratio = workloads.get(target.workload, {}).get("ratios", {}).get(target.peer)
        if ratio is not None:
            reached = ratio["steps_per_second"]["median"]
            judged.append(dataclasses.asdict(target) | {"reached": reached, "met": reached >= target.at_least})
    return judged
