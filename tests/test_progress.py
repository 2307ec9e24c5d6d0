"""Progress is a bar on a terminal and plain lines elsewhere, and never the end of a training."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keras_estimator.hooks.hook import Cadence, Run
from keras_estimator.hooks.progress import ProgressBar

# Trains nothing, but calls the hook as the loop does, and talks on every channel meanwhile.
PROGRAM = """
import logging, sys, time
from pathlib import Path
from keras_estimator.hooks.hook import Run
from keras_estimator.hooks.progress import ProgressBar

mode, last_step = sys.argv[1], eval(sys.argv[2])
logging.basicConfig(level=logging.INFO, format="%(message)s")
bar = ProgressBar(mode)
run = Run(model=None, model_dir=Path(), step=0, first_step=0, last_step=last_step, save=Path)
bar.begin(run)
for step in range(20, 101, 20):
    time.sleep(0.02)
    run.step, run.metrics = step, {"loss": 1 / step, "[red]accuracy": 0.5}
    bar.after_steps(run)
    if step == 40:
        logging.info("logged")
        print("printed")
        if sys.argv[3:] == ["fail"]:
            bar.close()
            raise RuntimeError("the training failed")
bar.end(run)
bar.close()
print("stdout is", type(sys.stdout).__name__)
logging.info("the end")
"""


def environment(**more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    return {**plain, "TERM": "xterm-256color", "COLUMNS": "140", **more}


def on_terminal(*arguments: str, **more: str) -> tuple[str, int]:
    """Run the program on a pseudo-terminal; return all that came out of it, and its exit status."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment(**more),
    ) as process:
        os.close(follower)
        out = b""
        while True:
            try:
                out += os.read(leader, 65536)
            except OSError:  # the other end was closed
                break
    os.close(leader)
    return out.decode(), process.returncode


def on_pipes(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, env=environment(), check=False
    )


def text_of(screen: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)


def test_on_a_terminal_there_is_a_bar_that_moves():
    screen, status = on_terminal("auto", "100")
    assert status == 0
    places = re.findall(r"step (\d+)/100 ", text_of(screen))
    assert [int(place) for place in dict.fromkeys(places)] == [0, 20, 40, 60, 80, 100]
    assert "loss 0.025  [red]accuracy 0.5" in text_of(screen)
    assert "steps/s" in screen
    assert re.search(r"\d:\d\d:\d\d", screen), "no time left"
    assert "━" in screen


def test_metrics_that_do_not_fit_are_left_out_and_the_rest_stays_whole():
    for columns, shown in ((120, "loss 0.025  [red]accuracy 0.5"), (70, "loss 0.025 …")):
        screen, _ = on_terminal("auto", "100", COLUMNS=str(columns))
        [line] = {line.rstrip() for line in re.split(r"[\r\n]", text_of(screen)) if line.startswith("step 40/100")}
        assert re.fullmatch(rf"step 40/100 \S{{20}} [\d.,]+ steps/s \d:\d\d:\d\d {re.escape(shown)}", line)


def test_what_is_printed_and_logged_meanwhile_stands_above_the_bar():
    screen, _ = on_terminal("auto", "100")
    lines = text_of(screen).replace("\r", "\n").split("\n")
    assert {"printed", "logged"} <= {line.strip() for line in lines}


def test_afterwards_everything_is_as_before():
    screen, _ = on_terminal("auto", "100")
    assert screen.rstrip().endswith("stdout is TextIOWrapper\r\nthe end")
    assert screen.count("\x1b[?25l") == screen.count("\x1b[?25h") == 1  # the cursor was hidden and shown again


def test_also_when_the_training_fails():
    screen, status = on_terminal("auto", "100", "fail")
    assert status == 1
    assert screen.count("\x1b[?25l") == screen.count("\x1b[?25h") == 1
    assert "RuntimeError: the training failed" in screen


def test_without_a_known_end_the_bar_only_counts():
    screen, status = on_terminal("auto", "None")
    assert status == 0
    assert re.findall(r"step (\d+) ", text_of(screen))[-1] == "100"
    assert "/" not in text_of(screen).replace("steps/s", "")


@pytest.mark.parametrize("more", [{"CI": "true"}, {"TERM": "dumb"}])
def test_on_a_terminal_that_cannot_draw_there_are_lines(more: dict[str, str]):
    screen, status = on_terminal("auto", "100", **more)
    assert status == 0
    assert "\x1b" not in screen
    assert "step 0/100, training\r\n" in screen


def test_elsewhere_there_are_lines():
    done = on_pipes("auto", "100")
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (0, "printed\nstdout is TextIOWrapper\n")
    assert lines[0] == "step 0/100, training"
    assert re.fullmatch(r"step 20/100, loss 0\.05, \[red\]accuracy 0\.5, [\d,]+ steps/s, 0:00:\d\d left", lines[1])
    assert re.fullmatch(r"step 100/100, loss 0\.01, .* steps/s, done in 0:00:\d\d", lines[-2])


def test_without_a_known_end_lines_tell_no_time_left():
    lines = on_pipes("lines", "None").stderr.splitlines()
    assert lines[0] == "step 0, training"
    assert re.fullmatch(r"step 20, loss 0\.05, \[red\]accuracy 0\.5, [\d,]+ steps/s", lines[1])


def test_it_can_be_off():
    done = on_pipes("off", "100")
    assert (done.returncode, done.stderr) == (0, "logged\nthe end\n")


def test_what_goes_to_a_file_is_not_moved_to_the_terminal(tmp_path: Path):
    leader, follower = pty.openpty()
    with (tmp_path / "out").open("w") as file:
        subprocess.run(
            [sys.executable, "-c", PROGRAM, "bar", "100"], stdout=file, stderr=follower, env=environment(), check=True
        )
    os.close(follower)
    os.close(leader)
    assert (tmp_path / "out").read_text() == "printed\nstdout is TextIOWrapper\n"


@pytest.mark.parametrize("mode", ["bar", "lines"])
def test_a_pipe_that_breaks_does_not_stop_the_training(mode: str):
    reader, writer = os.pipe()
    os.close(reader)
    # At exit Python itself fails to flush stderr and gives 120 for it; a training that stopped would give 1.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode, "100"],
        stdout=subprocess.PIPE,
        stderr=writer,
        env=environment(),
        check=False,
    )
    os.close(writer)
    assert done.returncode in (0, 120)
    assert b"stdout is TextIOWrapper" in done.stdout


@pytest.mark.parametrize("mode", ["bar", "lines"])
@pytest.mark.parametrize("stream", [None, "closed", "ascii"])
def test_neither_does_a_stream_that_is_of_no_use(mode: Any, stream: Any, monkeypatch: pytest.MonkeyPatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", {None: None, "closed": closed, "ascii": ascii_only}[stream])
    run = Run(model=None, model_dir=Path(), step=0, first_step=0, last_step=10, save=Path)
    bar = ProgressBar(mode)
    bar.begin(run)
    run.step, run.metrics = 5, {"précision": 0.5}
    bar.after_steps(run)
    bar.end(run)
    bar.close()


def test_it_is_called_by_time_and_never_by_steps():
    assert ProgressBar("bar").cadence == Cadence(every_secs=0.5)
    assert ProgressBar("lines").cadence == Cadence(every_secs=30)
    assert ProgressBar("off").cadence == Cadence()
