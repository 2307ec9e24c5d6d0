"""Whatever call to the disk fails, or is the last of a process: the error is clear, and older checkpoints stay."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import failing_disk
import lean_processes
import pytest
from failing_disk import ALL, needs_a_compiler
from fork_server import KINDS, Killer, in_memory, killing, newest_of_whole
from struck_checkpoints import FAULTS, THINGS

from keras_estimator.checkpoints import Checkpoints

pytestmark = needs_a_compiler
CHANGES = "@(open-to-write|write|truncate|mkdir|rename|remove) "


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return failing_disk.environment(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with killing() as killer:
        yield killer


def struck(library: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(__file__).with_name("struck_checkpoints.py")
    environment = lean_processes.environment(OPENBLAS_NUM_THREADS="1", **library)
    done = subprocess.run(
        [sys.executable, program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize("thing", THINGS)
def test_any_call_to_the_disk_may_fail_or_be_the_last(thing: str, library: dict[str, str]):
    with in_memory() as folder:
        counts = json.loads(struck(library, str(folder), thing).stdout)
    assert counts.keys() <= FAULTS.keys()
    assert counts["killed before"] == counts["killed after"] >= {"write": 25, "replace": 25}.get(thing, 5)


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(library: dict[str, str]):
    with in_memory() as folder:
        called = struck(library, str(folder), "write", "traced").stderr
    calls = re.findall(rf"call \d+: (\S+) {folder}/\S*checkpoints(\S*)", called)
    writes = [number for number, (name, path) in enumerate(calls) if name == "write"]
    assert len(writes) == 2
    named = calls.index(("rename", "/step-4"))
    for file in ("/state.safetensors", "/run.json", ""):
        assert max(writes) < calls.index(("fsync", f"/.writing-step-4{file}")) < named
    removed = calls.index(("rename", "/.removing-step-1"))
    assert named < calls.index(("fsync", ""), named) < removed  # its name is there before an old one goes


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_any_call_of_a_training_may_fail(error: int, killer: Killer):
    run = killer.run.with_name(f"fails {error}")
    assert killer.server.run(run, fails=error) == 0, run.with_suffix(".log").read_text()[-3000:]
    found = re.search(r"(\d+) calls failed, .*'CheckpointError': (\d+)", run.with_suffix(".log").read_text())
    assert found is not None
    assert int(found[1]) > int(found[2]) > 25


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_ends_the_training_with_an_error(killer: Killer):
    strikes = {"pattern": f"{CHANGES}{killer.run}@(|/*)", "times": ALL, "error": errno.EROFS}
    assert killer.server.run(killer.run, strikes=strikes, **KINDS["arrays"]) == 1
    assert re.search(r"CheckpointError: nothing can be written in .*\n +found: .*Read-only file sys", killer.said())
    assert not killer.run.exists()
    assert killer.server.run(killer.run, strikes={**strikes, "at": 150}, **KINDS["arrays"]) == 1
    assert re.search(r"CheckpointError: .* cannot be written\n +found: .*Read-only file sys", killer.said())
    assert (newest_of_whole(killer.run) or 0) > 0
    killer.end("arrays")


@pytest.mark.slow
def test_a_checkpoint_that_the_disk_does_not_give_back_is_set_aside_loudly(killer: Killer):
    stops = {"pattern": "rename */checkpoints/step-40", "signal": 9}
    killer.server.run(killer.run, strikes=stops, **KINDS["arrays"])
    assert newest_of_whole(killer.run) == 35
    strikes = {"pattern": "read */step-35/state.safetensors", "error": errno.EIO}
    assert killer.server.run(killer.run, strikes=strikes, **KINDS["arrays"]) == 0, killer.said()
    assert "the newest checkpoint cannot be trusted; going back to step 30" in killer.said()
    assert os.strerror(errno.EIO) in killer.said()
    assert [each.name for each in Checkpoints(killer.run).damaged()] == ["damaged-step-35"]
    killer.compare("arrays")
