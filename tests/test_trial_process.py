"""The process that tries a target out reads its files as they would be, and leaves them alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def tried(folder: Path, **asked: object) -> dict[str, object]:
    (folder / "asked.json").write_text(json.dumps({"data": None, "replaced": {}} | asked), encoding="utf-8")
    command = [sys.executable, "-m", "keras_estimator.doctor.trial_process", "asked.json", "answered.json"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    answer: dict[str, object] = json.loads((folder / "answered.json").read_text(encoding="utf-8"))
    return answer


def test_another_text_is_run_also_of_a_module_that_was_compiled_before(tmp_path: Path):
    (tmp_path / "trial_part.py").write_text("UNITS = 2\n", encoding="utf-8")
    (tmp_path / "trial_net.py").write_text(
        "import keras\nfrom trial_part import UNITS\n"
        "def build():\n    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(UNITS)])\n",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, "-c", "import trial_part"], cwd=tmp_path, check=True)
    shapes = []
    for replaced in ({}, {str(tmp_path / "trial_part.py"): "UNITS = 5\n"}):
        answer = tried(tmp_path, target="trial_net.py:build", replaced=replaced)
        assert answer["saved"] == ""
        shapes.append(answer["trial"]["answers"]["batch 0, output 0"]["shape"])  # type: ignore[index]  # JSON
    assert shapes == [[8, 2], [8, 5]]


def test_what_does_not_run_is_said(tmp_path: Path):
    (tmp_path / "trial_net.py").write_text("def build():\n    return 1 / 0\n", encoding="utf-8")
    answer = tried(tmp_path, target="trial_net.py:build")
    assert answer == {"trial": None, "failure": "ZeroDivisionError: division by zero", "saved": None}
