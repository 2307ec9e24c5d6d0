"""Start the processes of a cluster on this machine, merge what they print, and start them anew after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import IO, Any, TextIO

from rich.console import Console
from rich.style import Style

from keras_estimator.errors import ConfigError
from keras_estimator.launcher import Cluster, Ending, Launcher, Member, Restarts, signal_name

_TICK_SECS = 0.05
_LEFTOVER_SECS = 1.0  # what a process started itself, such as the resource tracker of multiprocessing, ends after it
_DRAIN_SECS = 10.0  # a pipe may stay open: in the hands of a process that left the group, or of a reader that sleeps
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue")

# A child tells the guard its number, which is that of its group, too, and becomes the command. The guard's pipe is
# its stdin until then: so the guard sees no end of its own input before it knows every child.
_ENTER = 'echo $$ >&0; exec "$@" </dev/null'
_GUARD = """
import os, signal, sys

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    groups ^= {int(line)}  # first when it begins, again when it is gone
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


@dataclasses.dataclass(frozen=True)
class LocalLauncher(Launcher):
    """Starts all processes on this machine, and lets none of them outlive the call.

    A status of 2 (a wrong command line) is not mended by a restart, and neither is an error that comes twice, soon
    after the start each time: both end the launch with restarts left.

    Attributes:
        grace_secs: How long workers may go on when the chief is done, and all of them after a signal.
        save_secs: How long after a crash the others may take to save and end, until they are killed.
        end_secs: The same for processes that have nothing to save: when the training is over, or has failed.
        soon_secs: How soon after its start a process has to end twice with one status (not by a signal) so that
            there is no third time.
    """

    grace_secs: float = 60.0
    save_secs: float = 30.0
    end_secs: float = 10.0
    soon_secs: float = 30.0

    def run(self, cluster: Cluster, command: Sequence[str], *, restarts: int = 3) -> int:
        """Run the command in processes of this machine, as `Launcher.run` says; each has a session of its own.

        What they print comes in whole lines with the name of who printed them. SIGINT and SIGTERM are passed on to
        all, and so is SIGHUP, as SIGTERM; then nothing is started anew. If this process is killed, so are they.

        Raises:
            ConfigError: this is Windows.
        """
        if sys.platform == "win32":
            raise ConfigError(
                "processes are launched on Linux and macOS only",
                found="Windows, which has neither their signals nor groups of processes",
                expected="Linux, macOS, or the Windows Subsystem for Linux",
                fix="wsl keras-estimator launch --workers 2 script.py",
            )
        with _received_signals() as received, _Guard() as guard:
            crew = _Crew(self, cluster, command, restarts, guard, received)
            try:
                return crew.train()
            except KeyboardInterrupt:
                return crew.stop()
            finally:
                crew.kill()


