"""What test_failing_disk.py runs in a process of its own: strikes each call to the disk of what is done to checkpoints.

It takes a folder and the name of what is done, and prints how many calls were struck in each way; with one argument
more, it does that once, and the calls are in stderr.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from failing_disk import AFTER, ALL, BEFORE, HALFWAY, strike

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CheckpointError, EstimatorError, EstimatorWarning

FAULTS: dict[str, dict[str, int]] = {
    "killed before": {"signal": signal.SIGKILL, "moment": BEFORE},
    "killed halfway": {"signal": signal.SIGKILL, "moment": HALFWAY},
    "killed after": {"signal": signal.SIGKILL, "moment": AFTER},
    "written by halves": {"moment": HALFWAY, "times": ALL},
    "full": {"error": errno.ENOSPC},
    "full halfway": {"error": errno.ENOSPC, "moment": HALFWAY},
    "full from then on": {"error": errno.ENOSPC, "times": ALL},
    "broken": {"error": errno.EIO},
    "broken from then on": {"error": errno.EIO, "times": ALL},
    "read-only from then on": {"error": errno.EROFS, "times": ALL},
}
MOST_CALLS = 200  # there are fewer, or it would not end
REFUSED = {  # by a disk that is full, and by one that is read-only; one that is broken refuses all
    errno.ENOSPC: "@(open-to-write|write|truncate|mkdir)",
    errno.EROFS: "@(open-to-write|write|truncate|mkdir|rename|remove)",
}


class Done(NamedTuple):
    """Something that is done to checkpoints of the steps 1, 2 and 3, of which 3 are kept."""

    do: Callable[[Checkpoints], Any]
    changes: int  # the step of which there may be another state afterwards, or none
    left: list[str]  # when it was done again, and a checkpoint was written


def state(step: int, version: int = 1) -> dict[str, Any]:
    return {"step": np.array([step, version]), "weights": np.full(3000, float(step))}


def damage(checkpoints: Checkpoints) -> Any:
    """Read the newest that can be trusted, the newest of all being damaged by then."""
    path = checkpoints.folder / "step-3" / "state.safetensors"
    if path.exists():
        os.truncate(path, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimatorWarning)
        restored = checkpoints.newest_readable(sets_aside=True)
    assert restored is not None
    assert restored.step == 2


THINGS = {
    "write": Done(lambda these: these.write(4, state(4), {}), 1, ["step-2", "step-3", "step-4"]),
    "replace": Done(lambda these: these.write(3, state(3, 2), {}), 3, ["step-1", "step-2", "step-3"]),
    "amend": Done(lambda these: these.amend(3, {"version": 2}), 3, ["step-2", "step-3", "step-4"]),
    "set aside": Done(damage, 3, ["damaged-step-3", "step-1", "step-2"]),
    "remove": Done(lambda these: these.remove([these.folder / "step-1"]), 1, ["step-2", "step-3", "step-4"]),
}


def do(thing: Done, folder: Path, pattern: str, at: int, fault: dict[str, int]) -> bool:
    """Do it and be struck; return whether there was a call to strike. What fails has to say so."""
    with strike(pattern, at, **fault) as matched:
        try:
            thing.do(Checkpoints(folder, keep_max=3))
        except CheckpointError as error:
            check_told(error, fault["error"])
        except OSError as error:
            if thing is not THINGS["remove"] or error.errno != fault["error"]:
                raise
        return matched() >= at


def check_told(error: EstimatorError, number: int) -> None:
    """An error has to say what went wrong, and what to do."""
    assert os.strerror(number) in error.found, error
    assert all((error.expected, error.fix)), error


def do_and_die(thing: Done, folder: Path, pattern: str, at: int, fault: dict[str, int]) -> bool:
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        do(thing, folder, pattern, at, fault)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def check(thing: Done, folder: Path) -> None:
    """Whatever happened: each checkpoint is as it was, or as it was to become; and the same thing can be done again."""
    checkpoints = Checkpoints(folder, keep_max=3)
    there = {each.step: checkpoints.read(each) for each in checkpoints.list() if not is_damaged(thing, each.step)}
    assert {1, 2, 3} - {thing.changes} <= there.keys(), there.keys()
    if thing in (THINGS["replace"], THINGS["amend"]):
        assert 3 in there
    for step, restored in there.items():
        versions = (1, 2) if step == thing.changes else (1,)
        assert (restored.state["weights"] == step).all()
        assert restored.state["step"].tolist() in [[step, version] for version in versions]
        assert restored.run in [{}, {"version": 2}]
    thing.do(checkpoints)
    if thing in (THINGS["amend"], THINGS["remove"]):
        checkpoints.write(4, state(4), {})  # which tidies up
    names = sorted(os.path.relpath(path, checkpoints.folder) for path in checkpoints.folder.rglob("*"))
    assert names == sorted(
        [*thing.left, *(f"{name}/{file}" for name in thing.left for file in ("run.json", "state.safetensors"))]
    ), names


def is_damaged(thing: Done, step: int) -> bool:
    return thing is THINGS["set aside"] and step == 3


def strike_all(folder: Path, thing: Done) -> dict[str, int]:
    """Return how many calls were struck in each way."""
    counts = {}
    for way, fault in FAULTS.items():
        error = fault.get("error", 0)
        if error == errno.EIO and thing is THINGS["set aside"]:
            continue  # others, too, cannot be read then
        kinds = "write" if fault.get("moment") == HALFWAY else REFUSED.get(error, "*")
        strikes = do_and_die if fault.get("signal") else do
        at = 1
        while at < MOST_CALLS:
            run = folder / f"{way} {at}"
            shutil.copytree(folder / "before", run)
            is_struck = strikes(thing, run, f"{kinds} {folder}/*", at, fault)
            check(thing, run)
            shutil.rmtree(run)
            if not is_struck:
                break
            at += 1
        counts[way] = at - 1
    return counts


def main(folder: Path, name: str, *traced: str) -> None:
    warnings.simplefilter("error")
    for step in (1, 2, 3):
        Checkpoints(folder / "before", keep_max=3).write(step, state(step), {})
    if traced:
        do(THINGS[name], folder / "before", f"* {folder}/*", 1, {"moment": AFTER, "times": ALL})
        return
    sys.stdout.write(json.dumps(strike_all(folder, THINGS[name])))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
