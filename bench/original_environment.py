"""Makes the environment of the original: TensorFlow 2.15 and tensorflow-estimator, apart from ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = _HERE / ".env-original"
_REQUIREMENTS = _HERE / "original.txt"
_PYTHON = "3.11"  # The newest that TensorFlow 2.15 has wheels for.
_TIMEOUT_SECS = 1800


class NoEnvironmentError(Exception):
    """The environment cannot be made here; the text says why."""


def original_python(say: Callable[[str], None]) -> Path:
    """Return the interpreter of the environment; make the environment first if it is not there.

    Args:
        say: Takes a line for the person who waits.

    Raises:
        NoEnvironmentError: there is no Python 3.11, or the packages cannot be installed.
    """
    python = _FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    made_from = _FOLDER / "made-from.txt"  # Written last: without it the environment is not whole.
    if not (made_from.exists() and made_from.read_text() == _REQUIREMENTS.read_text()):
        say(f"making the environment of the original in {_FOLDER} (once, about 1 GB)")
        shutil.rmtree(_FOLDER, ignore_errors=True)
        for command in _commands(python):
            _run(command)
        made_from.write_text(_REQUIREMENTS.read_text())
    return python


def _commands(python: Path) -> list[list[str]]:
    """Return the commands that make it: by uv, which also fetches Python, else by venv and pip."""
    beside_us = Path(sys.executable).with_name("uv")
    uv = str(beside_us) if beside_us.exists() else shutil.which("uv")
    if uv:
        install = [uv, "pip", "install", "--python", str(python), "--requirement", str(_REQUIREMENTS)]
        return [[uv, "venv", "--python", _PYTHON, str(_FOLDER)], install]
    is_this = sys.version_info[:2] == tuple(map(int, _PYTHON.split(".")))
    interpreter = sys.executable if is_this else shutil.which(f"python{_PYTHON}")
    if interpreter is None:
        raise NoEnvironmentError(f"TensorFlow 2.15 needs Python {_PYTHON}, and there is neither it nor uv on PATH")
    install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(_REQUIREMENTS)]
    return [[interpreter, "-m", "venv", str(_FOLDER)], install]


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_SECS)
    except subprocess.CalledProcessError as error:
        last_lines = "\n".join((error.stderr or error.stdout).splitlines()[-5:])
        raise NoEnvironmentError(f"`{' '.join(command)}` failed:\n{last_lines}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoEnvironmentError(f"`{' '.join(command)}` failed: {error}") from error
