"""The command `python -m bench`: measures, prints tables, writes the results and a picture."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.claims import judge
from bench.environments import interpreters
from bench.networks import NETWORKS
from bench.options import chosen
from bench.pictures import draw_ratios
from bench.race import Effort, race
from bench.report import print_tables
from bench.rows import MODES, OURS, PEERS, ROWS, with_ours
from bench.summary import summarize
from bench.waiting import Waiting

_DEFAULT_PEERS = tuple(name for name in PEERS if ROWS[name].is_default)
# Progress goes to stderr, so that `--json` leaves only JSON on stdout.
_progress = Console(stderr=True)


def _say(line: str) -> None:
    _progress.print(line, style="dim", highlight=False, markup=False)


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": load,
    }


def _measure(models: list[str], peers: list[str], effort: Effort) -> dict[str, Any]:
    rows, not_run = interpreters(with_ours(peers), _say)
    for name, reason in not_run.items():
        _progress.print(f"[bold red]{name} is left out:[/] {reason}")
    results: dict[str, Any] = {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "rounds": effort.rounds,
        "quick": effort.quick,
        "not_run": not_run,
        "workloads": {},
    }
    waiting = Waiting(models, rows, effort)
    for model in models:
        _say(waiting.line())
        workload = NETWORKS[model]
        about = {"title": workload.title, "batch_size": workload.batch_size, "at_once": workload.at_once}
        about["batches_of_a_call"] = workload.evaluated
        results["workloads"][model] = about | summarize(race(workload, rows, effort, _say))
        waiting.model_is_done()
    _say(waiting.line())
    results["claims"] = [] if effort.quick else judge(results["workloads"])
    return results


def main(
    *,
    models: Annotated[str, typer.Option(help="Which models, by comma.")] = ",".join(NETWORKS),
    modes: Annotated[str, typer.Option(help="What is measured, by comma.")] = ",".join(MODES),
    peers: Annotated[str, typer.Option(help="Which peers, by comma.")] = ",".join(_DEFAULT_PEERS),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Two short rounds: shows that it runs, not how fast.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = Path(__file__).parent / "results",
) -> None:
    """Measure keras-estimator against fit, loops by hand, the original and Keras on JAX, taking turns in one run."""
    asked = chosen(modes, MODES, "--modes")
    effort = Effort(asked, rounds=2, secs=0.0, call_secs=0.0, quick=True) if quick else Effort(asked, rounds=rounds)
    results = _measure(chosen(models, NETWORKS, "--models"), chosen(peers, PEERS, "--peers"), effort)
    out.mkdir(parents=True, exist_ok=True)
    written, picture = out / "latest.json", out / "latest.png"
    written.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw_ratios(results, picture)
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        print_tables(results)
    for path in (written, picture):
        _progress.print(f"written: {path}", soft_wrap=True, highlight=False)
    ours_failed = [
        name
        for summary in results["workloads"].values()
        for name, contender in summary["contenders"].items()
        if ROWS[name].family == OURS and "failed" in contender
    ]
    if ours_failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