@contextlib.contextmanager
def _received_signals() -> Iterator[list[int]]:
    """Note signals that ask for the end instead of dying of them; what is ignored (nohup) stays so."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # Python allows it to no other
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, note) or signal.SIG_DFL
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class _Guard:
    """A process that kills the groups of all children when this one is gone, however it went."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self.pipe: IO[bytes] = self._process.stdin

    def __enter__(self) -> _Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self._process.wait()

    def forget(self, group: int) -> None:
        """Leave alone what has the number of a group that is gone."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.pipe.fileno(), b"%d\n" % group)


class _Output:
    """The console of all processes: whole lines, each with the name of who printed it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._lock = threading.Lock()
        width = max(map(len, names)) + len("[]")
        plain = {name: f"{f'[{name}]':<{width}}" for name in names}
        styles = {name: Style(color=_COLOURS[place % len(_COLOURS)]) for place, name in enumerate(names)}
        coloured = {name: styles[name].render(prefix) for name, prefix in plain.items()}
        consoles = {stream: Console(file=stream) for stream in (sys.stdout, sys.stderr)}
        self._prefixes = {
            stream: coloured if console.color_system and not console.no_color else plain
            for stream, console in consoles.items()
        }

    def write(self, stream: TextIO, name: str, line: str) -> None:
        """Write one line to stdout or stderr; its bytes are those that the process wrote."""
        data = f"{self._prefixes[stream][name]} {line}\n".encode("utf-8", "surrogateescape")
        with self._lock:
            try:
                stream.buffer.write(data)
                stream.buffer.flush()
            except OSError:  # Nobody reads any more, as after `| head`, or the disk is full: the training goes on.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Child:
    """One process, in a session of its own.

    Attributes:
        member: What it is in the cluster.
        ending: How it has ended, once `poll` has found that it has.
    """

    def __init__(
        self, member: Member, command: Sequence[str], environment: Mapping[str, str], guard: _Guard, output: _Output
    ) -> None:
        self.member = member
        self.ending: Ending | None = None
        self._guard, self._began = guard, time.monotonic()
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _ENTER, "sh", *command],
            stdin=guard.pipe,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
            encoding="utf-8",
            errors="surrogateescape",  # with `encoding` a "\r" ends a line, too: progress is shown as it comes
        )

        def read(pipe: IO[str], stream: TextIO) -> None:
            for line in pipe:
                output.write(stream, str(member), line.removesuffix("\n"))

        pipes = (self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr)
        self._readers = [threading.Thread(target=read, args=each, daemon=True) for each in pipes]
        for reader in self._readers:
            reader.start()

    def poll(self) -> int | None:
        """Return the status it ended with (-n: by signal n), once all it printed is shown; None while it runs."""
        if self.ending is None and (status := self._process.poll()) is not None:
            lived_secs = time.monotonic() - self._began
            self._end_leftover()
            self.ending = Ending(self.member, status, lived_secs)
        return None if self.ending is None else self.ending.status

    def _end_leftover(self) -> None:
        """End what it started itself and has left behind."""
        until = time.monotonic() + _LEFTOVER_SECS
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
            while time.monotonic() < until:
                os.killpg(self._process.pid, 0)
                time.sleep(_TICK_SECS / 5)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._guard.forget(self._process.pid)
        for reader in self._readers:
            reader.join(_DRAIN_SECS)

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and all it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DRAIN_SECS)
        self.poll()


