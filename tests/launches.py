"""Launch a script in a folder of a test as all members of a cluster, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import json, sys
from keras_estimator.launcher import Cluster
from keras_estimator.local_launcher import LocalLauncher

cluster, restarts, bounds = map(json.loads, sys.argv[1:])
launcher = LocalLauncher(**bounds)
sys.exit(launcher.run(Cluster(**cluster), [sys.executable, "-S", "script.py"], restarts=restarts))
"""

# What each member does before its own lines: it leaves a note for each start and for each signal.
BEGINNING = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

tf_config = json.loads(os.environ["TF_CONFIG"])
role = tf_config["task"]["type"]
name = role + str(tf_config["task"]["index"])


def note(what, text):
    with open(what + "." + name, "a") as file:
        file.write(str(text) + "\\n")


def there(what):
    path = Path(what)
    return path.read_text().split() if path.exists() else []


def until(condition):
    while not condition():
        time.sleep(0.01)


def forever():
    until(lambda: False)


note("starts", os.getpid())
start = len(there("starts." + name))
"""

ALL_KINDS = {"num_workers": 2, "num_ps": 1, "has_evaluator": True}


class Launched:
    """A launch that a test has started in a folder of its own."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process = folder, process

    def noted(self, what: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / what).read_text().split()
        return []

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, self.shown()
            time.sleep(0.01)

    def shown(self) -> str:
        return "".join((self.folder / file).read_text(errors="replace") for file in ("out", "err"))

    def lines(self, of: str, file: str = "out") -> list[str]:
        text = (self.folder / file).read_bytes().decode("utf-8", "surrogateescape")
        found = re.findall(rf"^\[{of}\] +(.*)$", text, re.M)
        return [str(each) for each in found]

    def status(self) -> int:
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it does not end: {self.shown()}")

    def survivors(self) -> list[int]:
        """Return the processes that run in the folder of this launch."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (each / "cwd").readlink() == self.folder and int(each.name) != self.process.pid:
                    found.append(int(each.name))
        return found


Launch = Callable[..., Launched]


@contextlib.contextmanager
def launches(folder: Path) -> Iterator[Launch]:
    """Give a function that launches a script in this folder."""
    launched: list[Launched] = []

    def start(script: str, restarts: int = 3, before: str = "", **options: Any) -> Launched:
        cluster = {key: options.pop(key) for key in list(options) if key in ALL_KINDS}
        (folder / "script.py").write_text(BEGINNING + textwrap.dedent(script))
        arguments = [json.dumps(each) for each in ({"num_workers": 1, **cluster}, restarts, options)]
        # Tests that run in the background, or under nohup, ignore these signals, and so would all below them.
        heard = "import signal; signal.signal(2, signal.default_int_handler); signal.signal(1, signal.SIG_DFL)"
        command = ["-c", f"{heard}\n{before}{PROGRAM}", *arguments]
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
            process = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=out, stderr=err, env=environment)
        launched.append(Launched(folder, process))
        return launched[-1]

    try:
        yield start
    finally:
        for each in launched:
            each.process.kill()
            each.process.wait()
            each.until(lambda each=each: not each.survivors())
