"""Tests of bench/: the commands run, and their results are complete."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lean_processes
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
    assert mlp["contenders"]["loop"]["calls"] == {}
    calls = mlp["contenders"]["ours"]["calls"]
    assert set(calls) == {"evaluate", "predict", "predictor"}
    assert all(len(call["ms"]["rounds"]) == 2 and call["ms"]["min"] > 0 for call in calls.values())
    assert all(call["by_forward_passes"]["min"] > 0 for call in calls.values())
    assert {peer: len(ratios) for peer, ratios in mlp["ratios"].items()} == {
        "fit": 3,
        "loop": 2,  # It has no `evaluate`.
        "best fit": 3,
        "forward passes": 1,
    }
    assert all(ratio["median"] > 0 for ratios in mlp["ratios"].values() for ratio in ratios.values())
    assert results["targets"] == []


def _measured(evaluate: list[float], forward: list[float]) -> dict[str, Any]:
    """Return what `race` says of a contender in two rounds: the seconds of its calls and of their forward passes."""
    pairs = zip(evaluate, forward, strict=True)
    return {
        "versions": {},
        "rounds": [{"calls": 1, "steps": 100, "inside": 1.0, "wall": 1.0}] * 2,
        "first_call_secs": 1.0,
        "calls": [{"evaluate": {"seconds": [call] * 3, "forward": [own] * 3}} for call, own in pairs],
        "peak_mib": 1.0,
    }


@pytest.mark.parametrize(("evaluate", "is_met"), [([0.12, 0.26], True), ([0.14, 0.28], False)])
def test_an_evaluation_is_judged_by_the_forward_passes_and_the_peers_of_its_own_round(evaluate, is_met, monkeypatch):
    monkeypatch.syspath_prepend(_ROOT)
    summary = importlib.import_module("bench.summary")
    ours, original = _measured(evaluate, [0.1, 0.2]), _measured([1.25, 2.7], [0.1, 0.2])
    both = summary.summarize({"ours": ours, "original": original})
    assert both["contenders"]["original"]["calls"]["evaluate"]["by_forward_passes"]["median"] == pytest.approx(13.0)
    judged = {target["what"]: target for target in summary.targets({"cnn": both, "mlp": both})}
    assert judged["evaluate_cost"]["reached"] == pytest.approx(1.25 if is_met else 1.4)
    verdicts = [judged[what]["met"] for what in ("evaluate_cost", "evaluate_speed")]
    assert verdicts == [is_met, is_met]


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


@pytest.mark.slow
def test_two_processes_are_measured_against_one_on_a_core_each(tmp_path):
    command = [
        sys.executable,
        "-m",
        "bench.scaling",
        "--models",
        "mlp",
        "--rounds",
        "2",
        "--quick",
        "--out",
        str(tmp_path),
    ]
    environment = lean_processes.environment()
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "scaling.json").read_text())["mlp"]
    rates = measured["steps_per_second"]
    assert set(rates) == {"one", "side by side", "together"}
    assert all(len(rate["rounds"]) == 2 and 0 < rate["min"] <= rate["max"] for rate in rates.values())
    assert len({tuple(rate["rounds"]) for rate in rates.values()}) == 3
    for name, of_both in measured["ratios"].items():
        above, below = (rates[way]["rounds"] for way in name.split(" / "))
        assert of_both["rounds"] == pytest.approx([a / b for a, b in zip(above, below, strict=True)])
    shares = measured["share_of_training_together"]["rounds"]
    assert shares == pytest.approx([1 - each for each in measured["ratios"]["together / side by side"]["rounds"]])
    # The steps have these sums in them, and more; other things that run here may slow either down.
    assert 0 < measured["ms_per_sum"]["min"] < 1000 / rates["together"]["min"] * 3
    assert "together" in done.stdout


@pytest.mark.slow
def test_the_cost_of_checkpoints_is_measured_beside_a_training_without_and_a_plain_file(tmp_path):
    command = [
        sys.executable,
        "-m",
        "bench.saving",
        "--models",
        "mlp",
        "--rounds",
        "2",
        "--secs",
        "0.2",
        "--gib",
        "0.01",
    ]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "saving.json").read_text())
    rates = [
        *measured["training"]["mlp"]["steps_per_second"].values(),
        *measured["writing"]["bytes_per_second"].values(),
    ]
    assert all(len(rate["rounds"]) == 2 and 0 < rate["min"] <= rate["max"] for rate in rates)
    assert os.listdir(tmp_path) == ["saving.json"]
    assert "without / plain file" in done.stdout
