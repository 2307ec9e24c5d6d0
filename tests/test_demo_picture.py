"""The picture of the demo: what is wrong is red, and what was repeated is marked."""

from __future__ import annotations

import io

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_estimator.demo.picture import draw


def test_wrong_answers_come_first_and_in_red() -> None:
    rng = np.random.default_rng(0)
    digits = rng.integers(0, 10, size=100)
    answers = digits.copy()
    answers[[40, 90]] = (digits[[40, 90]] + 1) % 10
    steps = np.arange(10, 110, 10)
    curve = np.stack([steps, 1 / steps], axis=1)
    figure = draw(
        curve[:7], curve[5:], went_on_from=50, images=rng.random((100, 8, 8, 1)), digits=digits, answers=answers
    )
    axes = figure.axes
    losses, squares = axes[0], axes[1:]
    assert [(square.get_title(), square.title.get_color()) for square in squares[:3]] == [
        (str(answers[40]), "tab:red"),
        (str(answers[90]), "tab:red"),
        (str(answers[0]), "black"),
    ]
    assert "2 of 100 wrong" in figure.subfigs[1].get_suptitle()
    labels = [text.get_text() for text in losses.get_legend().get_texts()]
    assert labels[:2] == ["repeated, from step 50", "SIGKILL, by step 70"]
    figure.savefig(file := io.BytesIO(), format="png")
    assert 10_000 < len(file.getvalue()) < 150_000
