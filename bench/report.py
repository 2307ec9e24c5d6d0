"""Shows the results to a person in the terminal: all rows, the best of each kind, and the claims."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.claims import hardest
from bench.rows import FAMILIES, ROWS
from bench.summary import digest, modes_of

MODE_TITLES = {
    "train": "Training: ours in steps/s",
    "evaluate": "Evaluating: ours in ms for a call",
    "predict": "Predicting: ours in ms for a call",
    "latency": "One example: our predictor in ms for a call",
}
_NARROWEST = 166  # Columns; a pipe counts as 80, in which no table fits.


def print_tables(results: dict[str, Any]) -> None:
    """Print all rows, by mode how many times as fast ours is, and the claims.

    Args:
        results: What `bench.__main__` writes as JSON.
    """
    console = Console()
    if console.width < _NARROWEST:
        console = Console(width=_NARROWEST)
    workloads = results["workloads"]
    console.print(_rows_table(workloads))
    for mode in modes_of(workloads):
        console.print(_digest_table(workloads, mode))
    if results["claims"]:
        console.print(_claims_table(results["claims"]))
        console.print(_missed_table(results["claims"]))
    for name, reason in results["not_run"].items():
        console.print(f"[bold red]{name} was not run at all:[/]")
        console.print(reason, markup=False)
    for workload, summary in workloads.items():
        for name, contender in summary["contenders"].items():
            if "failed" in contender:
                console.print(f"[bold red]{name} did not run on {workload}:[/]")
                console.print(contender["failed"], markup=False)


def ours_text(mode: str, secs: dict[str, Any] | None) -> str:
    """Return what ours reached, as a rate or in milliseconds."""
    if secs is None:
        return ""
    return _rate(1 / secs["median"]) if mode == "train" else _ms(secs)


def ratio_text(ratio: dict[str, Any]) -> str:
    """Return the median with the least and the greatest."""
    return f"{_short(ratio['median'])} ({_short(ratio['min'])}-{_short(ratio['max'])})"


def peer_text(peer: dict[str, Any] | None) -> str:
    """Return a cell of `digest`: the ratio, and of which row unless its kind has only one."""
    if peer is None:
        return ""
    family = ROWS[peer["row"]].family
    is_only = sum(row.family == family for row in ROWS.values()) == 1
    return ratio_text(peer["ratio"]) if is_only else f"{ratio_text(peer['ratio'])} {peer['row']}"


def bound_text(claim: dict[str, Any]) -> str:
    """Return the bound of a judged claim."""
    return f"at most {claim['at_most']:g}" if claim["at_least"] is None else f"at least {claim['at_least']:g}"


def reached_text(claim: dict[str, Any]) -> str:
    """Return the hardest case of a judged claim, and where it was."""
    case = hardest(claim)
    return f"{_short(case['reached']['median'])} ({case['model']}, {case['mode']}, {case['peer']})"


def verdict(claim: dict[str, Any]) -> str:
    """Return whether it was met, and in how many of its cases."""
    met = sum(case["met"] for case in claim["cases"])
    return "met" if claim["met"] else f"MISSED in {len(claim['cases']) - met} of {len(claim['cases'])}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _ms(secs: dict[str, Any]) -> str:
    ms = secs["median"] * 1000
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.2f}"


def _table(title: str, columns: list[str], *, left: int, caption: str = "") -> Table:
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < left else "right", no_wrap=True)
    return table


def _rows_table(workloads: dict[str, Any]) -> Table:
    columns = ["model", "row", "steps/s", "train() adds", "evaluate", "predict", "one example", "resident", "1 step"]
    caption = "Medians; all but steps/s and peak are ms for a call. In brackets: only tried."
    table = _table("All rows", [*columns, "peak MiB", "left out"], left=2, caption=caption)
    for workload, summary in workloads.items():
        for name, row in summary["contenders"].items():
            if "secs" in row:
                style = "bold" if name in summary["ours"].values() else ""
                table.add_row(workload, name, *_row_cells(row), style=style)
            elif "left_out" in row:
                tried = f"({_rate(row['tried'])})" if "tried" in row else ""
                table.add_row(workload, name, tried, *[""] * 7, row["left_out"], style="dim")
        table.add_section()
    return table


def _row_cells(row: dict[str, Any]) -> list[str]:
    secs, adds = row["secs"], row.get("train_call_adds_ms")
    calls = ("evaluate", "predict", "predict_one", "answer", "train_once")
    return [
        _rate(1 / secs["train"]["median"]) if "train" in secs else "",
        f"{adds['median']:,.0f}" if adds else "",
        *(_ms(secs[what]) if what in secs else "" for what in calls),
        f"{row['peak_memory_mib']:,.0f}",
    ]


def _digest_table(workloads: dict[str, Any], mode: str) -> Table:
    caption = "Ours is so many times as fast as the best row of each kind: median, (min-max)."
    headers = ["model", "ours", *(f"/ {family}" for family in FAMILIES)]
    table = _table(MODE_TITLES[mode], headers, left=1, caption=caption)
    for name, ours, peers in digest(workloads, mode):
        table.add_row(name, ours_text(mode, ours), *(peer_text(peers.get(family)) for family in FAMILIES))
    return table


def _claims_table(claims: list[dict[str, Any]]) -> Table:
    table = _table("Claims", ["what", "wanted", "hardest case", ""], left=1)
    for claim in claims:
        style = "green" if claim["met"] else "red"
        table.add_row(claim["text"], bound_text(claim), reached_text(claim), f"[{style}]{verdict(claim)}[/]")
    return table


def _missed_table(claims: list[dict[str, Any]]) -> Table:
    table = _table("All that was missed", ["what", "model", "mode", "row", "wanted", "reached"], left=4)
    for claim in claims:
        for case in claim["cases"]:
            if not case["met"]:
                where = (case["model"], case["mode"], case["peer"])
                table.add_row(claim["text"], *where, bound_text(claim), ratio_text(case["reached"]))
    return table
