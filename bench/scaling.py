"""The command `python -m bench.scaling`: what it costs that two processes train one model together, core by core.

Weak scaling: every process has one core of its own and the same work in a step, `batch_size` rows. Four processes
for each workload (scaling_member.py) are started and warmed up, and take turns:

- **one**: a process trains alone; the other core has nothing to do.
- **side by side**: two such processes train at once, each its own model, and know nothing of each other.
- **together**: the chief and the worker of a cluster train one model.

A machine gives two processes less than twice what it gives one (caches, memory, clocks): that is the step from "one"
to "side by side". The step from there to "together" is what training together costs, everything included: sums,
waiting for the slower one, agreeing after each stride, twice as many rows to read. The bare sums, in a compiled loop
over tensors of the size of the gradients with nothing beside, are timed in the same two processes: they are the least
of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.options import chosen
from bench.race import Worker, WorkerError
from bench.summary import ratio, spread
from bench.workloads import WORKLOADS, Workload
from keras_estimator.launcher import Cluster
from keras_estimator.local_launcher import free_addresses

ONE, SIDE_BY_SIDE, TOGETHER = "one", "side by side", "together"
_SUMS = 200
_progress = Console(stderr=True)


def _cores() -> Sequence[int]:
    """Return two cores, or the same one twice where there are no more."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    return (cores * 2)[:2]


@contextlib.contextmanager
def _members(workload: Workload) -> Iterator[tuple[list[Worker], list[Worker]]]:
    """Start two processes that train alone and two that train together, one of each on each core."""
    cluster = Cluster(2)
    addresses = free_addresses(2)
    settings = [{"TF_CONFIG": "{}"}] * 2 + [{"TF_CONFIG": cluster.tf_config(m, addresses)} for m in cluster.group]
    started: list[Worker] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for place, (name, own) in enumerate(zip(("first", "second", "chief", "worker"), settings, strict=True)):
                log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `Worker.close` closes it
                model_dir = f"{folder}/{name if place < 2 else TOGETHER}"
                arguments = [workload.name, str(_cores()[place % 2]), model_dir]
                command = [sys.executable, "-m", "bench.scaling_member", *arguments]
                started.append(Worker(name, workload, command, log, own))
            for member in started:
                member.answer()
            yield started[:2], started[2:]
        finally:
            for member in started:
                member.close()


def _at_once(members: Sequence[Worker], **request: Any) -> float:
    """Let them do the same at the same time; return the seconds of the slowest.

    Raises:
        WorkerError: one has failed.
    """
    for member in members:
        member.send(**request)
    seconds, failed = [0.0], []
    for member in members:
        try:
            seconds.append(member.answer()["seconds"])
        except WorkerError as error:
            failed.append(f"{member.name}: {error}")
    if failed:  # All of them: that one has lost another does not say why.
        raise WorkerError("\n".join(failed))
    return max(seconds)


def measure(workload: Workload, rounds: int, steps: int) -> dict[str, Any]:
    """Measure one workload.

    Args:
        workload: What is trained.
        rounds: Turns of each of the three ways.
        steps: Steps of a turn.

    Returns:
        `steps_per_second` by way, `ratios` of two ways round by round, the milliseconds of one sum, and the
        share of a step together that is not the step side by side.
    """
    seconds: dict[str, list[float]] = {ONE: [], SIDE_BY_SIDE: [], TOGETHER: []}
    sums: list[float] = []
    with _members(workload) as (alone, together):
        ways = {ONE: alone[:1], SIDE_BY_SIDE: alone, TOGETHER: together}
        for number in range(rounds + 1):  # The first one traces and compiles, and does not count.
            _progress.print(f"{workload.name}, round {number} of {rounds}", style="dim", highlight=False)
            for way, members in ways.items():
                seconds[way].append(_at_once(members, do="train", steps=steps))
            sums.append(_at_once(together, do="sum", times=_SUMS))
    rates = {way: spread([steps / each for each in rounds_[1:]]) for way, rounds_ in seconds.items()}
    by_communication = [
        1 - a / b for a, b in zip(rates[TOGETHER]["rounds"], rates[SIDE_BY_SIDE]["rounds"], strict=True)
    ]
    return {
        "title": workload.title,
        "rows_per_process": workload.batch_size,
        "steps": steps,
        "steps_per_second": rates,
        "ratios": {
            "side by side / one": ratio(rates[SIDE_BY_SIDE], rates[ONE]),
            "together / side by side": ratio(rates[TOGETHER], rates[SIDE_BY_SIDE]),
            "together / one": ratio(rates[TOGETHER], rates[ONE]),
        },
        "ms_per_sum": spread([each / _SUMS * 1000 for each in sums[1:]]),
        "share_of_training_together": spread(by_communication),
    }


def _table(results: dict[str, Any]) -> Table:
    table = Table(title="Two processes against one, each on a core of its own", title_justify="left")
    table.caption, table.caption_justify = (
        "Medians over the rounds; 1.00: as many steps/s as that, on twice the rows.",
        "left",
    )
    columns = (
        "model",
        "way",
        "steps/s",
        "(min-max)",
        "/ one",
        "(min-max)",
        "/ side by side",
        "(min-max)",
        "one sum, ms",
        "of a step",
    )
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < 2 else "right", no_wrap=True)
    for name, measured in results.items():
        for way, rate in measured["steps_per_second"].items():
            spreads = [measured["ratios"].get(f"{way} / {other}") for other in (ONE, SIDE_BY_SIDE)]
            cells = [cell for each in spreads for cell in (_cells(each, 2) if each else ("", ""))]
            sums = ("", "")
            if way == TOGETHER:
                per_sum = measured["ms_per_sum"]["median"]
                sums = f"{per_sum:.2f}", f"{per_sum * rate['median'] / 10:.0f} %"
            table.add_row(name, way, *_cells(rate, 0), *cells, *sums, style="bold" if way == TOGETHER else "")
        table.add_section()
    return table


def _cells(values: dict[str, Any], digits: int) -> tuple[str, str]:
    return f"{values['median']:.{digits}f}", f"({values['min']:.{digits}f}-{values['max']:.{digits}f})"


def main(
    *,
    models: Annotated[str, typer.Option(help="Which models, by comma.")] = "mlp,wide,cnn",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Short turns: shows that it runs, not how fast.")] = False,
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = Path(__file__).parent / "results",
) -> None:
    """Measure what it costs that two processes train one model together, against one, and against two apart."""
    names = chosen(models, WORKLOADS, "--models")
    if len(set(_cores())) < 2:
        _progress.print("[bold red]There is one core only:[/] two processes share it, so that no ratio means anything.")
    results = {}
    try:
        for name in names:
            workload = WORKLOADS[name]
            results[name] = measure(workload, rounds, workload.quick_steps if quick else workload.steps)
    except WorkerError as error:
        raise SystemExit(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    (out / "scaling.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console = Console()
    console = console if console.width >= 130 else Console(width=130)
    console.print(_table(results))


if __name__ == "__main__":
    typer.run(main)
