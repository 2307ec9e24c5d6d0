"""The built wheel, installed alone in a clean environment, runs the first program of the README.

Run by `make wheel`: it needs the package index, because what is installed is what the wheel declares.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

pytestmark = [pytest.mark.wheel, pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, at: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, REPOSITORY, at=folder)
    (path,) = folder.glob("keras_estimator-*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """Return the Python of an environment in which the wheel and what it declares are installed, and no more."""
    folder = wheel.parent / "environment"
    venv.create(folder, with_pip=True)
    # The versions that were tested, whatever the index offers today; without hashes, as pip would ask one of the wheel.
    versions = re.findall(r"^[^\s#][^\\]*", (REPOSITORY / "requirements-dev.lock").read_text(), re.M)
    (constraints := wheel.parent / "constraints.txt").write_text("\n".join(versions))
    small = sys.platform == "linux" and platform.machine() == "x86_64"
    requirement = f"{wheel}[{'tensorflow-cpu' if small else 'tensorflow'}]"
    interpreter = folder / "bin" / "python"
    run(interpreter, "-m", "pip", "install", "--quiet", "--constraint", constraints, requirement, at=wheel.parent)
    return interpreter


def test_the_wheel_holds_the_package_its_types_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert "keras_estimator/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"keras_estimator"}


def test_the_first_program_of_the_readme_runs_from_the_wheel(python: Path, tmp_path: Path):
    fences = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.M | re.S)
    (program := tmp_path / "first.py").write_text(fences[0])
    assert "global_step" in run(python, "-W", "error::UserWarning", program, at=tmp_path)


def test_the_command_is_installed(python: Path, tmp_path: Path):
    assert "run" in run(python.parent / "keras-estimator", "--help", at=tmp_path)
