"""Shows the results to a person: tables for the terminal, a picture for the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.summary import OURS
from bench.workloads import WORKLOADS

_NARROWEST = 120  # Columns; a pipe counts as 80, in which no table fits.
_OURS_COLOR, _PEER_COLOR = "#0b7285", "#adb5bd"


def print_tables(results: dict[str, Any]) -> None:
    """Print the speed, the calls and the targets.

    Args:
        results: What `bench.__main__` writes as JSON.
    """
    console = Console()
    if console.width < _NARROWEST:
        console = Console(width=_NARROWEST)
    console.print(_speed_table(results["workloads"]))
    console.print(_call_table(results["workloads"]))
    if results["targets"]:
        console.print(_target_table(results["targets"]))
    for workload, name, contender in _rows(results["workloads"]):
        if "failed" in contender:
            console.print(f"[bold red]{name} did not run on {workload}:[/]")
            console.print(contender["failed"], markup=False)


def _rows(workloads: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (workload, name, contender)
        for workload, summary in workloads.items()
        for name, contender in summary["contenders"].items()
    ]


def _ran(workloads: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [row for row in _rows(workloads) if "failed" not in row[2]]


def _table(title: str, caption: str, columns: list[str]) -> Table:
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < 2 else "right", no_wrap=True)
    return table


def _speed_table(workloads: dict[str, Any]) -> Table:
    columns = ["model", "contender", "steps/s", "(min-max)", "ours / it", "(min-max)", "train() adds, ms", "ours / it"]
    caption = "Medians over the rounds. Last column: ours / it for whole calls of train(), all they add included."
    table = _table("Training", caption, columns)
    last_workload = ""
    for workload, name, contender in _ran(workloads):
        if last_workload not in ("", workload):
            table.add_section()
        last_workload = workload
        rate, ratio = contender["steps_per_second"], workloads[workload]["ratios"].get(name)
        steps_ratio = ratio["steps_per_second"] if ratio else None
        table.add_row(
            workload,
            name,
            f"{rate['median']:.0f}",
            f"({rate['min']:.0f}-{rate['max']:.0f})",
            f"{steps_ratio['median']:.2f}" if steps_ratio else "",
            f"({steps_ratio['min']:.2f}-{steps_ratio['max']:.2f})" if steps_ratio else "",
            f"{contender['train_call_overhead_ms']['median']:.0f}",
            f"{ratio['whole_call_steps_per_second']['median']:.2f}" if ratio else "",
            style="bold" if name.startswith(OURS) else "",
        )
    return table


def _call_table(workloads: dict[str, Any]) -> Table:
    columns = ["model", "contender", "evaluate, ms", "predict, ms", "predictor, ms", "first train(), s", "peak MiB"]
    caption = "evaluate (20 batches), predict and a resident predictor (1 batch): beyond the model's own time."
    table = _table("Calls", caption, columns)
    for workload, name, contender in _ran(workloads):
        calls = [contender["call_overhead_ms"].get(what) for what in ("evaluate", "predict", "predictor")]
        table.add_row(
            workload,
            name,
            *("" if added is None else f"{added:.1f}" for added in calls),
            f"{contender['first_call_seconds']:.1f}",
            f"{contender['peak_memory_mib']:.0f}",
            style="bold" if name.startswith(OURS) else "",
        )
    return table


def _target_table(targets: list[dict[str, Any]]) -> Table:
    table = _table("Targets", "Steps per second, ours / peer.", ["model", "peer", "at least", "reached", ""])
    for target in targets:
        verdict = "[green]met[/]" if target["met"] else "[red]missed[/]"
        reached = f"{target['reached']:.2f}"
        table.add_row(target["workload"], target["peer"], f"{target['at_least']:.2f}", reached, verdict)
    return table


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the steps per second of every contender, one panel for each model.

    Args:
        results: What `bench.__main__` writes as JSON.
        path: The PNG file.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second, only where a picture is wanted

    workloads = results["workloads"]
    figure = Figure(figsize=(4.2 * len(workloads), 3.6), layout="constrained")
    panels = figure.subplots(1, len(workloads), squeeze=False)[0]
    for panel, (workload, summary) in zip(panels, workloads.items(), strict=True):
        ran = {name: c["steps_per_second"] for name, c in summary["contenders"].items() if "failed" not in c}
        names, rates = list(ran), [rate["median"] for rate in ran.values()]
        below = [rate["median"] - rate["min"] for rate in ran.values()]
        above = [rate["max"] - rate["median"] for rate in ran.values()]
        colors = [_OURS_COLOR if name.startswith(OURS) else _PEER_COLOR for name in names]
        panel.barh(names, rates, xerr=[below, above], color=colors, ecolor="#495057", capsize=2)
        panel.invert_yaxis()
        panel.set_title(f"{WORKLOADS[workload].title}, batch {WORKLOADS[workload].batch_size}", fontsize=10)
        panel.set_xlabel("steps per second (median, min to max)")
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
