"""The command: what it hands to a script, what passes through, and what it says in one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import keras_estimator
from keras_estimator.hooks.reporting import write_scalars


def command(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keras_estimator.cli", *arguments]
    return subprocess.run(command, cwd=at, capture_output=True, text=True, timeout=120, check=False)


def test_it_says_its_version(tmp_path: Path) -> None:
    assert command("--version", at=tmp_path).stdout == f"{keras_estimator.__version__}\n"


def test_without_arguments_it_lists_its_commands(tmp_path: Path) -> None:
    shown = command(at=tmp_path)
    assert "run" in shown.stdout + shown.stderr
    assert "demo" in shown.stdout + shown.stderr


def test_a_script_that_is_not_there_is_an_error_of_use(tmp_path: Path) -> None:
    done = command("run", "missing.py", at=tmp_path)
    assert done.returncode == 2
    assert "missing.py" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_all_that_follows_the_script_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys; print(__name__, sys.argv[1:]); sys.exit(3)")
    arguments = ["--help", "--version", "-x", "--", "a b", "--folder=c"]
    done = command("run", "script.py", *arguments, at=tmp_path)
    assert (done.stdout, done.returncode) == (f"__main__ {arguments}\n", 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", ["EOFError('no more')", "keras_estimator.InputError('no more', found='', expected='', fix='')"]
)
def test_what_a_script_raises_passes_through(error: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(f"import keras_estimator\nraise {error}\n")
    done = command("run", "script.py", at=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert 'script.py", line 2, in <module>' in done.stderr
    assert "Error: no more" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["script.py"], "--workers"),
        (["--workers", "0", "script.py"], "--workers"),
        (["--workers", "1", "--ps", "-1", "script.py"], "--ps"),
        (["--workers", "1", "--restarts", "-1", "script.py"], "--restarts"),
        (["--workers", "1", "missing.py"], "missing.py"),
        (["--workers", "1"], "SCRIPT"),
    ],
)
def test_a_launch_that_cannot_be_is_an_error_of_use(arguments: list[str], named: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("open('started', 'w')")
    done = command("launch", *arguments, at=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "started").exists()


def test_a_report_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    write_scalars(tmp_path / "run" / "train", 1, {"loss": 1.0})
    done = command("report", "run", at=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"{Path('run') / 'report.html'}\n", "", 0)
    assert command("report", "run", "--out", "other.html", at=tmp_path).stdout == "other.html\n"
    assert (tmp_path / "other.html").read_text().startswith("<!doctype html>")


def test_a_report_needs_no_keras(tmp_path: Path) -> None:
    write_scalars(tmp_path / "train", 1, {"loss": 1.0})
    program = (
        "import sys; from keras_estimator.cli import app; app(['report', '.'], standalone_mode=False);"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "report.html\nset()\n", done.stderr


def test_without_a_run_there_is_a_message_and_no_report(tmp_path: Path) -> None:
    done = command("report", ".", at=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("ConfigError: there is no run in .\n  found:    an empty folder\n  expected:")
    assert "  fix:      keras-estimator report MODEL_DIR" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_demo_is_a_message_and_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")
    done = command("demo", "--folder", "demo", at=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("ConfigError: the folder of the demo holds something else\n  found:")
    assert done.stderr.endswith("keras-estimator demo --folder another-folder\n")
