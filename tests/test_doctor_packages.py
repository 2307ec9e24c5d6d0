"""The doctor on real code: what it says of Keras and of other packages is what docs/doctor-on-packages.md judges."""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_estimator.doctor.examine import examine_files
from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.settings import Settings

PAGE = Path(__file__).parent.parent / "docs" / "doctor-on-packages.md"
# As they were when the page was written; read only, so what they need is not installed.
OTHERS = {
    "bayesflow==2.0.12": "6dec1fa022ef9366d21250291d52c474d93f8a654cad9a7cd89ba9599cc0681f",
    "keras-hub==0.32.0": "c0a07ed19b894f5588188afd841659263eb6d3732e21188c82e3e7d3b6de4268",
    "keras-rs==0.4.0": "1febee888f30400e74485098ef27ce4d73d667e8b759660f05b0a125fb9eb84c",
    "keras-tcn==3.5.7": "a0cb3b7d02a6387064a9a3325102fbaed0fc3ac6934b497f09829b55de81a8d3",
    "spektral==1.3.1": "12f50967d80a5fc7dd639c2a3e25a202d720934b837f61f6a6686f51ce731ba3",
}
Counts = collections.Counter[tuple[str, str]]


def judged(*packages: str) -> Counts:
    rows = re.findall(r"^\| (\S+)/(\S+\.py) \| (KE\d+) \| (\d+) \| \S.* \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return collections.Counter(
        {
            (f"{package}/{file}", code): int(times)
            for package, file, code, times in rows
            if package.split("/")[0] in packages
        }
    )


def found(folder: Path, *packages: str) -> Counts:
    """Count errors and warnings by file and rule."""
    counts: Counts = collections.Counter()
    settings = Settings(exclude=("*_test.py", "test_*.py", "tests"), root=folder)
    for path, findings in examine_files([folder / package for package in packages], settings):
        for one in findings:
            if one.severity is not Severity.INFO:
                counts[path.relative_to(folder).as_posix(), one.code] += 1
    return counts


@pytest.mark.skipif(
    f"Keras {keras.__version__}," not in PAGE.read_text(encoding="utf-8"), reason="the page is about another Keras"
)
def test_what_is_found_in_keras_was_looked_at():
    folder = Path(keras.__file__).parent.parent
    counts = found(folder, "keras/src")  # what is beside it only gives the same names once more
    assert counts == judged("keras")
    assert sum(counts.values()) > 0


@pytest.mark.wheel  # it needs the package index
def test_what_is_found_in_other_packages_was_looked_at(tmp_path: Path):
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("".join(f"{name} --hash=sha256:{digest}\n" for name, digest in OTHERS.items()), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    given = ["--require-hashes", "--requirement", str(wanted), "--target", str(tmp_path / "packages")]
    subprocess.run([*command, *given], check=True, timeout=250)
    packages = ("bayesflow", "keras_hub", "keras_rs", "tcn", "spektral")
    assert found(tmp_path / "packages", *packages) == judged(*packages)
