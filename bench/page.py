"""The command `python -m bench.page`: writes docs/benchmark.md and its pictures from what was measured last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.grown import WIDTH
from bench.pictures import draw_growth, draw_ratios
from bench.report import MODE_TITLES, bound_text, ours_text, peer_text, reached_text, verdict
from bench.rows import FAMILIES, ROWS
from bench.summary import digest, modes_of

_HERE = Path(__file__).parent
_PEERS = {"fit": "fit", "by hand": "loop by hand", "original": "the original", "JAX": "Keras on JAX, `fit`"}
_TEXT = """\
# The benchmark

Written by `python -m bench.page` from a run of `python -m bench` on {made}, {rounds} rounds.
{system}, {processors} processors, Python {python}; {versions}.
bench/README.md says what the rows are and how they are measured.

Each number behind "ours" says how many times as fast ours is as the best row of that kind: the median of the
rounds, with the least and the greatest in brackets; then which row that was, where there are several.

![How many times as fast ours is, by mode and model](pictures/benchmark.png)

{modes}

## What was promised

{claims}
{growth}"""
_GROWTH_TEXT = """
## How cost grows

A dense network of {width} units in each layer, with more rows in a batch, more layers, and more steps in a call
of `train`.

![How cost grows with the batch, the depth and the steps](pictures/growth.png)
"""


def render(results: Mapping[str, Any], growth: Mapping[str, Any] | None) -> str:
    """Return the page.

    Args:
        results: What `bench.__main__` writes as JSON.
        growth: What `bench.growth` writes, if it was run.
    """
    workloads = results["workloads"]
    machine = results["machine"]
    return _TEXT.format(
        made=results["made"][:10],
        rounds=results["rounds"],
        system=machine["system"],
        processors=machine["processors"],
        python=machine["python"],
        versions=_versions(workloads),
        modes="\n\n".join(_mode(workloads, mode) for mode in modes_of(workloads)),
        claims=_claims(results["claims"]),
        growth=_GROWTH_TEXT.format(width=WIDTH) if growth else "",
    ) + "".join(f"\n{name} was not run: {reason}\n" for name, reason in results["not_run"].items())


def _mode(workloads: Mapping[str, Any], mode: str) -> str:
    rows = []
    for name, ours, peers in digest(workloads, mode):
        title = f"{workloads[name]['title']}, batch {1 if mode == 'latency' else workloads[name]['batch_size']}"
        rows.append([title, ours_text(mode, ours), *(peer_text(peers.get(family)) for family in FAMILIES)])
    return f"## {MODE_TITLES[mode]}\n\n" + _table(["model", "ours", *(_PEERS[family] for family in FAMILIES)], rows)


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    rows = [[each["text"], bound_text(each), reached_text(each), verdict(each)] for each in claims]
    return _table(["what", "wanted", "hardest case", ""], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _versions(workloads: Mapping[str, Any]) -> str:
    """Return the versions of what ran, by environment."""
    found: dict[str, dict[str, str]] = {}
    for summary in workloads.values():
        for name, contender in summary["contenders"].items():
            found.setdefault(ROWS[name].environment, {}).update(contender.get("versions", {}))
    return "; ".join(
        f"{name}: " + ", ".join(f"{package} {version}" for package, version in versions.items())
        for name, versions in found.items()
        if versions
    )


def main(
    *,
    results: Annotated[Path, typer.Option(help="The folder of the results.")] = _HERE / "results",
    out: Annotated[Path, typer.Option(help="The folder of the page.")] = _HERE.parent / "docs",
) -> None:
    """Write docs/benchmark.md and its pictures from the results of `python -m bench` and `python -m bench.growth`."""
    measured, grown = (_read(results / name) for name in ("latest.json", "growth.json"))
    if measured is None or measured["quick"]:
        raise typer.BadParameter("no results of a whole run are there; run: python -m bench", param_hint="--results")
    grown = None if grown is None or grown["quick"] else grown
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    (out / "benchmark.md").write_text(render(measured, grown), encoding="utf-8")
    draw_ratios(measured, out / "pictures" / "benchmark.png")
    if grown:
        draw_growth(grown, out / "pictures" / "growth.png")
    typer.echo(f"written: {out / 'benchmark.md'}", err=True)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


if __name__ == "__main__":
    typer.run(main)
