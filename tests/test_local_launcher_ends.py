"""Real processes on this machine end with their launcher: by signals, in time, and also if it is killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from launches import ALL_KINDS, Launch, launches

pytestmark = pytest.mark.slow


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    with launches(tmp_path) as start:
        yield start


@pytest.mark.parametrize(("sent", "passed_on"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGTERM")])
def test_a_signal_is_passed_on_once_to_all_and_nothing_is_started_anew(sent: str, passed_on: str, launch: Launch):
    ours = launch(
        """
        def leave(number, frame):
            note("signals", signal.Signals(number).name)
            time.sleep(0.3)
            sys.exit(0 if role == "ps" else 128 + number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, leave)
        note("ready", "yes")
        forever()
        """,
        **ALL_KINDS,
    )
    names = ("chief0", "worker0", "ps0", "evaluator0")
    ours.until(lambda: all(ours.noted(f"ready.{name}") for name in names))
    ours.process.send_signal(signal.Signals[sent])
    assert ours.status() == 128 + signal.Signals[sent], ours.shown()
    assert [ours.noted(f"signals.{name}") for name in names] == [[passed_on]] * 4
    assert [len(ours.noted(f"starts.{name}")) for name in names] == [1] * 4
    assert ours.lines("launch", "err")[1:] == [f"{sent} is passed on; 60 s to end"]


def test_a_second_signal_is_passed_on_too(launch: Launch):
    ours = launch(
        """
        def leave(number, frame):
            note("signals", signal.Signals(number).name)
            if len(there("signals." + name)) == 2:
                sys.exit(1)

        signal.signal(signal.SIGINT, leave)
        signal.signal(signal.SIGTERM, leave)
        note("ready", "yes")
        forever()
        """
    )
    ours.until(lambda: ours.noted("ready.chief0"))
    ours.process.send_signal(signal.SIGINT)
    ours.until(lambda: ours.noted("signals.chief0"))
    ours.process.send_signal(signal.SIGTERM)
    assert ours.status() == 130, ours.shown()
    assert ours.noted("signals.chief0") == ["SIGINT", "SIGTERM"]


def test_a_signal_while_a_group_is_ended_stops_all(launch: Launch):
    ours = launch(
        """
        if role == "chief":
            signal.signal(signal.SIGTERM, lambda *_: note("signals", "TERM"))
            note("ready", "yes")
            forever()
        until(lambda: there("ready.chief0"))
        sys.exit(3)
        """,
        num_workers=2,
        grace_secs=0.5,
    )
    ours.until(lambda: ours.noted("signals.chief0"))
    ours.process.send_signal(signal.SIGTERM)
    assert ours.status() == 143, ours.shown()
    assert len(ours.noted("starts.chief0")) == 1
    assert ours.lines("launch", "err")[-1] == "chief has not ended and is killed"
    assert ours.survivors() == []


def test_what_was_ignored_at_the_start_stays_ignored(launch: Launch):
    ours = launch(
        "until(lambda: there('end'))", before="signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does\n"
    )
    ours.until(lambda: ours.noted("starts.chief0"))
    ours.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    (ours.folder / "end").write_text("yes")
    assert ours.status() == 0, ours.shown()


IGNORING = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
note("ready", "yes")
"""


def test_who_does_not_end_after_the_crash_of_another_is_killed_in_time(launch: Launch):
    ours = launch(
        f"""{IGNORING}
if role == "worker" and start == 1:
    until(lambda: there("ready.chief0"))
    sys.exit(3)
if start == 1:
    forever()
""",
        num_workers=2,
        save_secs=0.5,
    )
    assert ours.status() == 0, ours.shown()
    assert "chief has not ended within 0.5 s of SIGTERM and is killed" in ours.lines("launch", "err")
    assert len(ours.noted("starts.chief0")) == 2


def test_workers_and_servers_that_go_on_after_the_chief_are_ended_and_killed_in_time(launch: Launch):
    ours = launch(
        f"""{IGNORING}
if role != "chief":
    forever()
until(lambda: there("ready.worker0") and there("ready.ps0"))
""",
        num_workers=2,
        num_ps=1,
        grace_secs=0.5,
        end_secs=0.5,
    )
    assert ours.status() == 0, ours.shown()
    assert ours.lines("launch", "err")[1:] == [
        "the chief is done; waiting up to 0.5 s for worker 0",
        "worker 0 has not ended within 0.5 s of SIGTERM and is killed",
        "ps 0 has not ended within 0.5 s of SIGTERM and is killed",
    ]


def test_workers_may_end_by_themselves_after_the_chief(launch: Launch):
    ours = launch(
        """
        if role == "worker":
            until(lambda: there("done.chief0"))
            time.sleep(0.5)
            note("done", "yes")
            sys.exit(5)
        until(lambda: there("starts.worker0"))
        note("done", "yes")
        """,
        num_workers=2,
    )
    assert ours.status() == 0, ours.shown()
    assert ours.noted("done.worker0")
    assert ours.lines("launch", "err")[-1].startswith("worker 0 ended with status 5: after the chief was done")


def test_who_ignores_a_signal_to_the_launcher_is_killed_in_time(launch: Launch):
    ours = launch(f"{IGNORING}forever()", num_workers=2, grace_secs=0.5)
    ours.until(lambda: ours.noted("ready.chief0") and ours.noted("ready.worker0"))
    ours.process.send_signal(signal.SIGTERM)
    assert ours.status() == 143, ours.shown()
    assert [line.split(" has")[0] for line in ours.lines("launch", "err")[2:]] == ["chief", "worker 0"]
    assert ours.survivors() == []


needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="processes are looked for in /proc")


@needs_proc
def test_nothing_survives_a_launcher_that_is_killed_at_any_moment(launch: Launch):
    moments = random.Random(4)
    for number in range(6):
        ours = launch(f"{IGNORING}subprocess.Popen(['sleep', '600'])\nforever()", **ALL_KINDS)
        if number == 0:  # with all that is to come
            ours.until(lambda ours=ours: len(ours.survivors()) >= 9)  # four, what each has started, and the guard
        else:
            ours.until(lambda ours=ours: ours.lines("launch", "err"))
            time.sleep(moments.uniform(0, 0.15))
        ours.process.kill()
        ours.process.wait()
        ours.until(lambda ours=ours: not ours.survivors())


@needs_proc
def test_what_a_process_leaves_behind_ends_with_it(launch: Launch):
    ours = launch("subprocess.Popen(['sleep', '600'])")
    assert ours.status() == 0, ours.shown()
    assert ours.survivors() == []
