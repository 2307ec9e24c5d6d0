"""The command `python -m bench.growth`: how cost grows with the batch, the depth and the steps of a call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.environments import interpreters
from bench.grown import SIZES, STEPS, grown
from bench.options import chosen
from bench.race import Effort, Turns, Worker, tried, workers_of
from bench.rows import OURS, PEERS, ROWS
from bench.summary import spread
from bench.workloads import AT_ONCE

_PEERS = ("fit", "fit50", "loop", "loop-stacked", "original")
_KNOWN = tuple(name for name in PEERS if not ROWS[name].reads_arrays)  # which makes whole epochs, and not some steps
_CURVES = tuple(SIZES)
_progress = Console(stderr=True)


def _say(line: str) -> None:
    _progress.print(line, style="dim", highlight=False, markup=False)


def measure(curves: Sequence[str], pythons: dict[str, Path], effort: Effort) -> dict[str, Any]:
    """Measure some curves.

    Args:
        curves: Which of them.
        pythons: The interpreter of each row.
        effort: How much is measured.

    Returns:
        By curve and row its points: `at` which size, and the `secs` of a step, or of a call of `train`.
    """
    points: dict[str, dict[str, list[dict[str, Any]]]] = {name: {row: [] for row in pythons} for name in curves}
    for batch_size, depth in sorted({size for name in curves for size in SIZES[name]}):
        steps = STEPS if "steps" in curves and (batch_size, depth) in SIZES["steps"] else ()
        found = _sized(batch_size, depth, pythons, effort, steps)
        for row, (step, calls) in found.items():
            for name, at in (("batch", batch_size), ("depth", depth)):
                if name in curves and (batch_size, depth) in SIZES[name]:
                    points[name][row].append({"at": at, "secs": step})
            if calls:
                points["steps"][row] = [{"at": steps, "secs": secs} for steps, secs in calls.items()]
    return points


def _sized(
    batch_size: int, depth: int, pythons: dict[str, Path], effort: Effort, calls: tuple[int, ...]
) -> dict[str, tuple[dict[str, Any], dict[int, dict[str, Any]]]]:
    """Return by row the seconds of a step of a network of this size, and by steps those of whole calls."""
    workload = grown(batch_size, depth)
    with workers_of(workload, pythons) as workers:
        turns = Turns(workload, workers, _say)
        turns.take("starting", lambda worker: worker.answer())
        rates = tried(turns, workload, effort, leaves_out=False)
        for number in range(effort.rounds):
            title = f"round {number + 1} of {effort.rounds}"
            turns.take(title, lambda worker: _turn(worker, effort.steps(workload, rates[worker.name]), calls))
    found = {}
    for row, results in turns.results.items():
        if "failed" in results:
            _progress.print(f"[bold red]{row} did not run on {workload.title}:[/]\n{results['failed']}")
            continue
        steps = {each: spread([turn["wall"] for turn in results[f"calls of {each}"]]) for each in _whole(row, calls)}
        found[row] = spread([turn["inside"] / turn["steps"] for turn in results["rounds"]]), steps
    return found


def _turn(worker: Worker, steps: int, calls: tuple[int, ...]) -> dict[str, Any]:
    asked = {f"calls of {each}": [worker.ask(do="train", steps=each, secs=0)] for each in _whole(worker.name, calls)}
    return {"rounds": [worker.ask(do="train", steps=steps, secs=0)], **asked}


def _whole(row: str, calls: tuple[int, ...]) -> list[int]:
    """Return those steps that a row can make: one with many steps in an execution makes no fewer."""
    return [steps for steps in calls if not ROWS[row].executes_many or steps % AT_ONCE == 0]


def _table(name: str, curve: dict[str, list[dict[str, Any]]]) -> Table:
    what = "ms for a call of train, by its steps" if name == "steps" else f"ms for a step, by {name}"
    table = Table(title=what, title_justify="left")
    table.add_column("row")
    sizes = sorted({point["at"] for points in curve.values() for point in points})
    for size in sizes:
        table.add_column(str(size), justify="right")
    for row, points in curve.items():
        ms = {point["at"]: f"{point['secs']['median'] * 1000:.2f}" for point in points}
        table.add_row(row, *(ms.get(size, "") for size in sizes), style="bold" if row == OURS else "")
    return table


def main(
    *,
    curves: Annotated[str, typer.Option(help="Which curves, by comma.")] = ",".join(_CURVES),
    peers: Annotated[str, typer.Option(help="Which peers, by comma.")] = ",".join(_PEERS),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Short turns: shows that it runs, not how fast.")] = False,
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = Path(__file__).parent / "results",
) -> None:
    """Measure how the cost of a step grows with batch and depth, and that of a call of train with its steps."""
    names = [OURS, *chosen(peers, _KNOWN, "--peers")]
    pythons, not_run = interpreters([ROWS[name] for name in names], _say)
    for name, reason in not_run.items():
        _progress.print(f"[bold red]{name} is left out:[/] {reason}")
    measured = measure(chosen(curves, _CURVES, "--curves"), pythons, Effort(rounds=rounds, secs=0.4, quick=quick))
    out.mkdir(parents=True, exist_ok=True)
    results = {"rounds": rounds, "quick": quick, "curves": measured}
    (out / "growth.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console = Console()
    console = console if console.width >= 100 else Console(width=100)
    for name, curve in measured.items():
        console.print(_table(name, curve))


if __name__ == "__main__":
    typer.run(main)
