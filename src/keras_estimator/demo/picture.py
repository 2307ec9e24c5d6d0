"""Draw the picture of the demo: the loss with the kill in it, and digits with what was served for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

_ROWS, _COLUMNS = 4, 6

Curve = Sequence[tuple[int, float]]


def draw(
    before_kill: Curve,
    after_kill: Curve,
    *,
    went_on_from: int,
    images: np.ndarray[Any, Any],
    digits: np.ndarray[Any, Any],
    answers: np.ndarray[Any, Any],
) -> Figure:
    """Draw both halves.

    Args:
        before_kill: Step and loss of the process that was killed at its last step.
        after_kill: The same of the process that went on.
        went_on_from: The step of the checkpoint from which it did.
        images: Shape `(rows, 8, 8, 1)`.
        digits: What they show.
        answers: What the model said; the wrong ones are shown first, in red.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1.25, 1)))
    axes = left.subplots()
    axes.plot(*zip(*before_kill, strict=True), color="tab:blue", linewidth=3, alpha=0.5, label="first process")
    axes.plot(*zip(*after_kill, strict=True), color="tab:orange", linewidth=1, label="second process")
    killed_at = before_kill[-1][0]
    axes.axvline(killed_at, color="tab:red", linestyle="--", label=f"SIGKILL, by step {killed_at:,}")
    axes.axvspan(went_on_from, killed_at, color="tab:red", alpha=0.12, label=f"repeated, from step {went_on_from:,}")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    left.suptitle("Killed in training, and gone on from the newest checkpoint")

    order = np.argsort(answers == digits, kind="stable")[: _ROWS * _COLUMNS]
    for place, square in zip(order, right.subplots(_ROWS, _COLUMNS).flat, strict=True):
        square.imshow(images[place, ..., 0], cmap="gray_r")
        square.set_title(str(answers[place]), color="black" if answers[place] == digits[place] else "tab:red")
        square.axis("off")
    wrong = int(np.sum(answers != digits))
    right.suptitle(f"Digits as the export reads them; {wrong} of {len(digits)} are wrong (red)")
    return figure
