"""`train_and_evaluate` gives what one asked for, and the same again after a kill at any moment."""

from __future__ import annotations

import json
import os
import random
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
from keras_estimator.errors import ConfigError
from keras_estimator.hooks.reporting import read_scalars

L = keras.layers
X = np.random.RandomState(0).normal(size=(40, 4)).astype("float32")
Y = X[:, :1] * 2
DATA = ke.Arrays(X, Y, batch_size=10, seed=2, epochs=None)


class Notes(ke.Exporter):
    """An exporter of the user's: notes what it is given."""

    def __init__(self, name: str = "notes") -> None:
        self.name = name
        self.calls: list[tuple[int, str, bool]] = []

    def export(self, estimator: Any, path: str, checkpoint: Any, result: Any, is_final: Any) -> str:
        self.calls.append((result["global_step"], Path(checkpoint).name, is_final))
        return f"{Path(path).name}/{result['global_step']}"


def estimator(folder: Path, **options: Any) -> ke.Estimator:
    keras.utils.set_random_seed(3)
    made = keras.Sequential([L.Input((4,)), L.Dense(4), L.Dropout(0.3), L.Dense(1)])
    made.compile("adam", "mse")
    options = {"save_checkpoints_steps": 10, "save_summary_steps": None, **options}
    return ke.model_to_estimator(made, model_dir=folder, config=ke.RunConfig(progress="off", **options))


def test_it_returns_the_last_evaluation_and_what_the_exporters_gave(tmp_path: Path):
    notes = Notes()
    spec = ke.EvalSpec((X, Y), None, throttle_secs=0, exporters=notes)
    metrics, exported = ke.train_and_evaluate(ours := estimator(tmp_path), ke.TrainSpec(DATA, 25), spec)
    assert metrics == ours.evaluate((X, Y))
    assert exported == ["notes/25"]
    assert notes.calls == [(10, "step-10", False), (20, "step-20", False), (25, "step-25", True)]


def test_several_evaluations_each_by_its_name(tmp_path: Path):
    few, all_rows = ke.Arrays(X[:7], Y[:7], batch_size=3), (X, Y)
    specs = [
        ke.EvalSpec(few, None, name="few", every_steps=5, exporters=[one := Notes("one")]),
        ke.EvalSpec(all_rows, None, every_epochs=5, exporters=[two := Notes("two")]),
    ]
    metrics, exported = ke.train_and_evaluate(ours := estimator(tmp_path), ke.TrainSpec(DATA, 22), specs)
    assert metrics == {"few": ours.evaluate(few), "": ours.evaluate(all_rows)}
    assert exported == {"few": ["one/22"], "": ["two/22"]}
    # A user's exporter is always given a checkpoint of the model that was evaluated.
    assert one.calls == [(n, f"step-{n}", n == 22) for n in (5, 10, 15, 20, 22)]
    assert two.calls == [(20, "step-20", False), (22, "step-22", True)]
    assert list(read_scalars(ours.eval_dir("few"))) == [5, 10, 15, 20, 22]


def test_an_exporter_may_give_its_folder_as_bytes_as_those_of_the_original_did(tmp_path: Path):
    class OfOld(Notes):
        def export(self, *args: Any) -> bytes:  # type: ignore[override]  # as its authors wrote it
            return super().export(*args).encode()

    spec = ke.EvalSpec((X, Y), exporters=[OfOld()])
    _, exported = ke.train_and_evaluate(estimator(tmp_path), ke.TrainSpec(DATA, 5), spec)
    assert exported == ["notes/5"]


def test_data_that_end_end_the_training_and_that_is_the_final_export(tmp_path: Path):
    notes = Notes()
    spec = ke.EvalSpec((X, Y), every_steps=3, exporters=notes)
    metrics, _ = ke.train_and_evaluate(estimator(tmp_path), ke.TrainSpec(ke.Arrays(X, Y, batch_size=10)), spec)
    assert metrics["global_step"] == 4
    assert notes.calls == [(3, "step-3", False), (4, "step-4", True)]


def test_early_stopping_and_the_final_export_meet_at_one_step(tmp_path: Path):
    notes = Notes()
    spec = ke.EvalSpec((X, Y), every_steps=5, exporters=notes)
    stop = ke.EarlyStopping("loss", mode="max", patience=2)
    ke.train_and_evaluate(estimator(tmp_path), ke.TrainSpec(DATA, 100, [stop]), spec)
    assert notes.calls[-1] == (15, "step-15", True)
    assert [step for step, _, _ in notes.calls] == [5, 10, 15]


def test_callbacks_and_class_weights_reach_the_training(tmp_path: Path):
    seen: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    train = ke.TrainSpec(DATA, 8, callbacks=[callback])
    ke.train_and_evaluate(estimator(tmp_path), train, ke.EvalSpec((X, Y)))
    assert seen == [0, 1]


