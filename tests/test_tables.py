"""The tables say what was measured, saved and set, in the words of the run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from keras_estimator.checkpoints_seen import CheckpointSeen
from keras_estimator.event_files import Folder, Point
from keras_estimator.report import tables
from keras_estimator.report.contents import Contents, ExportSeen
from keras_estimator.run_description import Description


def rows(elements: list[Element]) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for element in elements for row in element.iter("tr")]


def folder(name: str, **curves: list[float]) -> Folder:
    return Folder(
        name, {tag: {10 * at: Point(v, 0.0) for at, v in enumerate(values, 1)} for tag, values in curves.items()}
    )


def test_an_evaluation_has_its_last_its_best_and_its_extremes():
    found = rows(tables.evaluations([folder("eval", accuracy=[0.5, 0.75, 0.25], loss=[3.0, 1.0, 2.0])]))
    assert found[1] == ["eval 3 times", "loss", "2 step 30", "1 step 20", "1 step 20", "3 step 10"]
    assert found[2] == ["accuracy", "0.25 step 30", "0.75 step 20", "0.25 step 30", "0.75 step 20"]


def test_an_evaluation_without_a_finite_loss_has_no_best():
    (_, row) = rows(tables.evaluations([folder("eval_a", loss=[math.nan])]))
    assert row == ["eval_a once", "loss", "NaN step 10", "–", "–", "–"]  # noqa: RUF001 - the dash that is shown


def test_no_rows_are_no_table():
    assert tables.evaluations([]) == tables.checkpoints([]) == tables.exports([]) == []


def test_checkpoints_are_newest_first_with_their_metrics():
    seen = [
        CheckpointSeen(5, 1000, 0.0, {}, "it is damaged"),
        CheckpointSeen(6, 2000, 0.0, {"a": 1.0, "loss": 0.5}, ""),
    ]
    head, newest, oldest = rows(tables.checkpoints(seen))
    assert head == ["Step", "Written", "Size", "State", "loss", "a"]
    assert (newest[0], newest[2:]) == ("6", ["2 kB", "whole", "0.5", "1"])
    assert (oldest[0], oldest[3]) == ("5", "damaged")


def test_exports_are_named_below_the_model_dir():
    found = rows(tables.exports([ExportSeen("best/1", 0.0, 100), ExportSeen("best/2", 0.0, 200)]))
    assert [row[0] for row in found[1:]] == ["export/best/2", "export/best/1"]


def described(**changes: Any) -> Contents:
    told = {"format": 1, "written_at": 0.0, "versions": {"keras": "3"}, "backend": "tensorflow", "params": {}}
    config = {"plan": "graph", "keep_checkpoint_max": 5, "save_checkpoints_steps": 7, "save_checkpoints_secs": None}
    return Contents(Path(), [], [], [], Description({**told, "config": config, "model": {}, **changes}))


def test_what_was_changed_is_told_and_what_was_not_is_in_a_remark():
    (config, versions) = tables.setup(described())
    assert [term.text for term in config.iter("dt")] == ["plan", "save_checkpoints_steps"]
    assert "keep_checkpoint_max 5" in "".join(config.itertext())
    assert [value.text for value in versions.iter("dd")] == ["3", "tensorflow"]


def test_parameters_and_optimizer_are_told():
    optimizer = {"class": "Adam", "learning_rate": 0.1}
    model = {"optimizer": optimizer, "loss": ["mse", "mae"]}
    parameters, training, *_ = tables.setup(described(params={"width": 8, "sizes": [1, 2]}, model=model))
    assert [value.text for value in parameters.iter("dd")] == ["8", "[1, 2]"]
    assert [value.text for value in training.iter("dd")] == ["Adam", "0.1", "mse, mae"]


def test_values_of_any_depth_and_length_are_short():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert tables.text(deep) == "…"
    assert len(tables.text("x" * 1000)) == 300
