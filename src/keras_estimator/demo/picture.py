"""Draw the picture of the demo: the loss with the kill in it, and digits with what was served for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure

_ROWS, _COLUMNS = 4, 6

Array = np.ndarray[Any, Any]


def draw(
    before_kill: Array, after_kill: Array, *, went_on_from: int, images: Array, digits: Array, answers: Array
) -> Figure:
    """Draw both halves.

    Args:
        before_kill: Rows of step and loss, from the process that was killed.
        after_kill: The same from the process that went on.
        went_on_from: The step at which it began.
        images: Shape `(rows, 8, 8, 1)`.
        digits: What they show.
        answers: What the model read; the wrong ones are shown first, in red.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))  # type: ignore[misc]  # its stub tells one from many wrongly
    _draw_losses(left, before_kill, after_kill, went_on_from)
    _draw_digits(right, images, digits, answers)
    return figure


def _draw_losses(half: SubFigure, before_kill: Array, after_kill: Array, went_on_from: int) -> None:
    killed_at = int(before_kill[-1, 0])
    axes = half.subplots()
    axes.axvspan(went_on_from, killed_at, color="tab:red", alpha=0.12, label=f"repeated, from step {went_on_from:,}")
    axes.axvline(killed_at, color="tab:red", linestyle="--", label=f"SIGKILL, by step {killed_at:,}")
    axes.plot(*before_kill.T, color="tab:blue", linewidth=4, alpha=0.4, label="first process")
    axes.plot(*after_kill.T, color="tab:orange", linewidth=1, label="second process")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    half.suptitle("Killed in training, and gone on from the newest checkpoint")


def _draw_digits(half: SubFigure, images: Array, digits: Array, answers: Array) -> None:
    wrong_first = np.argsort(answers == digits, kind="stable")[: _ROWS * _COLUMNS]
    for place, axes in zip(wrong_first, half.subplots(_ROWS, _COLUMNS).flat, strict=True):
        axes.imshow(images[place, ..., 0], cmap="gray_r")
        axes.set_title(str(answers[place]), color="black" if answers[place] == digits[place] else "tab:red")
        axes.axis("off")
    wrong = int(np.sum(answers != digits))
    half.suptitle(f"What the export reads: {wrong} of {len(digits)} wrong (red)")
