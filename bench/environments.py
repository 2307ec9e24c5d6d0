"""Makes the environments of the peers that cannot live in ours: TensorFlow 2.15 with tf.estimator, and Keras on JAX."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.rows import JAX, ORIGINAL, Row

_HERE = Path(__file__).parent
_TIMEOUT_SECS = 1800


class NoEnvironmentError(Exception):
    """The environment cannot be made here; the text says why."""


@dataclasses.dataclass(frozen=True)
class Environment:
    """An environment that is made once, when it is first needed.

    Attributes:
        title: What a person reads.
        folder: Where it is made.
        requirements: The versions it is made of.
        python: The version of Python it needs.
        settings: Environment variables of the processes that run in it.
    """

    title: str
    folder: Path
    requirements: Path
    python: str
    settings: dict[str, str] = dataclasses.field(default_factory=dict)

    def interpreter(self, say: Callable[[str], None]) -> Path:
        """Return its interpreter; make it first if it is not there.

        Args:
            say: Takes a line for the person who waits.

        Raises:
            NoEnvironmentError: there is no such Python, or the packages cannot be installed.
        """
        python = self.folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        made_from = self.folder / "made-from.txt"  # Written last: without it the environment is not whole.
        wanted = self.requirements.read_text(encoding="utf-8")
        if not (made_from.exists() and made_from.read_text(encoding="utf-8") == wanted):
            say(f"making the environment of {self.title} in {self.folder} (once, up to 1 GB)")
            shutil.rmtree(self.folder, ignore_errors=True)
            for command in self._commands(python):
                _run(command)
            made_from.write_text(wanted, encoding="utf-8")
        return python

    def _commands(self, python: Path) -> list[list[str]]:
        """Return the commands that make it: by uv, which also fetches Python, else by venv and pip."""
        folder, requirements = str(self.folder), str(self.requirements)
        beside_us = Path(sys.executable).with_name("uv")
        uv = str(beside_us) if beside_us.exists() else shutil.which("uv")
        if uv:
            install = [uv, "pip", "install", "--python", str(python), "--requirement", requirements]
            return [[uv, "venv", "--python", self.python, folder], install]
        is_this = self.python == _VERSION
        interpreter = sys.executable if is_this else shutil.which(f"python{self.python}")
        if interpreter is None:
            raise NoEnvironmentError(f"{self.title} needs Python {self.python}, and there is neither it nor uv on PATH")
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", requirements]
        return [[interpreter, "-m", "venv", folder], install]


_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
ENVIRONMENTS = {
    # 3.11 is the newest Python that TensorFlow 2.15 has wheels for.
    ORIGINAL: Environment("the original", _HERE / ".env-original", _HERE / "original.txt", "3.11"),
    JAX: Environment("JAX", _HERE / ".env-jax", _HERE / "jax.txt", _VERSION, {"KERAS_BACKEND": "jax"}),
}


def interpreters(rows: Iterable[Row], say: Callable[[str], None]) -> tuple[dict[str, Path], dict[str, str]]:
    """Find the interpreter of each row.

    Args:
        rows: Who is to run.
        say: Takes a line for the person who waits.

    Returns:
        By row its interpreter; and by row why there is none.
    """
    found: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for row in rows:
        environment = ENVIRONMENTS.get(row.environment)
        try:
            found[row.name] = environment.interpreter(say) if environment else Path(sys.executable)
        except NoEnvironmentError as error:
            missing[row.name] = str(error)
    return found, missing


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_SECS)
    except subprocess.CalledProcessError as error:
        last_lines = "\n".join((error.stderr or error.stdout).splitlines()[-5:])
        raise NoEnvironmentError(f"`{' '.join(command)}` failed:\n{last_lines}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoEnvironmentError(f"`{' '.join(command)}` failed: {error}") from error
