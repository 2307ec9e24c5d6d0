"""No file makes a reader run code, open a connection, write, read another file, wait for ever or fill the memory."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hostile_models
import hostile_readers
import hostile_runs
import hostile_texts
import keras
import lean_processes
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it"),
]
Results = dict[int, dict[str, Any]]

# Keras lets these in until 3.13.2 (CVE-2026-1462, CVE-2026-1669).
HOLES_OF_OLDER_KERAS = {
    "a SavedModel that writes as a layer",
    "weights that are another file",
    "weights that are put together of another file",
    "HDF5 weights that are another file",
}
IS_OLD = tuple(int(part) for part in keras.__version__.split(".")[:3]) < (3, 13, 2)
# Only the weights are read of these, and those are as they should be.
ONLY_THE_MODEL_IS_HOSTILE = {
    *(
        "a Lambda",
        "a Lambda in HDF5",
        "a function of os as a layer",
        "a builtin as a layer",
        "a pickle in a layer of torch",
    ),
    *(
        "a function of Keras that downloads as a layer",
        "the switch of safe mode as a layer",
        "a SavedModel that writes",
    ),
    *(
        "a vocabulary that is another file",
        "a SavedModel that writes as a layer",
        "a name that leads out of the archive",
    ),
    *("a config of 300 MB in 1 MB", "a config in 100,000 lists", "a layer of 2**60 units"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Give every case to its readers; where a process ends at one, another goes on behind it."""
    found: Results = collections.defaultdict(dict)
    while len(found) < len(hostile_readers.PAIRS):
        folder = tmp_path_factory.mktemp("hostile")
        (folder / "base").mkdir()
        command = [sys.executable, str(Path(__file__).with_name("hostile_readers.py")), str(folder), str(len(found))]
        environment = lean_processes.environment(MALLOC_ARENA_MAX="2", KERAS_BACKEND="tensorflow")
        ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)
        lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
        assert lines, ended.stderr[-3000:]
        for line in lines:
            found[line["number"]].update(line)
        if "kind" not in lines[-1]:
            found[lines[-1]["number"]].update(kind="the process has ended", error=ended.stderr[-1000:])
    return found


def expected(case: str, reader: str) -> set[str]:
    """Return what may come of a case that leaves no trace."""
    of_checkpoints = {*hostile_runs.FILES, *hostile_runs.CHECKPOINTS}
    if case in hostile_models.FILES:
        if reader == "weights":
            return {"returned"} if case in ONLY_THE_MODEL_IS_HOSTILE else {"refused"}
        if case == "a name that leads out of the archive":
            return {"returned", "refused"}  # nobody goes there
        return {"returned"} if IS_OLD and case in HOLES_OF_OLDER_KERAS else {"refused"}
    if case in of_checkpoints:
        return {"returned"} if reader in ("report", "command") else {"refused"}
    if case in hostile_runs.RECORDS or reader in ("notes", "cluster"):
        return {"refused"}
    if case in hostile_texts.TEXTS:
        return {"returned", "refused"}
    return {"returned"}


@pytest.mark.parametrize(
    "number", range(len(hostile_readers.PAIRS)), ids=[f"{reader}: {case}" for case, reader in hostile_readers.PAIRS]
)
def test_a_hostile_file_is_refused_or_harmless(number: int, results: Results):
    (case, reader), result = hostile_readers.PAIRS[number], results[number]
    assert result["kind"] in expected(case, reader), result["error"]
    assert result["seen"] == []
    assert not result["changed"], "what was read is not as it was"
    assert not result["outside"], "something else was written"
    assert not result["secret"] or (IS_OLD and case in HOLES_OF_OLDER_KERAS), "another file was read"
    assert result["mib"] < hostile_readers.MOST_MIB
    assert "MemoryError" not in result["error"], "it was refused by the machine, not by a limit"


def test_what_is_watched_for_is_seen(tmp_path: Path):
    """A reader that does it all is found out; without this, the others would be of no use."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import os, pathlib, pickle, subprocess
from hostile_models import Touches
from hostile_readers import Watch
here = pathlib.Path({str(tmp_path)!r})
(here / "in").mkdir()
(here / "made_up_module.py").touch()
sys.path.insert(0, str(here))
watch = Watch()
with watch.on([here / "in"], set()):
    (here / "in" / "allowed").write_text("")
    (here / "not allowed").write_text("")
    os.rename(here / "not allowed", here / "elsewhere")
    pickle.loads(pickle.dumps(Touches(here / "trace")))
    exec(compile("x = 1", "made up", "exec"))
    import made_up_module
print(*(text.split()[0] for text in watch.seen))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    wanted = ["open", "os.rename", "pickle.find_class", "os.system", "compile", "exec", "import"]
    assert list(dict.fromkeys(ended.stdout.split())) == wanted
    assert (tmp_path / "trace").exists()
