"""Turns what the contenders measured into rates, ratios by round and the targets that they meet or miss."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

OURS, OURS_ARRAYS = "ours", "ours-arrays"
BEST_FIT = "best fit"
FORWARD_PASSES = "forward passes"
STEPS, WHOLE_CALLS = "steps_per_second", "whole_call_steps_per_second"
EVALUATE_SPEED, EVALUATE_COST = "evaluate_speed", "evaluate_cost"


@dataclasses.dataclass(frozen=True)
class Target:
    """A ratio of ours and a peer that is to be reached.

    Attributes:
        workload: The model.
        peer: A contender, the better `fit`, or the bare forward passes.
        what: Which of their ratios (see `summarize`).
        at_least: Its lower bound.
        at_most: Its upper bound.
    """

    workload: str
    peer: str
    what: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, reached: float) -> bool:
        """Say whether the ratio lies within the bounds."""
        return (self.at_least is None or reached >= self.at_least) and (self.at_most is None or reached <= self.at_most)


TARGETS = (
    Target("mlp", BEST_FIT, STEPS, at_least=0.95),
    Target("wide", BEST_FIT, STEPS, at_least=0.95),
    Target("cnn", BEST_FIT, STEPS, at_least=0.95),
    Target("mlp", "fit", STEPS, at_least=2.0),
    Target("mlp", "original", STEPS, at_least=1.5),
    Target("cnn", FORWARD_PASSES, EVALUATE_COST, at_most=1.3),
    Target("mlp", "original", EVALUATE_SPEED, at_least=10.0),
)


def summarize(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe one workload.

    Args:
        measured: What `race` returned.

    Returns:
        `contenders`: by name the rates, what calls cost and the memory, or `failed`.
        `ratios`: by peer how many times as fast ours is: in the steps alone, in whole calls of `train`, and
            in `evaluate` where the peer has it (`evaluate_speed`). For the forward passes instead how many
            times as long our `evaluate` takes (`evaluate_cost`).
    """
    contenders = {name: _contender(results) for name, results in measured.items()}
    return {"contenders": contenders, "ratios": _ratios(contenders)}


def _contender(results: dict[str, Any]) -> dict[str, Any]:
    if "failed" in results:
        return {"failed": results["failed"]}
    rounds = results["rounds"]
    calls = results["calls"]
    return {
        "versions": results["versions"],
        STEPS: spread([turn["steps"] / turn["inside"] for turn in rounds]),
        WHOLE_CALLS: spread([turn["steps"] / turn["wall"] for turn in rounds]),
        "train_call_overhead_ms": spread([(turn["wall"] - turn["inside"]) / turn["calls"] * 1000 for turn in rounds]),
        "first_call_seconds": results["first_call_secs"],
        "calls": {what: _call([turn[what] for turn in calls]) for what in calls[0] if calls[0][what]["seconds"]},
        "peak_memory_mib": results["peak_mib"],
    }


def _call(turns: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Compare the calls of each turn with the forward passes that were timed between them."""
    medians = [(statistics.median(turn["seconds"]), statistics.median(turn["forward"])) for turn in turns]
    return {
        "ms": spread([seconds * 1000 for seconds, _ in medians]),
        "overhead_ms": spread([(seconds - forward) * 1000 for seconds, forward in medians]),
        "by_forward_passes": spread([seconds / forward for seconds, forward in medians]),
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median of what the rounds gave, with the least and the greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def _ratios(contenders: dict[str, Any]) -> dict[str, Any]:
    """Divide ours by each peer round by round: dataset by dataset, arrays by arrays."""
    ran = {name: contender for name, contender in contenders.items() if "failed" not in contender}
    peers = {name: name for name in ran if name not in (OURS, OURS_ARRAYS)}
    for title, names in ((BEST_FIT, ("fit", "fit50")), (f"{BEST_FIT}-arrays", ("fit-arrays", "fit50-arrays"))):
        fits = [name for name in names if name in ran]
        if fits:
            peers[title] = max(fits, key=lambda name: ran[name][STEPS]["median"])
    ratios = {}
    for title, peer in peers.items():
        ours = ran.get(OURS_ARRAYS if title.endswith("-arrays") else OURS)
        if ours is not None:
            ratios[title] = {measure: ratio(ours[measure], ran[peer][measure]) for measure in (STEPS, WHOLE_CALLS)}
            if "evaluate" in ran[peer]["calls"]:
                times = (contender["calls"]["evaluate"]["ms"] for contender in (ran[peer], ours))
                ratios[title][EVALUATE_SPEED] = ratio(*times)
    if OURS in ran:
        ratios[FORWARD_PASSES] = {EVALUATE_COST: ran[OURS]["calls"]["evaluate"]["by_forward_passes"]}
    return ratios


def ratio(above: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Divide two results of `spread` round by round."""
    return spread([a / b for a, b in zip(above["rounds"], below["rounds"], strict=True)])


def targets(workloads: dict[str, Any]) -> list[dict[str, Any]]:
    """Say of each target whose peer ran what was reached.

    Args:
        workloads: By name what `summarize` returned.
    """
    judged = []
    for target in TARGETS:
        reached_by = workloads.get(target.workload, {}).get("ratios", {}).get(target.peer)
        if reached_by is not None:
            reached = reached_by[target.what]["median"]
            judged.append(dataclasses.asdict(target) | {"reached": reached, "met": target.is_met(reached)})
    return judged
