"""The command `python -m bench`: measures, prints tables, writes the results and a picture."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.options import chosen
from bench.original_environment import NoEnvironmentError, original_python
from bench.race import Effort, race
from bench.report import draw, print_tables
from bench.summary import OURS, OURS_ARRAYS, summarize, targets
from bench.workloads import WORKLOADS

_PEERS = ("ours-restart", "fit", "fit50", "loop", "original", "fit-arrays", "fit50-arrays")
_QUICK = Effort(rounds=2, secs=0.0, times=1, quick=True)
# Progress goes to stderr, so that `--json` leaves only JSON on stdout.
_progress = Console(stderr=True)


def _say(line: str) -> None:
    _progress.print(line, style="dim", highlight=False, markup=False)


def _contenders(peers: list[str]) -> list[str]:
    """Put ours first: each kind of input that a peer reads."""
    arrays = [peer for peer in peers if peer.endswith("-arrays")]
    datasets = [peer for peer in peers if peer not in arrays]
    return [*([OURS, *datasets] if datasets else []), *([OURS_ARRAYS, *arrays] if arrays else [])]


def _interpreters(contenders: list[str]) -> dict[str, Path]:
    """Find the interpreter of each contender; the original is left out where it cannot be installed."""
    pythons = {name: Path(sys.executable) for name in contenders}
    if "original" in pythons:
        try:
            pythons["original"] = original_python(_say)
        except NoEnvironmentError as error:
            del pythons["original"]
            _progress.print(f"[bold red]The original is left out:[/] {error}")
    return pythons


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": load,
    }


def _measure(models: list[str], peers: list[str], effort: Effort) -> dict[str, Any]:
    pythons = _interpreters(_contenders(peers))
    results: dict[str, Any] = {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "rounds": effort.rounds,
        "quick": effort.quick,
        "workloads": {},
    }
    for model in models:
        workload = WORKLOADS[model]
        steps = workload.quick_steps if effort.quick else workload.steps
        measured = race(workload, pythons, effort, _say)
        about = {"title": workload.title, "batch_size": workload.batch_size, "steps_per_call": steps}
        results["workloads"][model] = about | summarize(measured)
    results["targets"] = [] if effort.quick else targets(results["workloads"])
    return results


def main(
    *,
    models: Annotated[str, typer.Option(help="Which models, by comma.")] = ",".join(WORKLOADS),
    peers: Annotated[str, typer.Option(help="Which peers, by comma.")] = ",".join(_PEERS),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Two short rounds: shows that it runs, not how fast.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Whether to draw the picture.")] = True,
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = Path(__file__).parent / "results",
) -> None:
    """Measure keras-estimator against fit, a hand-written loop and the original, taking turns in one run."""
    names = chosen(models, tuple(WORKLOADS), "--models"), chosen(peers, _PEERS, "--peers")
    results = _measure(*names, _QUICK if quick else Effort(rounds=rounds))
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "latest.json"]
    written[0].write_text(json.dumps(results, indent=1) + "\n")
    if plot:
        written.append(out / "latest.png")
        draw(results, written[1])
    if as_json:
        print(json.dumps(results, indent=1))
    else:
        print_tables(results)
    for path in written:
        _progress.print(f"written: {path}", soft_wrap=True, highlight=False)
    ours_failed = [
        model
        for model, summary in results["workloads"].items()
        for name, contender in summary["contenders"].items()
        if name.startswith(OURS) and "failed" in contender
    ]
    if ours_failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
