"""What users of tf.estimator suffered must not happen: each pain that evaluations and exports can bring has its tests.

The numbers are the rows of the list of pains. `ELSEWHERE` names the tests of other files that keep one away.
"""

from __future__ import annotations

import ast
import gc
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.hooks.reporting import read_scalars

PAINS = {7, 10, 15, 32, 34, 35, 37, 38, 39, 40, 41, 44, 46, 47, 49, 50, 51, 52, 54}
ELSEWHERE: dict[int, list[str]] = {
    7: [  # Keras callbacks are dropped without a word
        "test_keras_callbacks.py::test_every_moment_comes_as_in_fit",
        "test_keras_callbacks.py::test_what_would_load_weights_over_ours_is_not_called",
        "test_training.py::test_callbacks_and_class_weights_reach_the_training",
    ],
    34: [  # nobody knows when it will be evaluated
        "test_evaluation.py::test_evaluation_happens_when_its_spec_says_so",
        "test_evaluation.py::test_a_clock_is_independent_of_checkpoints",
        "test_evaluation.py::test_the_plan_is_said_and_what_is_skipped",
    ],
    35: [  # what is exported is not the best
        "test_exporters.py::test_a_restart_must_not_export_a_worse_model_as_the_best",
        "test_training.py::test_the_checkpoint_of_the_best_is_outside_of_retention",
        "test_training.py::test_killed_at_any_point_it_ends_with_the_same_evaluations_and_exports",
    ],
    # memory grows with each evaluation
    37: ["test_engine.py::test_a_thousand_evaluations_and_predictions_keep_memory_flat_and_trace_nothing"],
    38: [  # an evaluator idles or hangs, a master is no chief, TF_CONFIG is misread
        "test_evaluator.py::test_every_checkpoint_is_evaluated_as_itself_and_the_end_is_the_final_export",
        "test_evaluator.py::test_beside_a_trainer_both_killed_and_started_again_each_checkpoint_is_evaluated_once",
        "test_evaluator.py::test_a_master_evaluates_by_itself_as_it_always_did",
        "test_cluster.py::test_a_cluster_without_a_chief_is_refused_and_its_first_worker_made_one",
    ],
    40: [  # early stopping stops late, not at all, or forgets
        "test_early_stopping.py::test_it_stops_when_patience_is_over",
        "test_early_stopping.py::test_the_count_goes_on_after_a_restart",
        "test_early_stopping.py::test_the_best_weights_are_put_back_also_after_a_restart",
    ],
    41: ["test_training.py::test_several_evaluations_each_by_its_name"],  # there is room for one evaluation set only
    46: ["test_evaluation.py::test_every_example_counts_once"],  # examples are left out, or count twice
    50: [  # one training is not like the other
        "test_evaluation.py::test_the_training_is_the_same_with_and_without_evaluations",
        "test_estimator.py::test_a_run_that_stopped_and_went_on_has_the_bits_of_one_that_did_not",
    ],
    54: ["test_loop.py::test_hooks_are_called_in_the_order_that_is_drawn"],  # nobody knows their order
}
HERE: set[int] = set()

L = keras.layers
ONES = np.ones((4, 1), "float32")
TRAIN = ke.Arrays(ONES, 2 * ONES, batch_size=4, epochs=None)  # one batch is one pass
VALID = (ONES, ONES)


def pain(number: int) -> Callable[[Any], Any]:
    """Say which pain a test of this file keeps away."""
    HERE.add(number)
    return lambda test: test


class Quick(ke.Estimator):
    """An Estimator whose exports are not verified: that takes a process each."""

    def export_saved_model(self, *args: Any, **options: Any) -> str:
        return super().export_saved_model(*args, **options, verify=False)


class Notes(ke.Exporter):
    """An exporter of the user's: notes at which step it is asked, and whether that is the last one."""

    name = "notes"
    needs_checkpoint = False

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []

    def export(self, estimator: Any, path: str, checkpoint: Any, result: Any, is_final: Any) -> None:
        self.calls.append((result["global_step"], is_final))


