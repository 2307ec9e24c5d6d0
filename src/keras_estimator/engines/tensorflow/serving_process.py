"""The process that tries exports out: it has TensorFlow, nothing of the user's, and stays for the next one."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_estimator.engines.tensorflow import serve_check
from keras_estimator.errors import ExportError

_TIMEOUT_SECS = 600
_NOISE = ("oneDNN", "absl::InitializeLog")  # What TensorFlow says of itself on some machines, whatever happens.
_running: dict[int, Server] = {}  # by the process that started it: a fork must not talk to its parent's


def start() -> None:
    """Start it in the background, unless it runs: it takes seconds until it has imported TensorFlow."""
    server()


def serve(folder: Path, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Load an export there, on the CPU, and make calls.

    Args:
        folder: The exported model.
        calls: The name of a signature and its inputs by name, tensors.

    Returns:
        The outputs of each call by name, tensors.

    Raises:
        ExportError: it cannot be loaded, or a call fails.
    """
    encoded = [
        {"signature": name, "inputs": {key: serve_check.encode(tensor) for key, tensor in inputs.items()}}
        for name, inputs in calls
    ]
    with tempfile.TemporaryDirectory() as place:
        files = {name: str(Path(place, name)) for name in ("calls", "results", "log")}
        Path(files["calls"]).write_text(json.dumps(encoded), encoding="utf-8")
        problem = _ask({"export": str(folder.absolute()), **files})
        if problem:
            raise ExportError(
                "the export cannot be served without the code that made it",
                found=problem,
                expected="a fresh Python process with nothing but TensorFlow loads it and runs every signature",
                fix="see the last line above; verify=False exports it all the same",
            )
        results = json.loads(Path(files["results"]).read_text(encoding="utf-8"))
    return [{name: serve_check.decode(pair) for name, pair in result.items()} for result in results]


def server() -> Server:
    """Return the process that serves for this one; another one if it has ended."""
    found = _running.get(os.getpid())
    if found is not None and not found.is_alive:
        found.close()
        found = None
    if found is None:
        found = _running[os.getpid()] = Server()
        atexit.register(found.close)
    return found


def _ask(request: Mapping[str, str]) -> str:
    """Have a request served; return what went wrong, or nothing."""
    asked = server()
    answer = asked.ask(request)
    if answer is None and asked.has_answered:  # it ended just now, because it was idle
        asked = server()
        answer = asked.ask(request)
    if answer == 0:
        return ""
    log = Path(request["log"])
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else asked.said()
    ended = "" if answer is None or answer >= 0 else f"it was ended by signal {-answer}"
    return "\n".join(filter(None, [_last_lines(said), ended])) or "the process ended without a word"


def _last_lines(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not any(noise in line for noise in _NOISE)]
    return "\n".join(lines[-4:])


class Server:
    """One process that serves; it ends when this one does, or when it has been idle for a while.

    Attributes:
        process: It.
        has_answered: Whether it has worked before.
    """

    def __init__(self) -> None:
        # On the CPU: the memory of an accelerator is taken by this process.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.has_answered = False
        self._said = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process may write to it
        self.process: Any = subprocess.Popen(
            [sys.executable, "-I", serve_check.__file__],
            cwd=tempfile.gettempdir(),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C is for the training, which may end with an export
        )

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return self.process.poll() is None

    def ask(self, request: Mapping[str, str]) -> int | None:
        """Return the status that was answered; None if the process ended instead, or had to be ended."""
        watch = threading.Timer(_TIMEOUT_SECS, self._kill)
        watch.start()
        try:
            with contextlib.suppress(OSError):
                self.process.stdin.write(json.dumps(request) + "\n")
                self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BaseException:
            self.close()  # its answer would be taken for that to the next request
            raise
        finally:
            watch.cancel()
        if not answer:
            self.close()
            return None
        self.has_answered = True
        return int(answer)

    def said(self) -> str:
        """Return what the process has written of its own accord."""
        if not self._log.closed:
            self._log.seek(0)
            self._said = self._log.read().decode(errors="replace")
        return self._said

    def close(self) -> None:
        """End the process, and what it has begun."""
        self._kill()
        self.process.wait()
        self.said()
        for file in (self.process.stdin, self.process.stdout, self._log):
            with contextlib.suppress(OSError):
                file.close()
        atexit.unregister(self.close)

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self.process.kill()
            else:
                os.killpg(self.process.pid, signal.SIGKILL)