class _Crew:
    """All processes of one launch, from its start to its end."""

    def __init__(
        self,
        bounds: LocalLauncher,
        cluster: Cluster,
        command: Sequence[str],
        restarts: int,
        guard: _Guard,
        received: Sequence[int],
    ) -> None:
        self._bounds, self._cluster, self._command, self._restarts = bounds, cluster, command, restarts
        self._guard, self._received = guard, received
        self._output = _Output(["launch", *map(str, cluster.group), *(["evaluator"] if cluster.has_evaluator else [])])
        self._children: list[_Child] = []  # all there ever were
        self._group: list[_Child] = []  # those of now, the chief first
        self._evaluator: _Child | None = None
        self._evaluator_restarts = Restarts(restarts, bounds.soon_secs)
        self._evaluator_status = 0

    def train(self) -> int:
        """Start all and see them to their end; return the exit status.

        Raises:
            KeyboardInterrupt: a signal asks for the end.
        """
        self._say(f"{self._cluster}; restarts: {self._restarts}; Ctrl-C stops all")
        if self._cluster.has_evaluator:
            self._start_evaluator()
        status = self._train_group()
        evaluator = self._evaluator
        if status and evaluator is not None:
            self._evaluator = None  # from here on its end is no crash
            self._end([evaluator], self._bounds.end_secs)
        elif evaluator is not None and evaluator.poll() is None:
            self._say("training is over; waiting for the evaluator, which ends when all is evaluated")
        while self._evaluator is not None and self._evaluator.poll() != 0:
            self._tick()
        return status or self._evaluator_status

    def stop(self) -> int:
        """Pass the signals on that have come and still come, wait for all to end, and return the exit status."""
        self._say(f"{signal_name(self._received[0])} is passed on; {self._bounds.grace_secs:g} s to end")
        until, num_passed = time.monotonic() + self._bounds.grace_secs, 0
        while (running := self._running()) and time.monotonic() < until:
            for number in self._received[num_passed:]:
                num_passed += 1
                for child in running:  # A terminal that was closed is no reason to lose what was not saved.
                    child.send(signal.SIGTERM if number == signal.SIGHUP else number)
            time.sleep(_TICK_SECS)
        self.kill()
        return 128 + self._received[0]

    def kill(self) -> None:
        """Kill what still runs."""
        for child in self._running():
            self._say(f"{child.member} has not ended and is killed")
            child.kill()

    def _train_group(self) -> int:
        """Run the group until the chief is done; return 0, or the exit status of who failed for good."""
        restarts = Restarts(self._restarts, self._bounds.soon_secs)
        while True:
            addresses = free_addresses(len(self._cluster.group))
            self._group = [self._start(member, addresses) for member in self._cluster.group]
            failed = self._first_failed()
            if failed is None:
                self._dismiss()
                return 0
            goes_on, line = restarts.verdict(failed)
            self._say(line)
            self._end(self._group, self._bounds.save_secs)
            others = [str(child.ending) for child in self._group if child.ending and child.ending != failed]
            if others:
                self._say(f"the others: {', '.join(others)}")
            if self._group[0].poll() == 0:
                self._say("the chief is done meanwhile")
                return 0
            if not goes_on:
                return failed.exit_status

    def _first_failed(self) -> Ending | None:
        """Wait until one of the group fails, and return how; None if the chief is done before."""
        while self._group[0].poll() != 0:
            crashes = [child.ending for child in self._group if child.poll() and child.ending]
            if crashes:  # Of several, one that a signal killed: the others may have failed for the lack of it.
                return min(crashes, key=lambda crash: (crash.is_by_loss, crash.status > 0))
            self._tick()
        return None

    def _dismiss(self) -> None:
        """End the group when the chief is done: workers end by themselves, a parameter server never does."""
        workers = [child for child in self._group if child.member.type == "worker"]
        late = ", ".join(str(child.member) for child in workers if child.poll() is None)
        if late:
            self._say(f"the chief is done; waiting up to {self._bounds.grace_secs:g} s for {late}")
        self._wait(workers, self._bounds.grace_secs)
        for child in workers:
            if child.poll():
                self._say(f"{child.ending}: after the chief was done, so the training counts")
        self._end(self._group, self._bounds.end_secs)

    def _end(self, children: Sequence[_Child], secs: float) -> None:
        for child in children:
            child.send(signal.SIGTERM)
        self._wait(children, secs)
        for child in children:
            if child.poll() is None:
                self._say(f"{child.member} has not ended within {secs:g} s of SIGTERM and is killed")
                child.kill()

    def _wait(self, children: Sequence[_Child], secs: float) -> None:
        until = time.monotonic() + secs
        while any(child.poll() is None for child in children) and time.monotonic() < until:
            self._tick()

    def _tick(self) -> None:
        """Let a moment pass, and see to what may happen in any: a signal, or a crash of the evaluator."""
        if self._received:
            raise KeyboardInterrupt
        time.sleep(_TICK_SECS)
        evaluator = self._evaluator
        if evaluator is not None and evaluator.poll() and evaluator.ending:
            goes_on, line = self._evaluator_restarts.verdict(evaluator.ending)
            self._say(line)
            self._evaluator = None
            if goes_on:
                self._start_evaluator()
            else:
                self._evaluator_status = evaluator.ending.exit_status

    def _start_evaluator(self) -> None:
        # It reads checkpoints and talks to nobody; addresses only say that there is a cluster.
        self._evaluator = self._start(Member("evaluator"), free_addresses(len(self._cluster.group)))

    def _start(self, member: Member, addresses: Sequence[str]) -> _Child:
        tf_config = self._cluster.tf_config(member, addresses)
        environment = {**os.environ, "TF_CONFIG": tf_config, "PYTHONUNBUFFERED": "1"}
        self._children.append(_Child(member, self._command, environment, self._guard, self._output))
        return self._children[-1]

    def _running(self) -> list[_Child]:
        return [child for child in self._children if child.poll() is None]

    def _say(self, line: str) -> None:
        self._output.write(sys.stderr, "launch", line)


def free_addresses(number: int) -> list[str]:
    """Return addresses of this machine that nobody uses, and that differ: all are held until the last is known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