class Told(ke.Hook):
    """A hook of which the given functions are called at their moments."""

    def __init__(self, *, every_steps: int | None = None, **moments: Callable[..., None]) -> None:
        self.cadence = ke.Cadence(every_steps)
        self.__dict__.update(moments)


def overfitting(folder: Path, kind: type[ke.Estimator] = Quick, *layers: Any, **options: Any) -> ke.Estimator:
    """An Estimator of one weight: it goes from 0 to 2 by a tenth of the way each step, and at 1 is best on VALID."""
    one_weight = L.Dense(1, use_bias=False, kernel_initializer="zeros", name="out")
    model = keras.Sequential([L.Input((1,)), *layers, one_weight])
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    return kind(model, folder, ke.RunConfig(progress="off", **{"save_checkpoints_steps": 4, **options}))


def weight_of(model: keras.Model, layer: str = "out") -> float:
    return float(model.get_layer(layer).kernel.numpy().item())


def weight_at(step: int) -> float:
    return float(2 - 2 * 0.9**step)


def loss_at(step: int) -> float:
    """Return the loss on VALID: 0.21 at step 3, 0.004 at 6, 0.05 at 9, 0.19 at 12."""
    return (weight_at(step) - 1) ** 2


def exported_steps(folder: Path) -> list[int]:
    marks = folder.glob("export/best/*/assets.extra/evaluation.json")
    return sorted(json.loads(mark.read_text())["global_step"] for mark in marks)


def saved_steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in Checkpoints(folder).list()]


