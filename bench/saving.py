"""The command `python -m bench.saving`: what checkpoints cost a training, and how fast a large one is written."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.options import chosen
from bench.summary import ratio, spread
from bench.workloads import WORKLOADS, Workload

EVERY_STEPS = 100
MOST_LOST = 0.03  # of the training, by a checkpoint every so many steps
LEAST_OF_DISK = 0.6  # of the disk's own speed
_PARTS = 16  # arrays of the large state
_RESULTS = Path(__file__).parent / "results"
_progress = Console(stderr=True)


def training(workload: Workload, rounds: int, secs: float, folder: Path) -> dict[str, Any]:
    """Train by turns with a checkpoint every 100 steps and with none; return steps/s of both, and their ratio.

    Args:
        workload: What is trained.
        rounds: Turns of each way.
        secs: About how long a turn takes.
        folder: Holds the model_dirs.
    """
    import tensorflow as tf  # noqa: PLC0415 - it takes seconds

    import keras_estimator as ke  # noqa: PLC0415 - the same

    x, y = workload.make_arrays()
    data = ke.Arrays(x, y, batch_size=workload.batch_size, epochs=None)
    ways = {}
    for name, every in (("with checkpoints", EVERY_STEPS), ("without", None)):
        config = ke.RunConfig(
            model_dir=str(folder / workload.name / name.replace(" ", "-")),
            save_checkpoints_steps=every,
            save_checkpoints_secs=None,
            save_summary_steps=None,
            log_step_count_steps=None,
            progress="off",
        )
        ways[name] = ke.model_to_estimator(workload.make_model(tf), config=config)
    for estimator in ways.values():
        estimator.train(data, steps=EVERY_STEPS)  # which traces
    per_second = 10 * EVERY_STEPS / _timed(lambda: ways["without"].train(data, steps=10 * EVERY_STEPS))
    steps = EVERY_STEPS * max(1, round(secs * per_second / EVERY_STEPS))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        _progress.print(f"{workload.name}, round {number + 1} of {rounds}", style="dim", highlight=False)
        for name, estimator in ways.items():
            rates[name].append(steps / _timed(lambda estimator=estimator: estimator.train(data, steps=steps)))
    spreads = {name: spread(each) for name, each in rates.items()}
    return {
        "title": workload.title,
        "steps": steps,
        "steps_per_second": spreads,
        "with / without": ratio(spreads["with checkpoints"], spreads["without"]),
    }


def writing(gib: float, rounds: int, folder: Path) -> dict[str, Any]:
    """Write a large checkpoint, and by turns the same bytes as one plain file; return bytes/s of both, and their ratio.

    Both end when the disk has them.
    """
    from keras_estimator.checkpoints import Checkpoints  # noqa: PLC0415 - it is measured

    rows = int(gib * 2**30 / _PARTS / 4 / 1024)
    arrays = [np.random.default_rng(place).random((rows, 1024), np.float32) for place in range(_PARTS)]
    num_bytes = sum(array.nbytes for array in arrays)

    def plain() -> None:
        with (folder / "plain").open("wb", buffering=0) as file:
            for array in arrays:
                _written(file, memoryview(array).cast("B"))
            os.fsync(file.fileno())

    def checkpoint() -> None:
        Checkpoints(folder, keep_max=1).write(1, {f"layer_{n}/kernel": array for n, array in enumerate(arrays)}, {})

    rates: dict[str, list[float]] = {"checkpoint": [], "disk": []}
    for number in range(rounds):
        _progress.print(f"{gib:g} GiB, round {number + 1} of {rounds}", style="dim", highlight=False)
        for name, write in (("disk", plain), ("checkpoint", checkpoint)):
            rates[name].append(num_bytes / _timed(write))
            (folder / "plain").unlink(missing_ok=True)
    spreads = {name: spread(each) for name, each in rates.items()}
    return {
        "gib": gib,
        "bytes_per_second": spreads,
        "checkpoint / disk": ratio(spreads["checkpoint"], spreads["disk"]),
    }


def _written(file: Any, data: memoryview) -> None:
    while data:
        data = data[file.write(data[: 64 * 2**20]) :]


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _table(trained: dict[str, Any], written: dict[str, Any]) -> Table:
    table = Table(
        title=f"A checkpoint every {EVERY_STEPS} steps, and one of {written['gib']:g} GiB", title_justify="left"
    )
    for place, column in enumerate(("what", "ours", "without / plain file", "ratio", "(min-max)", "wanted", "")):
        table.add_column(column, justify="left" if place == 0 else "right", no_wrap=True)
    for measured in trained.values():
        rates, found = measured["steps_per_second"], measured["with / without"]
        ours, plain = (f"{rates[name]['median']:,.0f} steps/s" for name in ("with checkpoints", "without"))
        table.add_row(measured["title"], ours, plain, *_judged(found, 1 - MOST_LOST))
    rates, found = written["bytes_per_second"], written["checkpoint / disk"]
    ours, plain = (f"{rates[name]['median'] / 2**20:,.0f} MiB/s" for name in ("checkpoint", "disk"))
    table.add_row(f"{written['gib']:g} GiB written", ours, plain, *_judged(found, LEAST_OF_DISK))
    return table


def _judged(found: dict[str, Any], least: float) -> tuple[str, str, str, str]:
    met = "met" if found["median"] >= least else "MISSED"
    return f"{found['median']:.3f}", f"({found['min']:.3f}-{found['max']:.3f})", f"{least:.2f}", met


def main(
    *,
    models: Annotated[str, typer.Option(help="Which models, by comma.")] = ",".join(WORKLOADS),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way.")] = 5,
    secs: Annotated[float, typer.Option(min=0.1, help="About how long a turn takes.")] = 4.0,
    gib: Annotated[float, typer.Option(min=0.001, help="The size of the large checkpoint.")] = 1.0,
    out: Annotated[Path, typer.Option(help="The folder of the results; its disk is measured.")] = _RESULTS,
) -> None:
    """Measure what checkpoints cost a training, and how fast a large one is written, against the disk itself."""
    names = chosen(models, WORKLOADS, "--models")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        trained = {name: training(WORKLOADS[name], rounds, secs, Path(folder)) for name in names}
        written = writing(gib, rounds, Path(folder))
    results = {"training": trained, "writing": written}
    (out / "saving.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console = Console()
    console = console if console.width >= 120 else Console(width=120)
    console.print(_table(trained, written))


if __name__ == "__main__":
    typer.run(main)
