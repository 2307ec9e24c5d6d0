"""Turns what the contenders measured into seconds, and into how many times as fast ours is, round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from bench.rows import FAMILIES, MODES, OURS, ROWS


def summarize(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe one workload.

    Args:
        measured: What `race` returned.

    Returns:
        `contenders`: by name what each of its calls took (`secs`: of `train` and `train_call` those of one step,
            without and with what a call does around the steps), what those of ours took by their yardsticks, and
            the memory; or `failed`; or `left_out`.
        `ours`: which row of ours stands for it, of those that read a dataset and of those that are given arrays:
            the one that trains fastest, if several plans were measured.
        `ratios`: by peer and mode how many times as fast ours is. `latency` is of the faster way to answer one
            example that the peer has, `predict_one` of its `predict`; both against our predictor.
    """
    contenders = {name: _contender(results) for name, results in measured.items()}
    secs = {name: contender["secs"] for name, contender in contenders.items() if "secs" in contender}
    ours = {"datasets": _fastest(secs, given_arrays=False), "arrays": _fastest(secs, given_arrays=True)}
    against = {name: ours["arrays" if ROWS[name].reads_arrays else "datasets"] for name in secs}
    ratios = {name: _ratios(secs[row], secs[name]) for name, row in against.items() if row not in (None, name)}
    return {"contenders": contenders, "ours": ours, "ratios": ratios}


def _fastest(secs: dict[str, Any], *, given_arrays: bool) -> str | None:
    rows = [name for name in secs if ROWS[name].family == OURS and ROWS[name].reads_arrays == given_arrays]
    return min(rows, key=lambda name: secs[name].get("train", {}).get("median", 0.0), default=None)


def _contender(results: dict[str, Any]) -> dict[str, Any]:
    if "failed" in results or "left_out" in results:
        return {key: results[key] for key in ("failed", "left_out", "tried") if key in results}
    rounds, calls = results.get("rounds", []), results.get("calls", [])
    secs: dict[str, list[float]] = {}
    if rounds:
        secs["train"] = [turn["inside"] / turn["steps"] for turn in rounds]
        secs["train_call"] = [turn["wall"] / turn["steps"] for turn in rounds]
    whats = [what for what, first in (calls[0].items() if calls else ()) if first]
    secs |= {what: [turn[what]["secs"] for turn in calls] for what in whats}
    yardsticks = {
        what: spread([turn[what]["secs"] / turn[what]["yardstick"] for turn in calls])
        for what in whats
        if "yardstick" in calls[0][what]
    }
    adds = [(turn["wall"] - turn["inside"]) / turn["calls"] * 1000 for turn in rounds]
    return {
        "versions": results["versions"],
        "secs": {what: spread(each) for what, each in secs.items()},
        **({"by_yardstick": yardsticks} if yardsticks else {}),
        **({"train_call_adds_ms": spread(adds)} if adds else {}),
        "peak_memory_mib": results["peak_mib"],
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median of what the rounds gave, with the least and the greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def ratio(above: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Divide two results of `spread` round by round."""
    return spread([a / b for a, b in zip(above["rounds"], below["rounds"], strict=True)])


def _ratios(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    names = ("train", "train_call", "evaluate", "predict")
    ratios = {name: ratio(peer[name], ours[name]) for name in names if name in peer and name in ours}
    if "predict_one" in peer and "answer" in ours:
        quickest = min((peer[way] for way in ("predict_one", "answer") if way in peer), key=lambda each: each["median"])
        ratios["latency"] = ratio(quickest, ours["answer"])
        ratios["predict_one"] = ratio(peer["predict_one"], ours["answer"])
    return ratios


def our_row(summary: Mapping[str, Any]) -> str | None:
    """Return the row that stands for ours: it reads a dataset, unless only arrays were given."""
    row: str | None = summary["ours"]["datasets"] or summary["ours"]["arrays"]
    return row


def best(summary: Mapping[str, Any], mode: str, wanted: Callable[[str], bool] = lambda name: True) -> str | None:
    """Return the peer that ours has the hardest time with, None if none was measured.

    Args:
        summary: What `summarize` returned.
        mode: In what.
        wanted: Says by its name whether a peer counts.
    """
    peers = [name for name, each in summary["ratios"].items() if mode in each and wanted(name)]
    return min(peers, key=lambda name: summary["ratios"][name][mode]["median"], default=None)


def digest(workloads: Mapping[str, Any], mode: str) -> list[tuple[str, dict[str, Any] | None, dict[str, Any]]]:
    """Return a line for each model: its name, the seconds of ours, and by family the best row with its ratio.

    Args:
        workloads: By name what `summarize` returned.
        mode: One of `rows.MODES`.
    """
    what = "answer" if mode == "latency" else mode
    lines = []
    for name, summary in workloads.items():
        row = our_row(summary)
        ours = summary["contenders"][row]["secs"].get(what) if row else None
        peers = {}
        for family in FAMILIES:
            peer = best(summary, mode, lambda each, family=family: ROWS[each].family == family)
            if peer:
                peers[family] = {"row": peer, "ratio": summary["ratios"][peer][mode]}
        lines.append((name, ours, peers))
    return lines


def modes_of(workloads: Mapping[str, Any]) -> list[str]:
    """Return the modes in which something was compared."""
    ratios = [each for summary in workloads.values() for each in summary["ratios"].values()]
    return [mode for mode in MODES if any(mode in each for each in ratios)]
