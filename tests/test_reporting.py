"""Metrics reach the log and TensorBoard: each step once, also when a run was killed and goes on."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import failing_disk
import numpy as np
import pytest
from failing_disk import needs_a_compiler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_estimator.errors import EstimatorWarning
from keras_estimator.hooks.hook import Cadence, Run
from keras_estimator.hooks.reporting import (
    MetricsLogger,
    StepCounter,
    SummaryWriter,
    mark_start,
    read_scalars,
    shown_rate,
    write_scalars,
)


def run_from(step: int, learning_rate: float | None = None) -> Run:
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=learning_rate)) if learning_rate else None
    return Run(model=model, model_dir=Path(), step=step, first_step=step, last_step=None, save=Path)


def train(hook: Any, run: Run, steps: list[int], due: int) -> None:
    """Call `hook` at these steps as the loop does: when it is due, and at the end."""
    hook.begin(run)
    for step in steps:
        run.step, run.metrics = step, {"loss": 1 / step, "confusion": np.eye(2), "count": step}
        if step % due == 0:
            hook.after_steps(run)
    hook.end(run)


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def tags(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])


def test_a_line_names_step_metrics_and_speed(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "keras_estimator")
    logger = MetricsLogger(every_steps=10)
    assert logger.cadence == Cadence(every_steps=10)
    train(logger, run_from(0), [10, 20, 24], due=10)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == ["step 10", "step 20", "step 24"]
    assert lines[0].startswith("step 10: loss 0.1, count 10, ")
    assert lines[0].endswith(" steps/s")


def test_the_last_step_is_not_logged_twice(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "keras_estimator")
    train(MetricsLogger(every_steps=10), run_from(0), [10], due=10)
    train(MetricsLogger(every_steps=10), run_from(10), [], due=10)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("rate", "text"), [(1234.4, "1,234 steps/s"), (12.3, "12 steps/s"), (0.25, "0.25 steps/s")])
def test_speed_is_short(rate: float, text: str):
    assert shown_rate(rate) == text


def test_steps_per_second_count_from_the_last_time():
    counter = StepCounter(100)
    assert counter.steps_per_sec(100) == 0
    assert counter.steps_per_sec(200) > 1000


def test_tensorboard_reads_the_scalars(tmp_path: Path):
    writer = SummaryWriter(tmp_path / "train", every_steps=10)
    assert writer.cadence == Cadence(every_steps=10)
    train(writer, run_from(0, learning_rate=0.1), [10, 20, 24], due=10)
    assert tags(tmp_path / "train") == {"loss", "count", "steps_per_sec", "learning_rate"}
    assert points(tmp_path / "train", "loss") == [(step, pytest.approx(1 / step)) for step in (10, 20, 24)]
    assert points(tmp_path / "train", "learning_rate")[0] == (10, pytest.approx(0.1))


def test_calls_of_one_process_go_to_one_file(tmp_path: Path):
    for first in range(0, 50, 10):
        train(SummaryWriter(tmp_path, every_steps=10), run_from(first), [first + 10], due=10)
    assert len(list(tmp_path.iterdir())) == 1
    assert [step for step, _ in points(tmp_path, "loss")] == [10, 20, 30, 40, 50]


def test_what_a_killed_run_wrote_beyond_its_checkpoint_is_dropped(tmp_path: Path):
    write = "from keras_estimator.hooks.reporting import write_scalars\n" + "".join(
        f"write_scalars({str(tmp_path)!r}, {step}, {{'loss': -1.0}})\n" for step in (10, 20, 30, 40)
    )
    killed = "import os, signal\n" + write + "os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert [step for step, _ in points(tmp_path, "loss")] == [10, 20, 30, 40]
    train(SummaryWriter(tmp_path, every_steps=10), run_from(20), [30, 40, 50], due=10)  # from the checkpoint of step 20
    found = points(tmp_path, "loss")
    assert [step for step, _ in found] == [10, 20, 30, 40, 50]
    assert [value > 0 for _, value in found] == [False, False, True, True, True]


def test_an_evaluation_is_one_point_under_the_same_tags(tmp_path: Path):
    write_scalars(tmp_path, 100, {"loss": np.float32(0.5), "accuracy": 1, "matrix": np.eye(2), "name": "x"})
    write_scalars(str(tmp_path), 200, {"loss": float("nan")})
    assert tags(tmp_path) == {"loss", "accuracy"}
    assert points(tmp_path, "loss")[0] == (100, 0.5)
    assert np.isnan(points(tmp_path, "loss")[1][1])


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path):
    folder = tmp_path / "eval"
    write_scalars(folder, 1, {"loss": 1.0})
    shutil.rmtree(folder)
    write_scalars(folder, 2, {"loss": 2.0})
    assert points(folder, "loss") == [(2, 2.0)]


def test_a_curve_goes_on_also_if_the_clock_was_set_back(tmp_path: Path):
    write_scalars(tmp_path, 10, {"loss": 1.0})
    write_scalars(tmp_path, 20, {"loss": 2.0})
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "events.out.tfevents.8000000000.000000000.host.1")  # as a run names it whose clock is ahead
    mark_start(tmp_path, 10)
    write_scalars(tmp_path, 20, {"loss": 3.0})
    assert points(tmp_path, "loss") == [(10, 1.0), (20, 3.0)]
    assert read_scalars(tmp_path) == {10: {"loss": 1.0}, 20: {"loss": 3.0}}


def test_a_disk_that_takes_no_point_is_a_warning(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.warns(EstimatorWarning, match="step 5 is not written to .*file/train.*Error.*room"):
        write_scalars(tmp_path / "file" / "train", 5, {"loss": 1.0})


CUT_OFF = """
import sys
from failing_disk import HALFWAY, strike
from keras_estimator.hooks.reporting import write_scalars

write_scalars(sys.argv[1], 1, {"loss": 1.0})
with strike("write */events*", error=28, moment=HALFWAY):
    write_scalars(sys.argv[1], 2, {"loss": 2.0})
write_scalars(sys.argv[1], 3, {"loss": 3.0})
"""


@needs_a_compiler
def test_what_is_written_after_a_point_that_was_cut_off_is_read(tmp_path: Path):
    (tmp_path / "library").mkdir()
    fails = failing_disk.environment(tmp_path / "library")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **fails}
    subprocess.run([sys.executable, "-c", CUT_OFF, tmp_path / "run"], check=True, env=environment)
    assert list(read_scalars(tmp_path / "run")) == [1, 3]


def test_a_relative_folder_is_where_it_was_when_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        write_scalars("train", 1, {"loss": 1.0})
    assert [len(os.listdir(tmp_path / name / "train")) for name in ("a", "b")] == [1, 1]


def test_writing_needs_no_tensorflow(tmp_path: Path):
    program = (
        "import sys\nfrom keras_estimator.hooks.reporting import write_scalars\n"
        "assert 'tensorboard' not in sys.modules\n"
        f"write_scalars({str(tmp_path)!r}, 1, {{'loss': 1.0}})\nassert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert points(tmp_path, "loss") == [(1, 1.0)]
