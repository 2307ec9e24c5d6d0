"""What an evaluator writes down is read back by it and by the process that trains, and nothing else is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import keras_estimator as ke
from keras_estimator.errors import CheckpointError, EstimatorWarning
from keras_estimator.hooks.hook import Evaluation, Run
from keras_estimator.hooks.remote_evaluation import FILE, Notes, RemoteEvaluationHook

NOTES = Notes({0: "a", 10: "b"}, {0: {"loss": 2.0}, 10: {"loss": float("nan")}}, {"last": {"step": 10}}, [10])
GOOD: dict[str, Any] = {
    "format": 1,
    "evaluations": [{"step": 3, "state": "a", "metrics": {"loss": 1.0}}],
    "memory": {},
    "kept_steps": [3],
}


def test_what_was_written_is_read(tmp_path: Path):
    NOTES.write(tmp_path / "eval")
    found = Notes.read(tmp_path / "eval")
    assert repr(found) == repr(NOTES)  # NaN is not equal to itself
    assert Notes.read(tmp_path) == Notes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        json.dumps({**GOOD, "format": 2}),
        json.dumps({**GOOD, "kept_steps": ["3"]}),
        json.dumps({**GOOD, "kept_steps": None}),
        json.dumps({**GOOD, "memory": []}),
        json.dumps({**GOOD, "kept_steps": {}}),
        json.dumps({**GOOD, "evaluations": [{"step": 3, "state": "a", "metrics": [1]}]}),
        json.dumps({**GOOD, "evaluations": [{"step": 3, "state": 4, "metrics": {}}]}),
        json.dumps({**GOOD, "evaluations": [{"step": 3, "state": "a", "metrics": {"loss": "low"}}]}),
        json.dumps({**GOOD, "evaluations": [{"step": 3}]}),
    ],
)
def test_another_file_is_an_error_for_the_evaluator_and_a_warning_for_the_training(text: str, tmp_path: Path):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match="is not what an evaluator wrote"):
        Notes.read(tmp_path)
    hook, run, told = listening(tmp_path)
    with pytest.warns(EstimatorWarning, match="does not hear of evaluations"):
        hook.after_steps(run)
    hook.after_steps(run)  # once for each time it was written
    assert told == []


def test_a_full_disk_is_said(tmp_path: Path):
    (tmp_path / "eval").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match=r"evaluator\.json cannot be written"):
        NOTES.write(tmp_path / "eval")


def listening(folder: Path) -> tuple[RemoteEvaluationHook, Run, list[Evaluation]]:
    told: list[Evaluation] = []
    run = Run(None, folder, 10, 0, None, save=lambda: folder, tell=told.append)
    return RemoteEvaluationHook(ke.EvalSpec(([1], [1]), name="valid"), str(folder)), run, told


def test_evaluations_are_told_once_in_their_order_and_not_before_their_time(tmp_path: Path):
    hook, run, told = listening(tmp_path)
    hook.after_steps(run)
    assert (told, hook.kept_steps(), hook.metrics) == ([], set(), None)
    Notes({10: "b", 0: "a", 20: "c"}, {at: {"loss": float(at)} for at in (10, 0, 20)}, {}, [0]).write(tmp_path)
    hook.after_steps(run)
    hook.after_steps(run)
    assert [(each.step, each.name, each.metrics) for each in told] == [
        (0, "valid", {"loss": 0.0}),
        (10, "valid", {"loss": 10.0}),
    ]
    assert hook.kept_steps() == {0}
    again, run, told = listening(tmp_path)
    again.restore(hook.state())
    run.step = 20
    again.after_steps(run)
    assert [each.step for each in told] == [20]
