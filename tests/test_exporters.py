"""Exporters export when they should, keep as many as they should, and know after a restart what was best."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.errors import ConfigError
from keras_estimator.exporters import comparison

L = keras.layers


class Quick(ke.Estimator):
    """An Estimator whose exports are not verified: that takes a process each."""

    def export_saved_model(self, *args: Any, **options: Any) -> str:
        return super().export_saved_model(*args, **options, verify=False)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> ke.Estimator:
    model = keras.Sequential([L.Input((2,)), L.Dense(1)])
    model.compile("sgd", "mse")
    return Quick(model, tmp_path_factory.mktemp("model"), ke.RunConfig(progress="off"))


def ask(exporter: Any, estimator: Any, base: Path, step: int, *, is_final: bool = False, **metrics: Any) -> str | None:
    return exporter.export(estimator, str(base / exporter.name), None, {**metrics, "global_step": step}, is_final)


def steps_in(base: Path) -> list[int]:
    marks = base.glob("*/*/assets.extra/evaluation.json")
    return sorted(json.loads(mark.read_text())["global_step"] for mark in marks)


def test_the_latest_are_kept(estimator: ke.Estimator, tmp_path: Path):
    exporter = ke.LatestExporter("latest", exports_to_keep=2)
    folders = [ask(exporter, estimator, tmp_path, step, loss=1.0) for step in (10, 20, 30)]
    assert steps_in(tmp_path) == [20, 30]
    assert sorted(str(path) for path in (tmp_path / "latest").iterdir()) == sorted(folders[1:])
    assert (Path(str(folders[-1])) / "saved_model.pb").is_file()


def test_an_export_without_an_evaluation_removes_none_of_a_later_step(estimator: ke.Estimator, tmp_path: Path):
    exporter = ke.LatestExporter("latest")
    ask(exporter, estimator, tmp_path, 10, loss=1.0)
    folder = exporter.export(estimator, str(tmp_path / "latest"), None, None, True)
    assert steps_in(tmp_path) == [10]
    assert (Path(str(folder)) / "saved_model.pb").is_file()


def test_the_final_one_exports_once(estimator: ke.Estimator, tmp_path: Path):
    exporter = ke.FinalExporter("final", assets_extra={"card.txt": __file__})
    assert ask(exporter, estimator, tmp_path, 10) is None
    folder = ask(exporter, estimator, tmp_path, 20, is_final=True, loss=0.5)
    assert (Path(str(folder)) / "assets.extra" / "card.txt").is_file()
    assert steps_in(tmp_path) == [20]


def test_only_a_better_one_is_exported_and_its_checkpoint_is_kept(estimator: ke.Estimator, tmp_path: Path):
    exporter = ke.BestExporter()
    losses = {10: 0.5, 20: 0.6, 30: 0.5, 40: float("nan"), 50: 0.4}
    made = [step for step, loss in losses.items() if ask(exporter, estimator, tmp_path, step, loss=loss)]
    assert made == steps_in(tmp_path) == [10, 50]
    assert exporter.kept_steps() == {50}


def test_a_restart_must_not_export_a_worse_model_as_the_best(estimator: ke.Estimator, tmp_path: Path):
    first = ke.BestExporter("best", metric="accuracy")
    assert ask(first, estimator, tmp_path, 10, accuracy=0.9)
    again = ke.BestExporter("best", metric="accuracy")
    again.restore(json.loads(json.dumps(first.state())))
    assert ask(again, estimator, tmp_path, 20, accuracy=0.8) is None
    assert ask(again, estimator, tmp_path, 30, accuracy=0.95)
    assert steps_in(tmp_path) == [10, 30]


def test_exports_of_a_future_that_was_lost_make_room(
    estimator: ke.Estimator, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    exporter = ke.BestExporter("best")
    ask(exporter, estimator, tmp_path, 10, loss=0.9)
    state = dict(exporter.state())
    ask(exporter, estimator, tmp_path, 20, loss=0.8)
    ask(exporter, estimator, tmp_path, 30, loss=0.7)
    of_the_user = tmp_path / "best" / "1"
    of_the_user.mkdir()
    again = ke.BestExporter("best")  # killed, and goes on from step 10
    again.restore(state)
    with caplog.at_level(logging.INFO, "keras_estimator"):
        assert ask(again, estimator, tmp_path, 20, loss=0.8)
    assert steps_in(tmp_path) == [10, 20]
    assert "made at step 30" in caplog.text
    assert of_the_user.is_dir()
    assert ask(again, estimator, tmp_path, 20, loss=0.8) is None  # asked twice about one model
    assert steps_in(tmp_path) == [10, 20]


def test_a_function_of_the_user_decides(estimator: ke.Estimator, tmp_path: Path):
    exporter = ke.BestExporter("best", compare_fn=lambda best, now: now["gain"] > best["gain"] + 1)
    made = [step for step in (1, 2, 3) if ask(exporter, estimator, tmp_path, step, gain=float(step))]
    assert made == [1, 3]


def test_a_function_gets_its_arguments_by_the_names_of_the_original(estimator: ke.Estimator, tmp_path: Path):
    def compare(current_eval_result: Any, best_eval_result: Any) -> bool:
        return current_eval_result["loss"] < best_eval_result["loss"]

    exporter = ke.BestExporter("best", compare_fn=compare)
    losses = {1: 0.5, 2: 0.6, 3: 0.4}
    assert [step for step, loss in losses.items() if ask(exporter, estimator, tmp_path, step, loss=loss)] == [1, 3]


@pytest.mark.parametrize(
    ("metric", "mode", "best", "now", "is_better"),
    [
        ("loss", "auto", {"loss": 1.0}, {"loss": 0.9}, True),
        ("loss", "auto", {"loss": 1.0}, {"loss": 1.0}, False),
        ("val_AUC", "auto", {"val_AUC": 0.5}, {"val_AUC": 0.6}, True),
        ("mean_absolute_error", "auto", {"mean_absolute_error": 1}, {"mean_absolute_error": 2}, False),
        ("gain", "max", {"gain": 1}, {"gain": 2}, True),
        ("loss", "auto", {"loss": float("nan")}, {"loss": 5.0}, True),
        ("loss", "auto", {"loss": 5.0}, {"loss": float("nan")}, False),
        (["accuracy", "loss"], "auto", {"accuracy": 0.5, "loss": 2.0}, {"accuracy": 0.5, "loss": 1.0}, True),
        (["accuracy", "loss"], "auto", {"accuracy": 0.5, "loss": 2.0}, {"accuracy": 0.4, "loss": 1.0}, False),
    ],
)
def test_which_is_better(metric: Any, mode: str, best: dict[str, float], now: dict[str, float], is_better: bool):
    assert comparison(metric, mode)(best, now) is is_better


def test_a_small_change_is_none():
    is_better = comparison("loss", min_delta=0.1)
    assert [is_better({"loss": 1.0}, {"loss": loss}) for loss in (0.95, 0.9, 0.8)] == [False, False, True]


def test_a_metric_that_is_not_there_is_named_with_those_that_are(estimator: ke.Estimator, tmp_path: Path):
    exporter = ke.BestExporter("best", metric="acc")
    with pytest.raises(ConfigError, match="one of loss, accuracy"):
        ask(exporter, estimator, tmp_path, 1, loss=1.0, accuracy=0.5)
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ke.BestExporter("best", metric="gain"), "higher or lower"),
        (lambda: ke.BestExporter("best", metric="loss", mode="down"), "mode='down'"),
        (lambda: ke.BestExporter("best", metric=["a", "b"], mode=["min"]), "needs a mode"),
        (lambda: ke.BestExporter("best", compare_fn=lambda a, b: True, metric="loss"), "two things"),
        (lambda: ke.LatestExporter(""), "name"),
        (lambda: ke.FinalExporter("a/b"), "name"),
        (lambda: ke.LatestExporter("a", exports_to_keep=0), "exports_to_keep=0"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(make: Any, what: str):
    with pytest.raises(ConfigError, match=what):
        make()


def test_arrays_among_the_metrics_are_no_obstacle(estimator: ke.Estimator, tmp_path: Path):
    exporter = ke.BestExporter("best")
    assert ask(exporter, estimator, tmp_path, 1, loss=1.0, by_class=np.ones(3))
    assert exporter.state() == {"best": {"loss": 1.0, "global_step": 1}}
