"""Run the demo: train, kill, go on, do the same without a kill and by `fit`, serve, and tell what came of it.

    train ─▶ SIGKILL ─▶ the same command again ─▶ the same, never killed ─▶ fit ─▶ serve

Each arrow leads to a process of its own, so nothing is carried over but by the files of the run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import ConfigError, EstimatorError

KILL_AFTER = 900  # Of 1,350 steps; the newest checkpoint is then that of step 750.

# Each of these folders belongs to one training.
_KILLED, _UNKILLED, _FIT = "killed", "unkilled", "fit"
_MARK = ".keras-estimator-demo"  # A folder with this file was written by a demo, and may be emptied by the next.
_EXTRAS = {"tensorflow": "tensorflow", "sklearn": "demo", "matplotlib": "demo"}  # Which extra brings a package.

# All that a process needs to serve the export: nothing of the model's code, not even Keras.
_SERVE = """
import sys, numpy as np, tensorflow as tf
export, result, served = sys.argv[1:]
signature = tf.saved_model.load(export).signatures["serving_default"]
np.save(served, signature(image=tf.constant(np.load(result)["test_x"]))["digit"].numpy())
"""


def show(folder: Path) -> None:
    """Run the demo, show what happens, print a table and draw a picture.

    Args:
        folder: Where everything is written; what an earlier demo left there is removed.

    Raises:
        ConfigError: packages are missing, or `folder` holds something else.
        EstimatorError: a part of the demo failed.
    """
    _check_packages()
    folder = folder.absolute()
    _make_empty(folder)
    console = Console()
    seconds: list[float] = []
    console.print("[dim]Each part is a process of its own; before it says anything, it starts TensorFlow.\n")
    with _part(console, seconds, "1. Train, and kill the process midway"):
        _train_and_kill(folder)
        console.show_cursor()  # The bar of the killed process has hidden it.
        console.print(f"\n[bold red]SIGKILL[/] by step {_last_step(folder):,}")
    with _part(console, seconds, "2. The same command again: it goes on, evaluates and exports"):
        _finish(_command("train_and_export", folder / _KILLED))
    with _part(console, seconds, "3. The same training in another folder, never killed"):
        _finish(_command("train", folder / _UNKILLED))
    with _part(console, seconds, "4. The same model, seed and batches by fit"):
        _finish(_command("fit", folder / _FIT))
    with _part(console, seconds, "5. Serve the export in a process without the model's code"):
        _serve(folder)
    summary = {**_summary(folder, seconds), "picture": str(_draw(folder))}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    console.print(_table(summary))
    console.print(f"picture: {summary['picture']}", soft_wrap=True, highlight=False)


def _check_packages() -> None:
    missing = [name for name in _EXTRAS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "the demo needs packages that are not installed",
            found=f"no module named {' or '.join(missing)}",
            expected="TensorFlow, scikit-learn (for the digits) and matplotlib (for the picture)",
            fix=f'pip install "keras-estimator[{",".join(sorted({_EXTRAS[name] for name in missing}))}]"',
        )


def _make_empty(folder: Path) -> None:
    is_empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_empty and not (folder / _MARK).is_file():
        raise ConfigError(
            "the folder of the demo holds something else",
            found=str(folder),
            expected="an empty folder, or one that an earlier demo wrote",
            fix="keras-estimator demo --folder another-folder",
        )
    for name in ("served.npy", "summary.json", "digits.png"):
        (folder / name).unlink(missing_ok=True)
    for name in (_KILLED, _UNKILLED, _FIT):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    (folder / _MARK).touch()


@contextlib.contextmanager
def _part(console: Console, seconds: list[float], title: str) -> Iterator[None]:
    console.rule(f"[bold]{title}", align="left")
    began = time.monotonic()
    yield
    seconds.append(round(time.monotonic() - began, 1))
    console.print(f"[dim]{seconds[-1]:.0f} s\n")


def _command(part: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "keras_estimator.demo.digits", part, str(folder)]


def _environment() -> dict[str, str]:
    # oneDNN is left out because it says in each process, whatever the level, that it is there.
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    return {**quiet, **os.environ, "KERAS_BACKEND": "tensorflow"}


def _train_and_kill(folder: Path) -> None:
    """Start the training and kill it without warning, in the middle."""
    command = _command("train_and_export", folder / _KILLED)
    with subprocess.Popen(command, env=_environment()) as process:
        while process.poll() is None and _last_step(folder) < KILL_AFTER:
            time.sleep(0.005)
        was_running = process.poll() is None
        process.kill()
    if not was_running or process.returncode == 0:
        raise _failure(command, process.returncode, expected="a training that lasts until it is killed")


def _serve(folder: Path) -> None:
    (export,) = (folder / _KILLED / "export").iterdir()
    files = (export, folder / _KILLED / "result.npz", folder / "served.npy")
    _finish([sys.executable, "-I", "-c", _SERVE, *map(str, files)])


def _finish(command: list[str]) -> None:
    code = subprocess.run(command, env=_environment(), check=False).returncode
    if code:
        raise _failure(command, code, expected="exit status 0")


def _failure(command: list[str], code: int, *, expected: str) -> EstimatorError:
    return EstimatorError(
        "a part of the demo failed",
        found=f"exit status {code}; what it said itself is above",
        expected=expected,
        fix=shlex.join(command),
    )


def _notes(folder: Path) -> list[list[dict[str, Any]]]:
    """Return what each process of the killed training noted: where it began, then step and loss."""
    path = folder / _KILLED / "losses.jsonl"
    processes: list[list[dict[str, Any]]] = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else ():
        if line.endswith("\n"):  # The last line may be half written.
            note = json.loads(line)
            if "begins_at" in note:
                processes.append([])
            processes[-1].append(note)
    return processes


def _last_step(folder: Path) -> int:
    return max((note.get("step", 0) for process in _notes(folder) for note in process), default=0)


def _result(folder: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(folder / name / "result.npz") as arrays:
        return dict(arrays)


def _summary(folder: Path, seconds: list[float]) -> dict[str, Any]:
    ours, unkilled, fitted = (_result(folder, name) for name in (_KILLED, _UNKILLED, _FIT))
    served = np.load(folder / "served.npy")
    first, second = _notes(folder)
    steps = second[-1]["step"]
    state, wanted = (Checkpoints(folder / name / "run").read(steps).state for name in (_KILLED, _UNKILLED))
    weights = [name for name in ours if name.startswith("weight_")]
    return {
        "steps": steps,
        "killed_at": first[-1]["step"],
        "went_on_from": second[0]["begins_at"],
        "arrays": len(wanted),
        "arrays_equal_to_unkilled": sum(_bits(state.get(name)) == _bits(wanted[name]) for name in wanted),
        "accuracy": float(ours["accuracy"]),
        "accuracy_unkilled": float(unkilled["accuracy"]),
        "accuracy_of_fit": float(fitted["accuracy"]),
        "accuracy_served": float(np.mean(served.argmax(axis=1) == ours["test_y"])),
        "largest_weight_difference_to_fit": max(float(np.abs(ours[name] - fitted[name]).max()) for name in weights),
        "largest_difference_served": float(np.abs(served - ours["predicted"]).max()),
        "seconds": seconds,
    }


def _bits(array: np.ndarray[Any, Any] | None) -> tuple[Any, ...] | None:
    return None if array is None else (array.dtype, array.shape, array.tobytes())


def _draw(folder: Path) -> Path:
    from keras_estimator.demo.picture import draw  # noqa: PLC0415 - matplotlib is an extra

    first, second = _notes(folder)
    ours = _result(folder, _KILLED)
    figure = draw(
        *(np.array([(note["step"], note["loss"]) for note in notes[1:]]) for notes in (first, second)),
        went_on_from=second[0]["begins_at"],
        images=ours["test_x"],
        digits=ours["test_y"],
        answers=np.load(folder / "served.npy").argmax(axis=1),
    )
    path = folder / "digits.png"
    figure.savefig(path, dpi=100)
    return path


def _table(summary: dict[str, Any]) -> Table:
    columns = [Column("accuracy", justify="right"), Column("seconds", justify="right")]
    caption = "accuracy: of the 360 digits that were not trained on"
    table = Table("what was done", "what came of it", *columns, caption=caption)
    rows = (
        ("train, and SIGKILL", "killed by step {killed_at:,} of {steps:,}", ""),
        ("the same command again", "went on from step {went_on_from:,}", "{accuracy:.2%}"),
        (
            "the same, never killed",
            "equal bits in {arrays_equal_to_unkilled} of {arrays} arrays",
            "{accuracy_unkilled:.2%}",
        ),
        (
            "the same by fit",
            "weights differ by at most {largest_weight_difference_to_fit:.1g}",
            "{accuracy_of_fit:.2%}",
        ),
        ("serve the export", "outputs differ by at most {largest_difference_served:.1g}", "{accuracy_served:.2%}"),
    )
    for texts, seconds in zip(rows, summary["seconds"], strict=True):
        table.add_row(*(text.format(**summary) for text in texts), f"{seconds:.0f}")
    table.add_section()
    table.add_row("", "", "", f"{sum(summary['seconds']):.0f}")
    return table
