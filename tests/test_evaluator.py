"""An evaluator follows the checkpoints of another process: each is evaluated once, also after kills on both sides."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError, EstimatorWarning
from keras_estimator.evaluator import follow
from keras_estimator.hooks.remote_evaluation import FILE, Notes
from keras_estimator.hooks.reporting import read_scalars

L = keras.layers
X = np.random.RandomState(0).normal(size=(40, 4)).astype("float32")
Y = X[:, :1] * 2
DATA = ke.Arrays(X, Y, batch_size=10, seed=2, epochs=None)
CHIEF = {"cluster": {"chief": ["localhost:1"]}, "task": {"type": "chief", "index": 0}}
EVALUATOR = {"cluster": {"chief": ["localhost:1"]}, "task": {"type": "evaluator", "index": 0}}


class Calls(ke.Exporter):
    """An exporter that notes what it is given, and what the estimator predicts then."""

    def __init__(self, name: str = "calls") -> None:
        self.name = name
        self.calls: list[tuple[int, str, bool]] = []
        self.predicted: list[Any] = []

    def export(self, estimator: Any, path: str, checkpoint: Any, result: Any, is_final: Any) -> str | None:
        self.calls.append((result["global_step"], Path(checkpoint).name, is_final))
        self.predicted.append(next(estimator.predict(X[:1])))
        return path if is_final else None


def estimator(folder: Path, **options: Any) -> ke.Estimator:
    keras.utils.set_random_seed(3)
    made = keras.Sequential([L.Input((4,)), L.Dense(4), L.Dropout(0.3), L.Dense(1, name="out")])
    made.compile("adam", "mse")
    options = {"save_checkpoints_steps": 10, "save_summary_steps": None, "keep_checkpoint_max": 0, **options}
    return ke.model_to_estimator(made, model_dir=folder, config=ke.RunConfig(progress="off", **options))


def evaluator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ke.Estimator:
    monkeypatch.setenv("TF_CONFIG", json.dumps(EVALUATOR))
    return estimator(folder)


def spec(**options: Any) -> ke.EvalSpec:
    return ke.EvalSpec((X, Y), **{"steps": None, "throttle_secs": 0, "start_delay_secs": 0, **options})


def test_every_checkpoint_is_evaluated_as_itself_and_the_end_is_the_final_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer = estimator(tmp_path)
    trainer.train(DATA, max_steps=25)
    expected = {
        each.step: trainer.evaluate((X, Y), checkpoint_path=each.path, name="other")["loss"]
        for each in Checkpoints(tmp_path).list()
    }
    exporter = Calls()
    ours = evaluator(tmp_path, monkeypatch)
    metrics, exported = ke.train_and_evaluate(ours, ke.TrainSpec(DATA, 25), spec(exporters=exporter))
    assert {step: found["loss"] for step, found in read_scalars(ours.eval_dir()).items()} == expected
    assert list(expected) == [0, 10, 20, 25]
    assert metrics == {"loss": expected[25], "global_step": 25}
    assert exported == [f"{tmp_path}/export/calls"]
    assert exporter.calls == [(step, f"step-{step}", step == 25) for step in expected]
    for step, predicted in zip(expected, exporter.predicted, strict=True):
        path = tmp_path / "checkpoints" / f"step-{step}"
        np.testing.assert_array_equal(predicted["out"], next(trainer.predict(X[:1], checkpoint_path=path))["out"])


def test_started_again_it_evaluates_nothing_twice_and_knows_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    estimator(tmp_path).train(DATA, max_steps=20)
    train, exporter = ke.TrainSpec(DATA, 20), Calls()
    first = ke.train_and_evaluate(evaluator(tmp_path, monkeypatch), train, spec(exporters=exporter))
    again = Calls()
    assert ke.train_and_evaluate(evaluator(tmp_path, monkeypatch), train, spec(exporters=again)) == first
    assert len(exporter.calls) == 3
    assert again.calls == []
    assert list(Notes.read(tmp_path / "eval").metrics) == [0, 10, 20]


def test_a_kill_between_two_checkpoints_leaves_the_second_to_the_next_evaluator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Dies(Calls):
        def export(self, *args: Any) -> str | None:
            super().export(*args)
            if self.calls[-1][0] == 10:
                raise KeyboardInterrupt
            return None

    estimator(tmp_path).train(DATA, max_steps=20)
    ours = evaluator(tmp_path, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ke.train_and_evaluate(ours, ke.TrainSpec(DATA, 20), spec(exporters=Dies()))
    assert list(Notes.read(tmp_path / "eval").digests) == [0]
    exporter = Calls()
    ke.train_and_evaluate(evaluator(tmp_path, monkeypatch), ke.TrainSpec(DATA, 20), spec(exporters=exporter))
    assert [step for step, _, _ in exporter.calls] == [10, 20]
    assert list(read_scalars(tmp_path / "eval")) == [0, 10, 20]


def test_a_run_that_was_begun_anew_is_evaluated_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    class Best(Calls):
        best: int | None = None

        def state(self) -> dict[str, Any]:
            return {"best": self.calls[-1][0]} if self.calls else {}

        def restore(self, state: Any) -> None:
            self.best = state.get("best")

    estimator(tmp_path).train(DATA, max_steps=20)
    ke.train_and_evaluate(evaluator(tmp_path, monkeypatch), ke.TrainSpec(DATA, 20), spec(exporters=Best()))
    shutil.rmtree(tmp_path / "checkpoints")
    monkeypatch.delenv("TF_CONFIG")
    other = estimator(tmp_path)
    other.model.set_weights([2 * weight for weight in other.model.get_weights()])
    other.train(DATA, max_steps=10)
    exporter = Best()
    metrics, _ = ke.train_and_evaluate(
        evaluator(tmp_path, monkeypatch), ke.TrainSpec(DATA, 10), spec(exporters=exporter)
    )
    assert [step for step, _, _ in exporter.calls] == [0, 10]
    assert exporter.best is None  # that of the other run is forgotten
    assert metrics == other.evaluate((X, Y), name="other")
    assert list(read_scalars(tmp_path / "eval")) == list(Notes.read(tmp_path / "eval").digests) == [0, 10]
    assert "begun anew" in caplog.text


def test_a_damaged_checkpoint_is_said_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    estimator(tmp_path).train(DATA, max_steps=20)
    for step, file in ((0, "run.json"), (10, "state.safetensors")):
        path = tmp_path / "checkpoints" / f"step-{step}" / file
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(EstimatorWarning) as warned:
        ke.train_and_evaluate(evaluator(tmp_path, monkeypatch), ke.TrainSpec(DATA, 20), spec())
    texts = [str(each.message) for each in warned]
    assert [sum(f"step-{step}, which cannot be trusted" in text for text in texts) for step in (0, 10)] == [1, 1]
    assert list(Notes.read(tmp_path / "eval").digests) == [20]


def test_specs_with_a_clock_are_left_to_the_process_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    specs = [spec(name="here"), spec(name="there", every_steps=5)]
    monkeypatch.setenv("TF_CONFIG", json.dumps(CHIEF))
    with pytest.warns(EstimatorWarning, match="no evaluator has evaluated `here` so far"):
        metrics, exported = ke.train_and_evaluate(chief := estimator(tmp_path), ke.TrainSpec(DATA, 10), specs)
    assert metrics == {"here": None, "there": chief.evaluate((X, Y))}
    assert exported == {"here": [], "there": []}
    assert list(read_scalars(chief.eval_dir("there"))) == [5, 10]
    caplog.set_level("INFO", "keras_estimator")
    found, _ = ke.train_and_evaluate(evaluator(tmp_path, monkeypatch), ke.TrainSpec(DATA, 10), specs)
    assert found == {"here": metrics["there"]}
    assert "`there` has a clock: it is evaluated by the process that trains" in caplog.text


def test_a_master_evaluates_by_itself_as_it_always_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = {"cluster": {"master": ["localhost:1"]}, "task": {"type": "master", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    metrics, _ = ke.train_and_evaluate(estimator(tmp_path), ke.TrainSpec(DATA, 5), spec())
    assert metrics["global_step"] == 5


class Evaluates(ke.Hook):
    """Does in this process what an evaluator does in another: notes, from a step on, that step 10 was the best."""

    def __init__(self, folder: Path, from_step: int) -> None:
        self.folder, self.from_step, self.notes = folder, from_step, Notes()

    def after_save(self, run: Any, checkpoint: Path) -> None:
        self.notes.digests[run.step] = str(run.step)
        self.notes.metrics[run.step] = {"loss": 0.1 if run.step == 10 else 1.0, "global_step": run.step}
        self.notes.kept_steps = [10] if run.step >= 10 else []
        if run.step >= self.from_step:
            self.notes.write(self.folder / "eval")


def test_training_hears_of_evaluations_keeps_their_checkpoints_and_stops_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TF_CONFIG", json.dumps(CHIEF))
    hooks = [Evaluates(tmp_path, 0), ke.EarlyStopping("loss", patience=3, restore_best=True)]
    ours = estimator(tmp_path, keep_checkpoint_max=2)
    metrics, _ = ke.train_and_evaluate(ours, ke.TrainSpec(DATA, 100, hooks), spec())
    assert [each.step for each in Checkpoints(tmp_path).list()] == [10, 30, 40]
    assert metrics["global_step"] == 40
    best, now = (Checkpoints(tmp_path).read(step).state["dense/kernel"] for step in (10, 40))
    np.testing.assert_array_equal(now, best)


def test_a_best_checkpoint_that_is_gone_before_it_was_evaluated_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TF_CONFIG", json.dumps(CHIEF))
    hooks = [Evaluates(tmp_path, 40), ke.EarlyStopping("loss", patience=3, restore_best=True)]
    ours = estimator(tmp_path, keep_checkpoint_max=2)
    with pytest.warns(EstimatorWarning, match="keeps the weights of step 40: the checkpoint of the best step, 10"):
        ke.train_and_evaluate(ours, ke.TrainSpec(DATA, 100, hooks), spec())
    assert [each.step for each in Checkpoints(tmp_path).list()] == [30, 40]


def test_an_evaluator_without_the_folder_of_the_run_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(EVALUATOR))
    with pytest.raises(ConfigError, match="needs the folder of the run"):
        ke.model_to_estimator(keras.Sequential([L.Dense(1)]))


def test_a_call_that_ended_where_the_next_goes_on_is_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = estimator(tmp_path)
    trainer.train(DATA, max_steps=10)  # a finished call of an earlier day

    class GoesOn(Calls):
        def export(self, *args: Any) -> str | None:
            if not self.calls:
                trainer.train(DATA, max_steps=30)
            return super().export(*args)

    exporter = GoesOn()
    ours = evaluator(tmp_path, monkeypatch)
    follow(ours, [spec(exporters=exporter)], max_steps=30)
    finals = {step: is_final for step, _, is_final in exporter.calls}
    assert finals == {0: False, 10: False, 20: False, 30: True}


NAN = ke.Arrays(X, np.where(np.arange(40) == 35, np.nan, Y[:, 0])[:, None], batch_size=10, shuffle=False, epochs=None)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (DATA, {"hooks": [ke.StopAtStep(last_step=6)]}),
        (NAN, {"hooks": [ke.NanGuard(fail_on_nan_loss=False)]}),
        (NAN, {"callbacks": [keras.callbacks.TerminateOnNaN()]}),
    ],
    ids=["StopAtStep", "NanGuard", "TerminateOnNaN"],
)
@pytest.mark.filterwarnings("ignore::keras_estimator.errors.EstimatorWarning")
@pytest.mark.timeout(60)
def test_it_does_not_wait_for_a_training_that_ended_early(
    data: Any, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train = ke.TrainSpec(data, 1000, **options)
    monkeypatch.setenv("TF_CONFIG", json.dumps(CHIEF))
    ke.train_and_evaluate(estimator(tmp_path, save_checkpoints_steps=2), train, spec())
    metrics, _ = ke.train_and_evaluate(evaluator(tmp_path, monkeypatch), train, spec())
    assert metrics["global_step"] == (6 if data is DATA else 2)  # the fourth batch has the NaN


def test_nothing_is_trained_within_a_checkpoint_that_is_held(tmp_path: Path):
    ours = estimator(tmp_path)
    ours.train(DATA, max_steps=20)
    with ours.at_checkpoint(tmp_path / "checkpoints" / "step-10") as step:
        assert (step, ours.evaluate((X, Y))["global_step"]) == (10, 10)
        assert str(ours.latest_checkpoint()).endswith("step-10")
        with pytest.raises(ConfigError, match="another one is in use"):
            ours.train(DATA, steps=1)
    assert ours.evaluate((X, Y))["global_step"] == 20
    ours.train(DATA, steps=1)
    assert ours.evaluate((X, Y))["global_step"] == 21


PROGRAM = textwrap.dedent(
    """
    import json, os, sys, time

    role, folder = sys.argv[1:]
    cluster = {"chief": ["localhost:1"]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": role, "index": 0}})
    import keras, numpy as np
    import keras_estimator as ke

    class Quick(ke.Estimator):
        def export_saved_model(self, *args, **options):
            return super().export_saved_model(*args, **options, verify=False)

    class Slow(ke.Hook):
        cadence = ke.Cadence(every_steps=10)

        def after_steps(self, run):
            time.sleep(0.15)

    L = keras.layers
    keras.utils.set_random_seed(3)
    x = np.random.RandomState(0).normal(size=(200, 4)).astype("float32")
    y = np.abs(x[:, :1]) * 2
    model = keras.Sequential([L.Input((4,)), L.Dense(8, "relu"), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    config = ke.RunConfig(progress="off", save_checkpoints_steps=40, keep_checkpoint_max=0, tf_random_seed=1)
    data = ke.Arrays(x, y, batch_size=10, seed=2, epochs=18)  # without max_steps
    exporters = [ke.BestExporter("best", metric="mae", exports_to_keep=None), ke.FinalExporter("final")]
    spec = ke.EvalSpec((x[:50], y[:50]), None, throttle_secs=2, start_delay_secs=0, exporters=exporters)
    ke.train_and_evaluate(Quick(model, folder, config), ke.TrainSpec(data, hooks=[Slow()]), spec)
    """
)


@pytest.mark.slow
def test_beside_a_trainer_both_killed_and_started_again_each_checkpoint_is_evaluated_once(tmp_path: Path):
    script, folder = tmp_path / "program.py", tmp_path / "run"
    script.write_text(PROGRAM)

    def start(role: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        with (tmp_path / f"{role}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, script, role, folder], env=environment, stderr=log)

    moments, kills = random.Random(3), 0
    processes = {role: start(role) for role in ("evaluator", "chief")}
    try:
        for role in ("chief", "evaluator", "chief"):
            before = len(list((folder / "checkpoints").glob("step-*")))
            while processes["chief"].poll() is None and len(list((folder / "checkpoints").glob("step-*"))) <= before:
                time.sleep(0.02)
            time.sleep(moments.uniform(0.0, 1.5))
            processes[role].send_signal(signal.SIGKILL)
            kills += processes[role].wait() == -signal.SIGKILL
            processes[role] = start(role)
        assert processes["chief"].wait(240) == 0, (tmp_path / "chief.log").read_text()
        assert processes["evaluator"].wait(60) == 0, (tmp_path / "evaluator.log").read_text()
    finally:
        for process in processes.values():
            process.kill()
    assert kills >= 2

    steps = [each.step for each in Checkpoints(folder).list()]
    assert steps == [*range(0, 360, 40), 360]
    assert list(json.loads((folder / "eval" / FILE).read_text())["memory"]) == ["last", "exporters"]
    notes = Notes.read(folder / "eval")
    assert list(notes.metrics) == steps
    shown = {step: point["mae"] for step, point in read_scalars(folder / "eval").items()}
    assert shown == pytest.approx({step: found["mae"] for step, found in notes.metrics.items()})
    best = {step: min(notes.metrics[at]["mae"] for at in steps if at <= step) for step in steps}
    bests = [step for step in steps if notes.metrics[step]["mae"] == best[step]]
    marks = {
        name: sorted(
            json.loads(path.read_text())["global_step"]
            for path in (folder / "export" / name).glob("[0-9]*/assets.extra/evaluation.json")
        )
        for name in ("best", "final")
    }
    assert marks == {"best": bests, "final": [360]}
    assert notes.kept_steps == [bests[-1]]
