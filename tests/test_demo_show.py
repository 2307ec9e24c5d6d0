"""The demo: all of it, once, and what it refuses to begin with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DEMO = [sys.executable, "-m", "keras_estimator.cli", "demo", "--folder", "demo"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "summary.json").write_text("mine")
    done = subprocess.run(DEMO, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "holds something else" in done.stderr
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    ("package", "extra"), [("sklearn", "demo"), ("matplotlib", "demo"), ("tensorflow", "tensorflow")]
)
def test_a_missing_package_is_named_with_what_installs_it(package: str, extra: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = ['demo'];"
        "from keras_estimator.cli import main; main()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"no module named {package}" in done.stderr
    assert f'pip install "keras-estimator[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_part_that_fails_ends_the_demo_with_its_command(tmp_path: Path) -> None:
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text("raise SystemExit(5)")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(DEMO, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "exit status 5" in done.stderr
    assert "keras_estimator.demo.digits train_and_export" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_demo_keeps_what_its_table_says(tmp_path: Path) -> None:
    (tmp_path / "demo" / "killed").mkdir(parents=True)
    (tmp_path / "demo" / "killed" / "losses.jsonl").write_text("of an earlier demo\n")
    (tmp_path / "demo" / ".keras-estimator-demo").touch()
    done = subprocess.run(DEMO, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())

    assert 900 <= summary["killed_at"] < summary["steps"] == 1350
    assert summary["went_on_from"] == summary["killed_at"] // 250 * 250
    assert summary["arrays"] == summary["arrays_equal_to_unkilled"] > 20
    assert summary["accuracy"] == summary["accuracy_unkilled"] > 0.95
    # The same graph on the same batches; 1e-6 is for processors that add up in another order.
    assert summary["largest_weight_difference_to_fit"] <= 1e-6
    assert summary["accuracy_of_fit"] == pytest.approx(summary["accuracy"], abs=1e-6)
    assert summary["accuracy_served"] == pytest.approx(summary["accuracy"], abs=1e-6)
    # The served graph was optimised by itself.
    assert summary["largest_difference_served"] <= 1e-4

    assert f"went on from step {summary['went_on_from']:,}" in done.stdout
    assert done.stdout.splitlines()[-1] == f"picture: {summary['picture']}"
    assert Path(summary["picture"]).read_bytes().startswith(b"\x89PNG")

    notes = [json.loads(line) for line in (tmp_path / "demo" / "killed" / "losses.jsonl").read_text().splitlines()]
    losses: dict[int, set[float]] = {}
    for note in notes:
        if "step" in note:
            losses.setdefault(note["step"], set()).add(note["loss"])
    assert len(losses) == summary["steps"] / 10
    assert {len(values) for values in losses.values()} == {1}, "the steps that were repeated gave other losses"
    assert np.load(tmp_path / "demo" / "served.npy").shape == (360, 10)
