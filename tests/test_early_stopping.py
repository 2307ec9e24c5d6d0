"""Training stops when the evaluations say so, stays stopped after a restart, and can end with the best weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripted_evaluations import X, Y, estimator, train

import keras_estimator as ke
from keras_estimator.errors import ConfigError
from keras_estimator.hooks.reporting import mark_start, write_scalars

FALLS_AND_RISES = [9.0, 5.0, 4.0, 3.0, 3.5, 3.4, 3.3, *([8.0] * 40)]


def test_it_stops_when_patience_is_over(tmp_path: Path):
    assert train(estimator(tmp_path, FALLS_AND_RISES), ke.EarlyStopping(patience=3)) == 6
    assert train(estimator(tmp_path / "2", FALLS_AND_RISES), ke.EarlyStopping(patience=1)) == 4
    assert train(estimator(tmp_path / "3", FALLS_AND_RISES), ke.EarlyStopping(patience=2, min_delta=1.5)) == 5


def test_a_run_that_was_stopped_stays_stopped(tmp_path: Path):
    assert train(estimator(tmp_path, FALLS_AND_RISES), ke.EarlyStopping(patience=3)) == 6
    assert train(estimator(tmp_path, FALLS_AND_RISES), ke.EarlyStopping(patience=3)) == 6


def test_the_count_goes_on_after_a_restart(tmp_path: Path):
    first = estimator(tmp_path, FALLS_AND_RISES)
    assert train(first, ke.EarlyStopping(patience=3), max_steps=5) == 5  # two no better by then
    assert train(estimator(tmp_path, FALLS_AND_RISES), ke.EarlyStopping(patience=3)) == 6


def test_the_best_weights_are_put_back_also_after_a_restart(tmp_path: Path):
    def stopper() -> ke.EarlyStopping:
        return ke.EarlyStopping(patience=3, restore_best=True)

    ours = estimator(tmp_path, FALLS_AND_RISES, keep_checkpoint_max=1)
    train(ours, stopper(), max_steps=5)
    again = estimator(tmp_path, FALLS_AND_RISES, keep_checkpoint_max=1)
    assert train(again, stopper()) == 6
    assert float(again.model.at) == 3.0
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-3", "step-6"]  # the best one stays, however many newer ones there are
    later = estimator(tmp_path, FALLS_AND_RISES)
    assert later.get_variable_value("at") == 3.0


def test_it_watches_the_evaluation_it_is_told_to(tmp_path: Path):
    stopper = ke.EarlyStopping(patience=1, eval_name="valid")
    assert train(estimator(tmp_path, FALLS_AND_RISES), stopper, name="valid", max_steps=10) == 4
    stopper = ke.EarlyStopping(patience=1)
    assert train(estimator(tmp_path / "2", FALLS_AND_RISES), stopper, name="the_only_one", max_steps=10) == 4


@pytest.mark.parametrize("is_first", [True, False])
def test_it_does_not_mix_up_evaluation_sets(is_first: bool, tmp_path: Path):
    specs = [ke.EvalSpec((X, Y), every_steps=2), ke.EvalSpec((X, Y), name="other", every_steps=1)]
    train_spec = ke.TrainSpec(ke.Arrays(X, Y, batch_size=40, epochs=None), 40, [ke.EarlyStopping(patience=2)])
    ours = estimator(tmp_path, FALLS_AND_RISES)
    found, _ = ke.train_and_evaluate(ours, train_spec, specs if is_first else specs[::-1])
    assert found[""]["global_step"] == 10  # the best of every second one is at 6


@pytest.mark.parametrize(("names", "watched"), [(["valid"], "other"), (["valid", "test"], None)])
def test_an_evaluation_that_will_not_be_made_is_refused(names: list[str], watched: str | None, tmp_path: Path):
    specs = [ke.EvalSpec((X, Y), name=name) for name in names]
    train_spec = ke.TrainSpec((X, Y), 5, [ke.EarlyStopping(eval_name=watched)])
    with pytest.raises(ConfigError, match="does not know which evaluation to watch") as caught:
        ke.train_and_evaluate(estimator(tmp_path), train_spec, specs)
    assert caught.value.fix == "EarlyStopping(..., eval_name='valid')"


@pytest.mark.parametrize(("last", "kept", "loss"), [(3.3, 6, 3.3), (9.0, 4, 3.5)])
def test_the_last_step_is_measured_before_another_one_takes_its_place(
    last: float, kept: int, loss: float, tmp_path: Path
):
    ours = estimator(tmp_path, [*FALLS_AND_RISES[:6], last])
    spec = ke.EvalSpec((X, Y), None, every_steps=4)
    data = ke.Arrays(X, Y, batch_size=40, epochs=None)
    stopper = ke.EarlyStopping(patience=3, restore_best=True)
    metrics, _ = ke.train_and_evaluate(ours, ke.TrainSpec(data, 6, [stopper]), spec)
    assert float(ours.model.at) == ours.get_variable_value("at") == kept
    assert metrics == {"loss": pytest.approx(loss), "global_step": 6}  # of the model as it is left


def test_a_metric_that_is_not_there_is_named_with_those_that_are(tmp_path: Path):
    with pytest.raises(ConfigError, match="one of loss"):
        train(estimator(tmp_path, FALLS_AND_RISES), ke.EarlyStopping("accuracy"))


@pytest.mark.parametrize("patience", [0, -1, 2.0, True])
def test_a_patience_that_cannot_be(patience: Any):
    with pytest.raises(ConfigError, match="patience="):
        ke.EarlyStopping(patience=patience)


@pytest.mark.parametrize(
    ("make", "stops_at"),
    [
        (lambda ours: ke.stop_if_lower_hook(ours, "loss", 4.5), 2),
        (lambda ours: ke.stop_if_lower_hook(ours, "loss", 4.5, min_steps=3), 3),
        (lambda ours: ke.stop_if_higher_hook(ours, "loss", 7.0), 7),
        (lambda ours: ke.stop_if_no_decrease_hook(ours, "loss", 3), 6),
        (lambda ours: ke.stop_if_no_decrease_hook(ours, "loss", 2, run_every_secs=None, run_every_steps=1), 5),
        (lambda ours: ke.stop_if_no_increase_hook(ours, "loss", 2), 3),
        (lambda ours: ke.make_early_stopping_hook(ours, lambda: float(ours.model.at) >= 5), 5),
    ],
)
def test_the_hooks_of_the_original_stop_right_after_the_evaluation(make: Any, stops_at: int, tmp_path: Path):
    ours = estimator(tmp_path, FALLS_AND_RISES)
    assert train(ours, make(ours)) == stops_at
    again = estimator(tmp_path, FALLS_AND_RISES)
    assert train(again, make(again)) == stops_at  # resuming with such a hook must not fail, nor train on


def test_evaluations_of_a_future_that_was_lost_do_not_count(tmp_path: Path):
    ours = estimator(tmp_path, FALLS_AND_RISES)
    write_scalars(ours.eval_dir(), 90, {"loss": 0.0})
    assert train(ours, ke.stop_if_lower_hook(ours, "loss", 2.0), max_steps=8) == 8


def test_evaluations_that_another_process_wrote_count_at_the_next_look(tmp_path: Path):
    ours = estimator(tmp_path)

    class Elsewhere(ke.Hook):
        cadence = ke.Cadence(every_steps=4)

        def after_steps(self, run: ke.Run) -> None:
            write_scalars(ours.eval_dir("side"), run.step, {"loss": float(run.step)})

    stop = ke.stop_if_higher_hook(
        ours, "loss", 7.0, eval_dir=ours.eval_dir("side"), run_every_secs=None, run_every_steps=1
    )
    ours.train(ke.Arrays(X, Y, batch_size=40, epochs=None), [Elsewhere(), stop], max_steps=20)
    assert float(ours.model.at) == 8.0


def test_a_hook_that_watches_a_folder_without_evaluations_says_so(tmp_path: Path):
    ours = estimator(tmp_path, FALLS_AND_RISES)
    with pytest.warns(ke.EstimatorWarning, match=r"eval_dir=estimator.eval_dir\('valid'\)"):
        train(ours, ke.stop_if_lower_hook(ours, "loss", 4.5), name="valid", max_steps=5)
    ours = estimator(tmp_path / "2", FALLS_AND_RISES)
    stop = ke.stop_if_lower_hook(ours, "loss", 4.5, eval_dir=ours.eval_dir("valid"))
    assert train(ours, stop, name="valid", max_steps=5) == 2


def test_what_a_restart_took_back_is_not_read(tmp_path: Path):
    ours = estimator(tmp_path)
    folder = ours.eval_dir()
    for step in (1, 2, 3):
        write_scalars(folder, step, {"loss": 10.0 - step})
    mark_start(folder, 1)
    stop = ke.stop_if_lower_hook(ours, "loss", 8.5, run_every_secs=None, run_every_steps=1)
    ours.train(ke.Arrays(X, Y, batch_size=40, epochs=None), [stop], max_steps=5)
    assert float(ours.model.at) == 5.0


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ke.make_early_stopping_hook(None, True), "cannot be called"),
        (lambda: ke.make_early_stopping_hook(None, lambda: True, 60, 10), "two clocks"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(make: Any, what: str):
    with pytest.raises(ConfigError, match=what):
        make()
