"""The report of a real run tells what the run was, and no file of a run can put anything into it but text."""

from __future__ import annotations

import json
import math
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reported_run import train

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError
from keras_estimator.hooks.reporting import mark_start, write_scalars
from keras_estimator.report.contents import look_at
from keras_estimator.report.page import render, write_report

HOSTILE = "<img src=x onerror=hacked=2></script></style></title><script>window.hacked=1</script>"


class Seen(HTMLParser):
    """What a browser would make of a page: its elements, its scripts, and its text by element."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: dict[str | None, str] = {}
        self.text = ""
        self._script: str | None = None
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._script = dict(attrs).get("id") or "own" if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = data
        elif self.tags and self.tags[-1] != "style":
            self.text += data + " "

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    @property
    def curves(self) -> dict[str, Any]:
        return dict(json.loads(self.scripts["curves-data"]))


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(folder)
    return folder


@pytest.fixture(scope="module")
def seen(model_dir: Path) -> Seen:
    return Seen(render(look_at(model_dir)))


def test_the_head_tells_the_state_of_the_run(seen: Seen):
    words = " ".join(seen.text.split())
    assert "digits" in words
    assert "Step 60 newest checkpoint: step 60" in words
    assert "Training loss" in words
    assert "Best evaluation" in words
    assert "steps/s" in words


def test_there_is_a_chart_for_each_tag_with_a_series_for_each_folder(seen: Seen):
    charts = {chart["tag"]: chart["series"] for chart in seen.curves["charts"]}
    assert list(charts) == ["loss", "accuracy", "learning_rate", "steps_per_sec"]
    assert seen.curves["names"] == ["train", "eval", "eval_seen"]
    assert [series["name"] for series in charts["loss"]] == [0, 1, 2]
    assert charts["loss"][0]["steps"] == list(range(5, 61, 5))
    assert charts["loss"][1]["steps"] == [40, 60]
    assert [series["name"] for series in charts["learning_rate"]] == [0]
    assert charts["learning_rate"][0]["values"] == [0.01] * 12


def test_evaluations_model_checkpoints_exports_and_set_up_are_told(seen: Seen, model_dir: Path):
    (export,) = (model_dir / "export" / "best").iterdir()
    for text in ("eval_seen", "two_ways (Functional)", "whole", f"export/best/{export.name}", "save_summary_steps"):
        assert text in seen.text
    assert "a <b>bold</b> try" in seen.text


def test_a_report_is_one_small_file_that_lets_nothing_in(seen: Seen, model_dir: Path):
    path = write_report(model_dir)
    assert path == model_dir / "report.html"
    assert path.stat().st_size < 250_000
    assert set(seen.scripts) == {"curves-data", "model-data", "own"}
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "style")]
    assert [value for name, value in seen.attributes if name == "href"] == ["data:,"]


def test_a_folder_with_checkpoints_alone_has_a_report(tmp_path: Path):
    Checkpoints(tmp_path).write(7, {"w": np.zeros(3)}, {"metrics": {"loss": 0.5}})
    seen = Seen(write_report(tmp_path, tmp_path / "page.html").read_bytes())
    assert "of the newest checkpoint" in seen.text
    assert "no scalars were written" in seen.text
    assert set(seen.scripts) == {"own"}


def test_what_is_wrong_is_said_above_everything(tmp_path: Path):
    write_scalars(tmp_path / "train", 1, {"loss": 1.0})
    (file,) = (tmp_path / "train").iterdir()
    os.truncate(file, file.stat().st_size - 3)
    Checkpoints(tmp_path).write(7, {"w": np.zeros(3)}, {})
    os.truncate(tmp_path / "checkpoints" / "step-7" / "state.safetensors", 3)
    (tmp_path / "description.json").write_text("{")
    text = Seen(render(look_at(tmp_path))).text
    assert "ends in the middle of an event" in text
    assert "The checkpoint of step 7 cannot be trusted" in text
    assert "description.json is not used" in text


def test_a_run_that_went_back_and_values_that_are_not_finite_are_told(tmp_path: Path):
    for step in (10, 20, 30):
        write_scalars(tmp_path / "train", step, {"loss": 1.0})
    mark_start(tmp_path / "train", 20)
    write_scalars(tmp_path / "train", 40, {"loss": math.nan})
    seen = Seen(render(look_at(tmp_path)))
    assert seen.curves["rewinds"] == [20]
    assert "went back from step 30 to the checkpoint of step 20" in seen.text
    assert "not a finite number at step 40" in seen.text
    assert seen.curves["charts"][0]["series"][0]["values"] == [1.0, 1.0, None]


def test_long_curves_are_thinned_and_keep_their_peak(tmp_path: Path):
    for step in range(3000):
        write_scalars(tmp_path / "train", step, {"loss": 9.0 if step == 1234 else step % 7 / 7})
    (series,) = Seen(render(look_at(tmp_path))).curves["charts"][0]["series"]
    assert series["points"] == 3000
    assert len(series["steps"]) <= 2003
    assert (1234, 9.0) in zip(series["steps"], series["values"], strict=True)


def hostile_run(folder: Path) -> Path:
    """Make a model_dir in which every text is a piece of HTML."""
    name = HOSTILE.replace("/", "\N{FRACTION SLASH}")
    folder = folder / name[:200]
    for where in ("train", f"eval_{name[:200]}"):
        write_scalars(folder / where, 1, {HOSTILE: 1.0, "loss": 0.5})
    Checkpoints(folder).write(1, {"w": np.zeros(3)}, {"metrics": {HOSTILE: 0.5}})
    export = folder / "export" / name[:200] / "1"
    export.mkdir(parents=True)
    (export / "saved_model.pb").write_text("")
    layer = {"name": HOSTILE, "class": HOSTILE, "path": HOSTILE, "inside": None, "output_shapes": [[HOSTILE], HOSTILE]}
    layer |= {"trainable_parameters": 1, "other_parameters": 1}
    model = {**layer, "kind": HOSTILE, "layers": [layer, layer], "edges": [[0, 1]], "loss": HOSTILE}
    told = {HOSTILE: HOSTILE, "list": [HOSTILE], "dict": {HOSTILE: {HOSTILE: 1}}}
    description = {"format": 1, "written_at": 1.0, "versions": told, "backend": HOSTILE, "config": told, "params": told}
    description["model"] = {**model, "optimizer": {"class": HOSTILE, HOSTILE: HOSTILE}}
    (folder / "description.json").write_text(json.dumps(description))
    return folder


def test_a_hostile_run_is_shown_as_text(tmp_path: Path, seen: Seen):
    found = Seen(render(look_at(hostile_run(tmp_path))))
    assert set(found.tags) <= set(seen.tags)
    assert found.scripts["own"] == seen.scripts["own"]
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.text.count("window.hacked=1") >= 15


def test_a_report_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path):
    write_scalars(tmp_path / "train", 1, {"loss": 1.0})
    with pytest.raises(ConfigError, match="the report cannot be written") as caught:
        write_report(tmp_path, tmp_path / "missing" / "page.html")
    assert "--out" in caught.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