def served_weight(export: Path) -> float:
    serve = tf.saved_model.load(str(export)).signatures["serving_default"]
    return float(serve(tf.ones((1, 1)))["out"].numpy().item())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 12 steps, with the summaries of a default configuration, evaluated on two sets."""
    ours = overfitting(tmp_path_factory.mktemp("finished"))
    specs = [ke.EvalSpec(VALID, every_steps=3), ke.EvalSpec((ONES, 2 * ONES), name="seen", every_steps=6)]
    ke.train_and_evaluate(ours, ke.TrainSpec(TRAIN, 12), specs)
    return Path(ours.model_dir)


def test_every_pain_has_a_test_that_is_there():
    assert set(ELSEWHERE) | HERE == PAINS
    for name in {test for tests in ELSEWHERE.values() for test in tests}:
        file, _, function = name.partition("::")
        tree = ast.parse(Path(__file__).with_name(file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


@pain(10)
def test_not_only_one_output_is_evaluated(tmp_path: Path):
    x = keras.Input((1,), name="x")
    heads = {name: L.Dense(1, use_bias=False, kernel_initializer="zeros", name=name)(x) for name in ("up", "down")}
    model = keras.Model(x, heads)
    both = {"loss": {"up": "mse", "down": "mae"}, "metrics": {"up": ["mae"], "down": ["mse"]}}
    model.compile(keras.optimizers.SGD(0.05), **both, loss_weights={"up": 1.0, "down": 0.5})
    ours = ke.model_to_estimator(model, model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    labels = {"up": 2 * ONES, "down": -3 * ONES}
    spec = ke.EvalSpec(ke.Arrays(ONES, labels, batch_size=3), None, every_steps=2)
    stop = ke.stop_if_lower_hook(ours, "down_mse", 8.8)
    found, _ = ke.train_and_evaluate(ours, ke.TrainSpec(ke.Arrays(ONES, labels, epochs=None), 40, [stop]), spec)
    up, down = weight_of(model, "up"), weight_of(model, "down")
    assert (found.pop("global_step"), down) == (2, pytest.approx(-0.05))
    assert found == pytest.approx(
        {"up_loss": (up - 2) ** 2, "up_mae": abs(up - 2), "down_loss": abs(down + 3), "down_mse": (down + 3) ** 2}
        | {"loss": (up - 2) ** 2 + 0.5 * abs(down + 3)}
    )


@pain(15)
def test_loss_and_metrics_are_not_absent_from_summaries(finished: Path):
    train, valid = read_scalars(finished / "train"), read_scalars(finished / "eval")
    assert train[12].keys() == {"loss", "mae", "learning_rate", "steps_per_sec"}
    assert train[12]["mae"] == pytest.approx(np.mean([2 - weight_at(step) for step in range(12)]))
    assert train[12]["learning_rate"] == pytest.approx(0.05)
    assert valid[12] == {"loss": pytest.approx(loss_at(12)), "mae": pytest.approx(abs(weight_at(12) - 1))}


@pain(32)
def test_a_loss_that_a_layer_adds_is_not_left_out_of_evaluations(tmp_path: Path):
    class Penalized(L.Layer):
        def build(self, shape: Any) -> None:
            self.weight = self.add_weight(name="weight", shape=(), initializer="ones")
            self.seen = keras.metrics.Mean(name="seen")

        def call(self, x: Any) -> Any:
            self.add_loss(0.5 * self.weight**2)
            self.seen.update_state(self.weight * x)
            return self.weight * x

    model = keras.Sequential([L.Input((1,)), Penalized()])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    ours = ke.model_to_estimator(model, model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    rows = np.ones((5, 1), "float32")
    spec = ke.EvalSpec(ke.Arrays(rows, 3 * rows, batch_size=2), None, every_steps=2)
    found, _ = ke.train_and_evaluate(ours, ke.TrainSpec(ke.Arrays(ONES, 3 * ONES, epochs=None), 4), spec)
    weight = float(model.layers[-1].weight)
    assert weight > 1.2
    assert found["loss"] == pytest.approx((weight - 3) ** 2 + 0.5 * weight**2)
    assert found["seen"] == pytest.approx(weight)  # of the evaluation alone, and not of the steps before


@pain(35)
def test_a_worse_model_is_not_exported_after_a_restart_nor_the_best_checkpoint_removed(tmp_path: Path):
    def call(last_step: int) -> list[str | None]:
        spec = ke.EvalSpec(VALID, every_steps=3, exporters=ke.BestExporter("best"))
        ours = overfitting(tmp_path, keep_checkpoint_max=1)
        return ke.train_and_evaluate(ours, ke.TrainSpec(TRAIN, last_step), spec)[1]

    assert call(9) == [None]
    assert (exported_steps(tmp_path), saved_steps(tmp_path)) == ([3, 6], [6, 9])
    shutil.rmtree(tmp_path / "eval")  # what was best is not looked for in event files
    assert call(15) == [None]
    assert (exported_steps(tmp_path), saved_steps(tmp_path)) == ([3, 6], [6, 15])
    newest = max(tmp_path.glob("export/best/*"), key=lambda path: int(path.name))
    assert served_weight(newest) == pytest.approx(weight_at(6))


@pain(35)
def test_the_first_model_is_not_passed_over_when_it_is_the_best(tmp_path: Path):
    spec = ke.EvalSpec((ONES, 0 * ONES), every_steps=2, exporters=ke.BestExporter("best"))
    ke.train_and_evaluate(overfitting(tmp_path), ke.TrainSpec(TRAIN, 4), spec)
    (export,) = tmp_path.glob("export/best/*")
    assert exported_steps(tmp_path) == [2]
    assert served_weight(export) == pytest.approx(weight_at(2))


@pain(37)
def test_memory_does_not_grow_with_each_evaluation(tmp_path: Path):
    taken: list[tuple[int, int, int]] = []

    def measure(run: ke.Run, evaluation: ke.Evaluation) -> None:
        if run.step in {30, 110}:
            gc.collect()
            kinds = [type(each).__name__ for each in gc.get_objects()]
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            taken.append((kinds.count("FuncGraph"), len(kinds), resident))

    ours = overfitting(tmp_path, save_checkpoints_steps=None)
    spec = ke.EvalSpec(lambda: tf.data.Dataset.from_tensor_slices(VALID).batch(3), every_steps=1)
    ke.train_and_evaluate(ours, ke.TrainSpec(TRAIN, 110, [Told(after_evaluation=measure)]), spec)
    before, after = taken
    assert after[0] <= before[0]  # fewer, where a graph of an earlier test is freed meanwhile
    assert after[1] - before[1] < 80  # not one object for each evaluation in between
    assert after[2] - before[2] < 4 * 2**20


@pain(38)
def test_an_evaluator_does_not_wait_for_a_training_that_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def as_task(kind: str) -> tuple[Any, Any]:
        task = {"cluster": {"chief": ["localhost:1"]}, "task": {"type": kind, "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        stops = Told(every_steps=6, after_steps=lambda run: run.stop("it is enough"))
        spec = ke.EvalSpec(VALID, start_delay_secs=0, throttle_secs=0, exporters=notes)
        return ke.train_and_evaluate(overfitting(tmp_path), ke.TrainSpec(TRAIN, 1000, [stops]), spec)

    notes = Notes()
    with pytest.warns(ke.EstimatorWarning, match="no evaluator has evaluated the model so far"):
        as_task("chief")
    metrics, _ = as_task("evaluator")  # a wait for step 1000 would end by the timeout of the tests
    assert metrics["loss"] == pytest.approx(loss_at(6), rel=1e-4)
    assert notes.calls == [(0, False), (4, False), (6, True)]


@pain(39)
def test_the_model_is_neither_rebuilt_nor_reloaded_for_an_evaluation(tmp_path: Path):
    class Traced(L.Layer):
        calls = 0

        def call(self, x: Any) -> Any:
            Traced.calls += 1
            return x

    found: list[tuple[int, float]] = []

    told = Told(after_evaluation=lambda _, evaluation: found.append((Traced.calls, evaluation.metrics["loss"])))
    ours = overfitting(tmp_path, Quick, Traced(), save_checkpoints_steps=None)
    Traced.calls = 0
    spec = ke.EvalSpec(lambda: tf.data.Dataset.from_tensor_slices(VALID).batch(3), every_steps=1)
    ke.train_and_evaluate(ours, ke.TrainSpec(TRAIN, 12, [told]), spec)
    assert {calls for calls, _ in found} == {2}  # once to train, once to evaluate
    assert [loss for _, loss in found] == pytest.approx([loss_at(step) for step in range(1, 13)], rel=1e-4)
    assert not (tmp_path / "checkpoints").exists()  # so there was nothing to load


class StopsFit(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = epoch == 4


LISTENER = SimpleNamespace(
    begin=lambda: None, before_save=lambda *_: None, after_save=lambda _, step: step == 8, end=lambda *_: None
)


@pain(44)
@pytest.mark.parametrize(
    ("data", "train", "last"),
    [
        (TRAIN, {"max_steps": 5}, 5),
        (ke.Arrays(np.ones((5, 1)), 2 * np.ones((5, 1)), batch_size=1), {}, 5),
        (TRAIN, {"hooks": [ke.StopAtStep(last_step=5)]}, 5),
        (TRAIN, {"hooks": [ke.EarlyStopping("mae", patience=1)]}, 9),
        (TRAIN, {"callbacks": [StopsFit()]}, 5),
        (TRAIN, {"saving_listeners": [LISTENER]}, 8),
    ],
    ids=["max_steps", "data", "hook", "early_stopping", "callback", "listener"],
)
def test_the_last_step_is_not_lost_whatever_ends_the_training(data: Any, train: Any, last: int, tmp_path: Path):
    ours, notes = overfitting(tmp_path), Notes()
    spec = ke.EvalSpec(VALID, every_steps=3, exporters=notes)
    train_spec = ke.TrainSpec(data, **{"max_steps": 100 if data is TRAIN else None, **train})
    metrics, _ = ke.train_and_evaluate(ours, train_spec, spec)
    assert metrics["global_step"] == last
    assert metrics["loss"] == pytest.approx(loss_at(last), rel=1e-4)
    assert notes.calls == [*((step, False) for step in range(3, last, 3)), (last, True)]
    assert saved_steps(tmp_path)[-1] == last
    assert Checkpoints(tmp_path).read(last).state["out/kernel"].item() == pytest.approx(weight_at(last))


@pain(47)
def test_training_and_evaluation_are_not_on_separate_charts(finished: Path):
    runs = EventMultiplexer().AddRunsFromDirectory(str(finished)).Reload()
    assert runs.Runs().keys() == {"train", "eval", "eval_seen"}
    for tag in ("loss", "mae"):  # one tag is one chart, with a curve for each run
        steps = {run: [event.step for event in runs.Scalars(run, tag)] for run in runs.Runs()}
        assert steps == {"train": [12], "eval": [3, 6, 9, 12], "eval_seen": [6, 12]}


@pain(49)
def test_no_more_checkpoints_are_kept_after_a_restart(tmp_path: Path):
    there: list[list[int]] = []
    counts = Told(after_save=lambda run, checkpoint: there.append(saved_steps(tmp_path)))
    overfitting(tmp_path, keep_checkpoint_max=2).train(TRAIN, [counts], max_steps=10)
    overfitting(tmp_path, keep_checkpoint_max=2).train(TRAIN, [counts], max_steps=16)
    assert there == [[0], [0, 4], [4, 8], [8, 10], [10, 12], [12, 16]]
    overfitting(tmp_path, keep_checkpoint_max=1).train(TRAIN, max_steps=18)
    assert saved_steps(tmp_path) == [18]


@pain(51)
def test_no_method_of_an_estimator_is_forbidden_to_override(tmp_path: Path):
    class Mine(Quick):
        def evaluate(self, *args: Any, **options: Any) -> dict[str, Any]:
            found = super().evaluate(*args, **options)
            return {**found, "distance": abs(weight_of(self.model) - 1)}

        def export_saved_model(self, export_dir_base: Any, *args: Any, **options: Any) -> str:
            return super().export_saved_model(f"{export_dir_base}-of-mine", *args, **options)

    best = ke.BestExporter("best", metric="distance", mode="min")
    stop = ke.EarlyStopping("distance", mode="min", patience=1)
    spec = ke.EvalSpec(VALID, every_steps=6, exporters=best)
    metrics, _ = ke.train_and_evaluate(overfitting(tmp_path, Mine), ke.TrainSpec(TRAIN, 40, [stop]), spec)
    assert metrics["global_step"] == 12
    assert metrics["distance"] == pytest.approx(weight_at(12) - 1)
    assert {path.parts[-3] for path in tmp_path.glob("export/*/*/saved_model.pb")} == {"best-of-mine"}


@pain(52)
def test_event_files_do_not_hold_the_graph_nor_grow_by_more_than_their_points(tmp_path: Path):
    for last_step in (5, 10, 15):
        ours = overfitting(tmp_path, save_summary_steps=1)
        ke.train_and_evaluate(ours, ke.TrainSpec(TRAIN, last_step), ke.EvalSpec(VALID, every_steps=1))
    files = list(tmp_path.glob("*/*tfevents*"))
    found = [event for file in files for event in LegacyEventFileLoader(str(file)).Load()]
    assert {event.WhichOneof("what") for event in found} == {"file_version", "session_log", "summary"}
    values = [value for event in found for value in event.summary.value]
    assert {value.WhichOneof("value") for value in values} == {"simple_value"}
    assert len(values) == 15 * 4 + 15 * 2  # each step once, though the run was started three times
    assert sum(file.stat().st_size for file in files) < 60 * len(values)


@pain(54)
def test_hooks_are_not_told_of_an_evaluation_before_the_checkpoint_that_it_measures(tmp_path: Path):
    noted: list[str] = []

    def note(moment: str) -> Callable[..., None]:
        return lambda run, *_: noted.append(f"{moment} {run.step}")

    moments = {name: note(name) for name in ("begin", "after_steps", "after_save", "after_evaluation", "end")}
    train = ke.TrainSpec(TRAIN, 8, [Told(every_steps=2, **moments)])
    ke.train_and_evaluate(overfitting(tmp_path), train, ke.EvalSpec(VALID, throttle_secs=0))
    assert noted == [
        *("begin 0", "after_save 0"),
        *("after_steps 2", "after_steps 4", "after_save 4", "after_evaluation 4"),
        *("after_steps 6", "after_steps 8", "after_save 8", "after_evaluation 8"),
        "end 8",
    ]
