"""Tests of what bench/ makes of its measurements: who is left out, ratios by round, claims, the page."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _finds_bench(monkeypatch):
    monkeypatch.syspath_prepend(_ROOT)


def _bench(name: str) -> Any:
    return importlib.import_module(f"bench.{name}")


def _measured(
    step: list[float],
    *,
    evaluate: list[float] | None = None,
    answer: list[float] | None = None,
    predict_one: list[float] | None = None,
    yardstick: list[float] | None = None,
) -> dict[str, Any]:
    """Return what `race` says of a contender in two rounds: the seconds of a step, of its calls, of a yardstick."""
    calls = {"evaluate": evaluate or step, "answer": answer or step, "predict_one": predict_one or step}
    turns = []
    for place in range(2):
        turn = {what: {"secs": secs[place]} for what, secs in calls.items()}
        if yardstick:
            turn["answer"]["yardstick"] = yardstick[place]
        turns.append(turn | {"train_once": {}})
    trained = [{"calls": 1, "steps": 100, "inside": 100 * secs, "wall": 100 * secs + 0.5} for secs in step]
    return {"versions": {"keras": "3"}, "rounds": trained, "calls": turns, "peak_mib": 1.0}


def _results(**measured: dict[str, Any]) -> dict[str, Any]:
    summary = _bench("summary").summarize({name.replace("_", "-"): each for name, each in measured.items()})
    workloads = {"mlp": {"title": "MLP", "batch_size": 32} | summary}
    machine = {"system": "Linux", "processors": 2, "python": "3.11"}
    about = {"made": "2026-01-31T00:00", "rounds": 2, "quick": False, "machine": machine, "not_run": {}}
    return about | {"workloads": workloads, "claims": _bench("claims").judge(workloads)}


def _claim(results: dict[str, Any], words: str) -> dict[str, Any]:
    (claim,) = [claim for claim in results["claims"] if words in claim["text"]]
    return claim


def test_a_ratio_is_of_the_same_round():
    results = _results(ours=_measured([0.1, 0.4]), fit=_measured([0.2, 0.4]))
    train = results["workloads"]["mlp"]["ratios"]["fit"]["train"]
    assert train["rounds"] == pytest.approx([2.0, 1.0])
    assert (train["min"], train["median"], train["max"]) == pytest.approx((1.0, 1.5, 2.0))


def test_the_fastest_plan_of_ours_stands_for_it():
    results = _results(ours=_measured([0.4, 0.4]), ours_stacked=_measured([0.1, 0.1]), fit=_measured([0.2, 0.2]))
    mlp = results["workloads"]["mlp"]
    assert mlp["ours"] == {"datasets": "ours-stacked", "arrays": None}
    assert mlp["ratios"]["fit"]["train"]["median"] == pytest.approx(2.0)


def test_who_is_given_arrays_is_compared_with_ours_that_is():
    results = _results(ours=_measured([0.4, 0.4]), ours_arrays=_measured([0.1, 0.1]), jax_arrays=_measured([0.2, 0.2]))
    ratios = results["workloads"]["mlp"]["ratios"]
    assert list(ratios) == ["jax-arrays"]
    assert ratios["jax-arrays"]["train"]["median"] == pytest.approx(2.0)


def test_one_example_is_compared_with_the_quicker_way_of_the_peer():
    fit = _measured([1.0, 1.0], answer=[0.2, 0.2], predict_one=[4.0, 4.0])
    ratios = _results(ours=_measured([1.0, 1.0], answer=[0.1, 0.1]), fit=fit)["workloads"]["mlp"]["ratios"]["fit"]
    assert ratios["latency"]["median"] == pytest.approx(2.0)
    assert ratios["predict_one"]["median"] == pytest.approx(40.0)


@pytest.mark.parametrize(("seconds", "is_met"), [(0.98, True), (0.96, False)])
def test_a_claim_is_judged_by_the_best_row_of_all_kinds(seconds, is_met):
    results = _results(ours=_measured([1.0, 1.0]), fit=_measured([1.5, 1.5]), loop=_measured([seconds, seconds]))
    claim = _claim(results, "best other row")
    cases = {case["mode"]: case for case in claim["cases"]}
    assert cases["train"]["peer"] == cases["evaluate"]["peer"] == "loop"
    assert [cases[mode]["met"] for mode in ("train", "evaluate")] == [is_met, is_met]
    assert claim["met"] == is_met
    assert cases["latency"]["peer"] == "fit"  # The bare call has a bound of its own.
    verdict = _bench("report").verdict(claim)
    assert verdict == ("met" if is_met else "MISSED in 2 of 3")
    assert _bench("claims").hardest(claim)["reached"]["median"] == pytest.approx(seconds)


@pytest.mark.parametrize(("answers", "is_met"), [([0.11, 0.24], True), ([0.13, 0.26], False)])
def test_a_predictor_is_judged_by_the_bare_call_of_its_own_round(answers, is_met):
    results = _results(ours=_measured([1.0, 1.0], answer=answers, yardstick=[0.1, 0.2]))
    claim = _claim(results, "bare tf.function call")
    assert claim["met"] == is_met
    assert claim["cases"][0]["reached"]["rounds"] == pytest.approx([answers[0] / 0.1, answers[1] / 0.2])


def test_what_was_not_measured_is_not_judged():
    results = _results(ours=_measured([1.0, 1.0]), original={"failed": "no such module"}, fit={"left_out": "slow"})
    assert results["workloads"]["mlp"]["ratios"] == {}
    assert results["claims"] == []


def test_every_promise_is_about_models_modes_and_rows_that_there_are():
    claims, rows = _bench("claims"), _bench("rows").ROWS
    for claim in claims.CLAIMS:
        assert set(claim.models) <= set(_bench("networks").NETWORKS)
        assert claim.peer in {*rows, claims.BEST, claims.BEST_BY_HAND, claims.YARDSTICK}
        assert (claim.at_least is None) != (claim.at_most is None)


def test_only_a_setting_that_cannot_be_the_best_of_its_family_is_left_out():
    hopeless_beside = _bench("race").hopeless_beside
    rates = {"ours": 1.0, "fit": 10.0, "fit50": 100.0, "fit-xla": 40.0, "loop": 1000.0, "loop-xla": 510.0}
    assert {name: hopeless_beside(name, rates) for name in rates} == {
        "ours": None,
        "fit": None,  # Claims name it.
        "fit50": None,
        "fit-xla": "fit50",
        "loop": None,
        "loop-xla": None,
    }


def test_a_turn_is_as_long_for_all_and_of_whole_executions():
    effort, mlp = _bench("race").Effort(secs=0.5), _bench("networks").NETWORKS["mlp"]
    assert [effort.steps(mlp, rate) for rate in (10.0, 300.0, 20000.0)] == [50, 150, 10000]
    quick = _bench("race").Effort(secs=0.5, quick=True)
    assert quick.steps(mlp, 20000.0) == 50


def test_the_page_says_what_was_reached_and_what_was_missed(tmp_path):
    results = _results(
        ours=_measured([0.01, 0.01]),
        fit=_measured([0.02, 0.02]),
        fit50=_measured([0.008, 0.008]),
        original={"failed": ""},
    )
    results["not_run"] = {"jax-arrays": "no Python 3.11"}
    page = _bench("page").render(results, None)
    assert "| MLP, batch 32 | 100 | 0.80 (0.80-0.80) fit50 |  |  |  |" in page
    assert "MISSED in 3 of 3" in page
    assert "at least 15 | 2.00 (mlp, train, fit)" in page
    assert "jax-arrays was not run: no Python 3.11" in page
    assert "How cost grows" not in page
    _bench("pictures").draw_ratios(results, tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_name_what_was_missed_and_what_did_not_run(capsys):
    results = _results(ours=_measured([0.01, 0.01]), fit=_measured([0.008, 0.008]), loop={"failed": "out of [memory]"})
    results["not_run"] = {"original": "no Python 3.11"}
    _bench("report").print_tables(results)
    printed = capsys.readouterr().out
    assert "MISSED in 3 of 3" in printed
    assert "original was not run at all:\nno Python 3.11" in printed
    assert "loop did not run on mlp:\nout of [memory]" in printed
