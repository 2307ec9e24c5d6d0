"""The command `make soak`: kills trainings at hundreds of random moments, and writes docs/soak.md."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fork_server import INTERVAL, KINDS, STEPS, Kill, killing

RESULT = Path(__file__).parent.parent / "docs" / "soak.md"
TEXT = """\
# Killed {number} times

Written by `make soak` on {date}, in {minutes:.0f} minutes; seed {seed}.
{platform}, {cpus} CPUs, Python {python}, {versions}.

Trainings of {steps} steps, with a checkpoint every {interval}, were killed by SIGKILL at {number} random moments, by
turns while a process started and while it trained, and the same command was given again until they ended.

- Every one of them ended as one that was not killed: weights, slots of the optimizer, seeds, moving means and counters
  **bit for bit**, the same evaluations and exports, each example consumed as often.
- Each process went on from the newest checkpoint, and that was whole; their clocks differed by up to two days.
- {most} steps at most had to be made again, {median:.0f} in the median of the {trained} kills after a step. As a
  checkpoint is written while the training goes on, the one under way can be lost, and the steps since: fewer than
  {limit} in all.

The model has dropout, batch normalisation, Adam with a moving average of the weights, and counters in raw variables
(tests/forked_training.py).

| the process was | kills |
|---|---:|
{phases}

| training on | kills |
|---|---:|
{kinds}
"""


def render(kills: Sequence[Kill], seed: int, secs: float) -> str:
    """Return the page."""
    lost = [kill.step - kill.newest for kill in kills if kill.step and kill.newest is not None]

    def table(names: Sequence[str]) -> str:
        return "\n".join(f"| {name} | {number} |" for name, number in Counter(names).most_common())

    (tensorflow,) = set(importlib.metadata.packages_distributions()["tensorflow"])
    packages = ("keras", tensorflow, "safetensors")
    return TEXT.format(
        number=len(kills),
        date=datetime.datetime.now(datetime.UTC).date(),
        platform=f"{platform.system()} on {platform.machine()}",
        cpus=os.cpu_count(),
        python=platform.python_version(),
        versions=", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        seed=seed,
        minutes=secs / 60,
        steps=STEPS,
        interval=INTERVAL,
        phases=table([kill.phase for kill in kills]),
        kinds=table([kill.kind for kill in kills]),
        trained=len(lost),
        median=statistics.median(lost),
        most=max(lost),
        limit=2 * INTERVAL,
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    with killing() as killer:
        sys.stderr.write(f"{', '.join(KINDS)}: {asked.kills} kills, seed {asked.seed}\n")
        kills = killer.kill_at_random(asked.kills, asked.seed, lambda kill: sys.stderr.write(f"{kill}\n"))
    asked.out.write_text(render(kills, asked.seed, time.monotonic() - began))
    sys.stderr.write(f"all as if they had not been killed: {asked.out}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
