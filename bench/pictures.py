"""Draws the results: by mode how many times as fast ours is, and how cost grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.rows import BY_HAND, FIT, JAX, ORIGINAL, OURS
from bench.summary import digest, modes_of

_COLORS = {FIT: "#0b7285", BY_HAND: "#e8590c", ORIGINAL: "#868e96", JAX: "#5f3dc4"}
_MODES = {"train": "training", "evaluate": "evaluating", "predict": "predicting", "latency": "one example"}
_GROWTH = {
    "batch": ("rows in a batch", "ms for a step"),
    "depth": ("hidden layers", "ms for a step"),
    "steps": ("steps in a call of train", "ms for the call"),
}


def draw_ratios(results: dict[str, Any], path: Path) -> None:
    """Draw one panel for each mode: by model how many times as fast ours is as the best row of each kind.

    Args:
        results: What `bench.__main__` writes as JSON.
        path: The PNG file.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second, only where a picture is wanted

    workloads = results["workloads"]
    modes = modes_of(workloads)
    figure = Figure(figsize=(4.6 * max(1, len(modes)), 0.5 * len(workloads) + 2.2), layout="constrained")
    for panel, mode in zip(figure.subplots(1, max(1, len(modes)), squeeze=False)[0], modes, strict=False):
        lines = digest(workloads, mode)
        for place, (_, _, peers) in enumerate(lines):
            for number, (family, peer) in enumerate(peers.items()):
                _point(panel, peer["ratio"], place + (number - 1.5) * 0.17, _COLORS[family])
        panel.axvline(1, color="#212529", linewidth=0.8)
        panel.set_xscale("log")
        panel.set_yticks(range(len(lines)), [name for name, _, _ in lines])
        panel.invert_yaxis()
        panel.set_title(_MODES[mode], fontsize=11)
        panel.set_xlabel("ours is so many times as fast")
        panel.grid(axis="x", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    names = {f"best {family}": color for family, color in _COLORS.items()}
    _legend(figure, names)
    figure.savefig(path, dpi=110)


def draw_growth(growth: dict[str, Any], path: Path) -> None:
    """Draw how cost grows with the batch, the depth and the steps of a call.

    Args:
        growth: What `bench.growth` writes as JSON.
        path: The PNG file.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second, only where a picture is wanted

    figure = Figure(figsize=(4.2 * len(growth["curves"]), 3.9), layout="constrained")
    curves = growth["curves"]
    colors = {row: f"C{place}" for place, row in enumerate(next(iter(curves.values())))}
    for panel, name in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        labels = _GROWTH[name]
        sizes: set[int] = set()
        for row, points in curves[name].items():
            places = [point["at"] for point in points]
            sizes |= set(places)
            ms = [point["secs"]["median"] * 1000 for point in points]
            least, most = ([point["secs"][end] * 1000 for point in points] for end in ("min", "max"))
            width = 2.2 if row.startswith(OURS) else 1.2
            panel.plot(places, ms, marker="o", markersize=3, color=colors[row], linewidth=width)
            panel.fill_between(places, least, most, color=colors[row], alpha=0.15, linewidth=0)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks(sorted(sizes), map(str, sorted(sizes)))
        panel.minorticks_off()
        panel.set_xlabel(labels[0])
        panel.set_ylabel(labels[1])
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    _legend(figure, colors)
    figure.savefig(path, dpi=110)


def _point(panel: Any, ratio: dict[str, Any], height: float, color: str) -> None:
    median = ratio["median"]
    spread = [[median - ratio["min"]], [ratio["max"] - median]]
    panel.errorbar(median, height, xerr=spread, fmt="o", color=color, markersize=4, capsize=2, linewidth=1)


def _legend(figure: Any, colors: dict[str, str]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - as above

    handles = [Line2D([], [], color=color, marker="o", label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