def test_the_checkpoint_of_the_best_is_outside_of_retention(tmp_path: Path):
    best = ke.BestExporter("best", metric="loss", mode="max")  # the first one is the best

    class Quick(ke.Estimator):
        def export_saved_model(self, *args: Any, **options: Any) -> str:
            return super().export_saved_model(*args, **options, verify=False)

    ours = Quick(estimator(tmp_path).model, tmp_path, ke.RunConfig(progress="off", keep_checkpoint_max=2))
    spec = ke.EvalSpec((X, Y), every_steps=4, exporters=[best, Notes()])
    ke.train_and_evaluate(ours, ke.TrainSpec(DATA, 20), spec)
    assert [checkpoint.step for checkpoint in Checkpoints(tmp_path).list()] == [4, 16, 20]
    ours.train(DATA, steps=5)  # a plain call in between keeps it, too
    assert [checkpoint.step for checkpoint in Checkpoints(tmp_path).list()] == [4, 20, 25]


@pytest.mark.parametrize(
    ("train", "evaluate", "what"),
    [
        (DATA, ke.EvalSpec((X, Y)), "train_spec"),
        (ke.TrainSpec(DATA), (X, Y), "eval_spec"),
        (ke.TrainSpec(DATA), [], "eval_spec"),
        (ke.TrainSpec(DATA), [ke.EvalSpec((X, Y)), ke.EvalSpec((X, Y))], "differ"),
        (
            ke.TrainSpec(DATA),
            [ke.EvalSpec((X, Y), name=name, exporters=Notes()) for name in ("a", "b")],
            "exporters of several",
        ),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_done(train: Any, evaluate: Any, what: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=what):
        ke.train_and_evaluate(estimator(tmp_path), train, evaluate)
    assert list(tmp_path.iterdir()) == []


def test_only_an_estimator_is_trained():
    with pytest.raises(ConfigError, match="estimator"):
        ke.train_and_evaluate("model", ke.TrainSpec(DATA), ke.EvalSpec((X, Y)))  # type: ignore[arg-type]  # that is the test


PROGRAM = textwrap.dedent(
    """
    import sys
    import keras, numpy as np
    import keras_estimator as ke

    L = keras.layers

    class Quick(ke.Estimator):
        def export_saved_model(self, *args, **options):
            return super().export_saved_model(*args, **options, verify=False)

    keras.utils.set_random_seed(3)
    x = np.random.RandomState(0).normal(size=(200, 4)).astype("float32")
    y = np.abs(x[:, :1]) * 2
    model = keras.Sequential([L.Input((4,)), L.Dense(8, "relu"), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    config = ke.RunConfig(progress="off", save_checkpoints_steps=40, keep_checkpoint_max=2, tf_random_seed=1)
    data = ke.Arrays(x, y, batch_size=10, seed=2, epochs=None)
    ke.train_and_evaluate(
        Quick(model, sys.argv[1], config),
        ke.TrainSpec(data, 400, [ke.EarlyStopping("mae", patience=100, restore_best=True, eval_name="clock")]),
        [
            ke.EvalSpec((x[:50], y[:50]), None, name="clock", every_steps=30, exporters=ke.BestExporter("best")),
            ke.EvalSpec((x[50:], y[50:]), None, throttle_secs=0, exporters=ke.FinalExporter("final")),
        ],
    )
    """
)


def outcome(folder: Path) -> dict[str, Any]:
    """Return all that a run leaves, but for names and times."""
    newest = Checkpoints(folder).list()[-1]
    exports = folder.glob("export/*/*/assets.extra/evaluation.json")
    return {
        "evaluations": {name: read_scalars(folder / name) for name in ("eval", "eval_clock")},
        "exports": sorted((mark.parts[-4], *sorted(json.loads(mark.read_text()).items())) for mark in exports),
        "checkpoints": [checkpoint.step for checkpoint in Checkpoints(folder).list()],
        "state": {path: array.tobytes() for path, array in Checkpoints(folder).read(newest).state.items()},
    }


def start(script: Path, folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen([sys.executable, script, folder], env=environment, stderr=log)


@pytest.mark.slow
def test_killed_at_any_point_it_ends_with_the_same_evaluations_and_exports(tmp_path: Path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    unkilled = start(script, tmp_path / "unkilled")
    assert unkilled.wait() == 0, (tmp_path / "unkilled.log").read_text()
    expected = outcome(tmp_path / "unkilled")
    assert list(expected["evaluations"]["eval_clock"]) == [*range(30, 400, 30), 400]

    moments = random.Random(7)
    killed = tmp_path / "killed"
    kills = 0
    for _ in range(4):
        process = start(script, killed)
        wait_for_a_checkpoint(killed, process)
        time.sleep(moments.uniform(0.0, 3.0))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    last = start(script, killed)
    assert last.wait() == 0, (tmp_path / "killed.log").read_text()
    found = outcome(killed)
    assert found["evaluations"] == expected["evaluations"]
    assert found["exports"] == expected["exports"]
    assert found["state"] == expected["state"]
    assert found["checkpoints"] == expected["checkpoints"]


def wait_for_a_checkpoint(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has written one more checkpoint, or is over."""
    before = {path.name for path in (folder / "checkpoints").glob("step-*")}
    while process.poll() is None and {path.name for path in (folder / "checkpoints").glob("step-*")} <= before:
        time.sleep(0.02)
