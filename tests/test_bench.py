"""Tests of bench/: the commands run, and their results are complete."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import lean_processes
import pytest

_ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _finds_bench(monkeypatch):
    monkeypatch.syspath_prepend(_ROOT)


@pytest.mark.slow
def test_a_quick_benchmark_measures_ours_and_the_peers(tmp_path):
    command = [sys.executable, "-m", "bench", "--quick", "--models", "mlp", "--peers", "fit,loop-stacked"]
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
    assert list(mlp["contenders"]) == ["ours", "fit", "loop-stacked"]
    calls = {"train", "train_call", "evaluate", "predict", "predict_one", "answer"}
    for name, contender in mlp["contenders"].items():
        assert set(contender["secs"]) == calls | ({"train_once"} if name == "ours" else set())
        for secs in contender["secs"].values():
            assert 0 < secs["min"] <= secs["median"] <= secs["max"]
            assert len(secs["rounds"]) == results["rounds"] == 2
        assert contender["secs"]["train_call"]["median"] > contender["secs"]["train"]["min"]
        assert contender["peak_memory_mib"] > 0
    assert set(mlp["contenders"]["ours"]["by_yardstick"]) == {"evaluate", "answer", "train_once"}
    for ratios in mlp["ratios"].values():
        assert set(ratios) == {"train", "train_call", "evaluate", "predict", "latency", "predict_one"}
        assert all(ratio["median"] > 0 for ratio in ratios.values())
    assert results["claims"] == []
    assert (tmp_path / "latest.png").read_bytes().startswith(b"\x89PNG")
    # A page of these would say how fast it is, and they do not.
    page = [sys.executable, "-m", "bench.page", "--results", str(tmp_path), "--out", str(tmp_path)]
    refused = subprocess.run(page, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert not (tmp_path / "benchmark.md").exists()


@pytest.mark.slow
def test_how_cost_grows_is_measured_and_drawn(tmp_path):
    command = [sys.executable, "-m", "bench.growth", "--quick", "--curves", "steps", "--peers", "fit,fit50"]
    command += ["--rounds", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    growth = json.loads((tmp_path / "growth.json").read_text())
    points = growth["curves"]["steps"]
    steps = {row: [point["at"] for point in each] for row, each in points.items()}
    assert steps == {"ours": [1, 10, 100, 1000], "fit": [1, 10, 100, 1000], "fit50": [100, 1000]}
    assert all(each[0]["secs"]["min"] < each[-1]["secs"]["max"] for each in points.values())
    assert "ms for a call of train" in done.stdout
    importlib.import_module("bench.pictures").draw_growth(growth, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_peer_is_refused_with_the_known_ones():
    command = [sys.executable, "-m", "bench", "--peers", "keras"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "fit50-arrays" in done.stderr.replace("\n", "")


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
