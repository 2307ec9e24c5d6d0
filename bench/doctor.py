"""Measure the doctor: seconds to read 100,000 lines of real Python, and to diagnose MobileNetV2."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import keras

LINES = 100_000
STATIC_SECS, DYNAMIC_SECS = 20.0, 30.0  # what must hold


def files_of(lines: int) -> list[tuple[Path, int]]:
    """Return files of the installed Keras with at least so many lines in all, and how many each has."""
    chosen: list[tuple[Path, int]] = []
    for path in sorted(Path(keras.__file__).parent.rglob("*.py")):
        if sum(count for _, count in chosen) >= lines:
            break
        chosen.append((path, len(path.read_bytes().splitlines())))
    return chosen


def static(lines: int) -> tuple[int, int, float]:
    """Look at a copy of these files, as a person would at a folder; return lines, findings and seconds of one core."""
    from keras_estimator.doctor.examine import examine_files  # noqa: PLC0415 - its import is part of the time
    from keras_estimator.doctor.settings import Settings  # noqa: PLC0415 - the same

    chosen = files_of(lines)
    root = Path(keras.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        for path, _ in chosen:
            copy = Path(folder, "copied", path.relative_to(root))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        began = time.process_time()
        found = sum(len(findings) for _, findings in examine_files([Path(folder)], Settings()))
        return sum(count for _, count in chosen), found, time.process_time() - began


def dynamic(size: int) -> tuple[int, float]:
    """Diagnose a MobileNetV2 for images of this size; return the number of its layers and the seconds on the clock."""
    import keras_estimator as ke  # noqa: PLC0415 - its import is no part of the time

    model = keras.applications.MobileNetV2((size, size, 3), weights=None, classes=10)
    model.compile("adam", "sparse_categorical_crossentropy")
    began = time.perf_counter()
    ke.diagnose(model)
    return len(model.layers), time.perf_counter() - began


def main() -> None:
    """Measure both and print them beside what must hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--size", type=int, default=96, help="of the images, in pixels")
    given = parser.parse_args()
    lines, found, secs = static(given.lines)
    per_lines = secs * LINES / lines
    print(
        f"read      {lines:>8,} lines of Keras in {secs:6.1f} s of one core, {found} findings; "
        f"{per_lines:.1f} s per 100,000"
    )
    layers, secs = dynamic(given.size)
    print(f"diagnosed {layers:>8,} layers of MobileNetV2 in {secs:6.1f} s")
    for what, measured, bound in (("100,000 lines", per_lines, STATIC_SECS), ("MobileNetV2", secs, DYNAMIC_SECS)):
        print(f"{what}: {measured:.1f} s, must be under {bound:.0f}: {'met' if measured < bound else 'MISSED'}")


if __name__ == "__main__":
    main()
