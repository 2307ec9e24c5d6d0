"""What the project holds itself to in speed, and whether a run of the benchmark met it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.networks import NETWORKS
from bench.rows import BY_HAND, MODES, ORIGINAL, OURS, ROWS
from bench.summary import best, our_row

CONVOLUTIONS = ("cnn", "resnet", "mobilenet")
ANY, BEST, BEST_BY_HAND, YARDSTICK = tuple(NETWORKS), "the best other row", "the best loop by hand", "its yardstick"
_THROUGHPUT = ("train", "evaluate", "predict")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A bound that holds for some models in some modes.

    Attributes:
        text: What a person reads.
        models: For which models.
        modes: For which of the ratios of `summarize`; of a yardstick, for which calls of ours.
        peer: A row, `BEST`, `BEST_BY_HAND` or `YARDSTICK`.
        at_least: How many times as fast as the peer ours is to be.
        at_most: How many times as long as its yardstick a call of ours may take.
    """

    text: str
    models: Sequence[str]
    modes: Sequence[str]
    peer: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, reached: float) -> bool:
        """Say whether a ratio lies within the bounds."""
        return (self.at_least is None or reached >= self.at_least) and (self.at_most is None or reached <= self.at_most)


CLAIMS = (
    Claim("any model, any mode, against the best other row", ANY, MODES, BEST, at_least=0.97),
    Claim("any model, against the best loop by hand", ANY, _THROUGHPUT, BEST_BY_HAND, at_least=0.9),
    Claim("the small MLP trains, against the original", ["mlp"], ["train"], ORIGINAL, at_least=10.0),
    Claim("the small MLP trains, against fit as it is given", ["mlp"], ["train"], "fit", at_least=15.0),
    Claim("the dense 1024 net trains, against the original", ["wide"], ["train"], ORIGINAL, at_least=1.5),
    Claim("the dense 1024 net trains, against fit as it is given", ["wide"], ["train"], "fit", at_least=1.5),
    Claim("convolution nets train, against the best other row", CONVOLUTIONS, ["train"], BEST, at_least=1.0),
    Claim("predictor(), one example: time by a bare tf.function call", ANY, ["answer"], YARDSTICK, at_most=1.2),
    # Of a large network the answer itself takes longer than what surrounds it, so that no predictor could reach these.
    Claim("predictor(), one example, against Model.predict", ["mlp"], ["predict_one"], "fit", at_least=20.0),
    Claim("predictor(), one example, against the original", ["mlp"], ["predict_one"], ORIGINAL, at_least=100.0),
    Claim("train(steps=1): time by one bare step", ANY, ["train_once"], YARDSTICK, at_most=2.0),
    Claim("the CNN evaluates: time by its forward passes alone", ["cnn"], ["evaluate"], YARDSTICK, at_most=1.3),
    Claim("the small MLP evaluates, against the original", ["mlp"], ["evaluate"], ORIGINAL, at_least=10.0),
)


def judge(workloads: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Say of each claim what was reached where it could be measured, and whether all of that is within its bounds.

    Args:
        workloads: By name what `summarize` returned.

    Returns:
        `text`, the bounds, `cases` (each with its `model`, `mode`, `peer`, `reached` ratio and whether it is `met`)
        and `met`. A claim without a case was not measured, and is left out.
    """
    judged = []
    for claim in CLAIMS:
        cases = [case | {"met": claim.is_met(case["reached"]["median"])} for case in _cases(claim, workloads)]
        if cases:
            met = all(case["met"] for case in cases)
            bounds = {"at_least": claim.at_least, "at_most": claim.at_most}
            judged.append({"text": claim.text, **bounds, "cases": cases, "met": met})
    return judged


def hardest(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return that case of a judged claim which is the nearest to its bound, or the farthest beyond it."""
    sign = 1 if claim["at_most"] is None else -1
    case: dict[str, Any] = min(claim["cases"], key=lambda case: sign * case["reached"]["median"])
    return case


def _cases(claim: Claim, workloads: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for model in claim.models:
        for mode in claim.modes:
            peer, reached = _reached(claim.peer, workloads.get(model), mode)
            if reached is not None:
                yield {"model": model, "mode": mode, "peer": peer, "reached": reached}


def _reached(peer: str, summary: Mapping[str, Any] | None, mode: str) -> tuple[str | None, Any]:
    """Return which row it was, and the ratio; None where it was not measured."""
    if summary is None:
        return None, None
    if peer == YARDSTICK:
        row = our_row(summary)
        return peer, summary["contenders"][row].get("by_yardstick", {}).get(mode) if row else None
    name: str | None = peer
    if peer in (BEST, BEST_BY_HAND):
        # What one answers by hand is a bare call, and there a predictor has a bound of its own.
        name = best(summary, mode, lambda row: _counts(peer, ROWS[row].family, mode))
    return name, summary["ratios"].get(name, {}).get(mode)


def _counts(peer: str, family: str, mode: str) -> bool:
    if peer == BEST_BY_HAND:
        return family == BY_HAND
    return family != OURS and (family != BY_HAND or mode != "latency")
