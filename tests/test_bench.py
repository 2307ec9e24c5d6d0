"""Tests of bench/: the commands run, and their results are complete."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_quick_benchmark_measures_ours_and_the_peers(tmp_path):
    command = [sys.executable, "-m", "bench", "--quick", "--models", "mlp", "--peers", "fit,loop", "--no-plot"]
    done = subprocess.run(
        [*command, "--json", "--out", str(tmp_path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    results = json.loads(done.stdout)
    assert json.loads((tmp_path / "latest.json").read_text()) == results
    mlp = results["workloads"]["mlp"]
    assert list(mlp["contenders"]) == ["ours", "fit", "loop"]
    for contender in mlp["contenders"].values():
        for measure in ("steps_per_second", "whole_call_steps_per_second"):
            rate = contender[measure]
            assert 0 < rate["min"] <= rate["median"] <= rate["max"]
            assert len(rate["rounds"]) == results["rounds"] == 2
        assert contender["peak_memory_mib"] > 0
    assert set(mlp["contenders"]["ours"]["call_overhead_ms"]) == {"evaluate", "predict", "predictor"}
    assert set(mlp["ratios"]) == {"fit", "loop", "best fit"}
    assert all(ratio["steps_per_second"]["median"] > 0 for ratio in mlp["ratios"].values())


def test_an_unknown_peer_is_refused_with_the_known_ones():
    command = [sys.executable, "-m", "bench", "--peers", "keras"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "fit50-arrays" in done.stderr


@pytest.mark.slow
def test_the_cost_of_copies_is_measured_beside_those_of_keras(tmp_path):
    command = [sys.executable, "-m", "bench.copies", "--models", "toy", "--rounds", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "copies.json").read_text())["toy"]
    ours, peers = {"of", "copy", "to_bytes", "fingerprint"}, {"clone_model + set_weights", "copy.deepcopy"}
    assert ours | peers <= measured["seconds"].keys()
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in measured["seconds"].values())
    assert "clone_model + set_weights" in done.stdout
