"""Shows the results to a person: tables for the terminal, a picture for the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.summary import EVALUATE_COST, EVALUATE_SPEED, OURS, STEPS, WHOLE_CALLS
from bench.workloads import WORKLOADS

_NARROWEST = 136  # Columns; a pipe counts as 80, in which no table fits.
_RATIOS = {
    STEPS: "train(): steps/s, ours / peer",
    EVALUATE_SPEED: "evaluate(): time, peer / ours",
    EVALUATE_COST: "evaluate(): time, ours / peer",
}
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


def _ratio_cells(ratio: dict[str, Any] | None) -> tuple[str, str]:
    return (f"{ratio['median']:.2f}", f"({ratio['min']:.2f}-{ratio['max']:.2f})") if ratio else ("", "")


def _speed_table(workloads: dict[str, Any]) -> Table:
    columns = ["model", "contender", "steps/s", "(min-max)", "ours / it", "(min-max)", "train() adds, ms", "ours / it"]
    caption = "Medians over the rounds. Last column: ours / it for whole calls of train(), all they add included."
    table = _table("Training", caption, columns)
    last_workload = ""
    for workload, name, contender in _ran(workloads):
        if last_workload not in ("", workload):
            table.add_section()
        last_workload = workload
        rate, ratio = contender[STEPS], workloads[workload]["ratios"].get(name)
        table.add_row(
            workload,
            name,
            f"{rate['median']:.0f}",
            f"({rate['min']:.0f}-{rate['max']:.0f})",
            *_ratio_cells(ratio and ratio[STEPS]),
            f"{contender['train_call_overhead_ms']['median']:.0f}",
            f"{ratio[WHOLE_CALLS]['median']:.2f}" if ratio else "",
            style="bold" if name.startswith(OURS) else "",
        )
    return table


def _call_table(workloads: dict[str, Any]) -> Table:
    columns = ["model", "contender", "evaluate", "/ forward", "(min-max)", "it / ours", "(min-max)"]
    columns += ["predict", "predictor", "1st train", "peak MiB"]
    caption = "evaluate: 20 batches, ms; / forward: by its forward passes alone; it / ours: by our evaluate.\n"
    caption += "predict, predictor (which is resident): 1 batch, ms beyond the forward pass. 1st train: seconds."
    table = _table("Calls", caption, columns)
    for workload, name, contender in _ran(workloads):
        calls = contender["calls"]
        evaluate = calls.get("evaluate")
        speed = workloads[workload]["ratios"].get(name, {}).get(EVALUATE_SPEED)
        added = [calls[what]["overhead_ms"]["median"] if what in calls else None for what in ("predict", "predictor")]
        table.add_row(
            workload,
            name,
            f"{evaluate['ms']['median']:.1f}" if evaluate else "",
            *_ratio_cells(evaluate and evaluate["by_forward_passes"]),
            *_ratio_cells(speed),
            *("" if ms is None else f"{ms:.1f}" for ms in added),
            f"{contender['first_call_seconds']:.1f}",
            f"{contender['peak_memory_mib']:.0f}",
            style="bold" if name.startswith(OURS) else "",
        )
    return table


def _target_table(targets: list[dict[str, Any]]) -> Table:
    table = _table("Targets", "Medians.", ["model", "what", "peer", "at least", "at most", "reached", ""])
    for target in targets:
        numbers = (target["at_least"], target["at_most"], target["reached"])
        table.add_row(
            target["workload"],
            _RATIOS[target["what"]],
            target["peer"],
            *("" if number is None else f"{number:.2f}" for number in numbers),
            "[green]met[/]" if target["met"] else "[red]missed[/]",
        )
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
        ran = {name: c[STEPS] for name, c in summary["contenders"].items() if "failed" not in c}
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
