"""The demo: handwritten digits, a model that no config can carry, a kill in the middle, and serving.

    train (killed) ─▶ the same call again: goes on, evaluates, exports ─▶ fit, for comparison ─▶ serve

Each is a process of its own, so that nothing can be carried over but by the files of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_estimator as ke
from keras_estimator.errors import ConfigError, EstimatorError

SEED, BATCH, PASSES = 1, 32, 40
STEPS_PER_PASS = 45  # 1,437 digits to train on
LAST_STEP = PASSES * STEPS_PER_PASS
SAVE_EVERY, NOTE_EVERY, KILL_AFTER = 400, 20, 1000

# The process that serves knows TensorFlow and the files of the export, and nothing else.
SERVE = """
import sys, numpy as np, tensorflow as tf
export, images, answers = sys.argv[1:]
serve = tf.saved_model.load(export).signatures["serving_default"]
(name,) = serve.structured_input_signature[1]
(outputs,) = serve(**{name: tf.constant(np.load(images))}).values()
np.save(answers, outputs.numpy())
"""


class Swish(keras.layers.Layer):  # type: ignore[misc]  # Keras has no stubs
    """A custom layer without a config."""

    def call(self, x: Any) -> Any:
        """Return x * sigmoid(x)."""
        return x * keras.ops.sigmoid(x)


def bend(x: Any) -> Any:
    """Bend values towards one, with NumPy in the middle of the model."""
    return np.tanh(x) + 0.1 * x


class WarmUp(keras.layers.Layer):  # type: ignore[misc]  # Keras has no stubs
    """A layer with a state that Keras does not know: what it lets through grows with the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = sys.modules["tensorflow"].Variable(0.0, trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002 - the way Keras calls a layer
        """Return x times a number that goes from one half to one."""
        if training:
            self.steps.assign_add(1.0)
        return x * (1.0 - 0.5 / (1.0 + 0.01 * self.steps))


def build() -> keras.Model:
    """Return the model, compiled; the same each time."""
    keras.utils.set_random_seed(SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same"),
            Swish(),
            layers.Conv2D(16, 3),
            layers.Lambda(bend),
            WarmUp(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10, name="digit"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


@dataclasses.dataclass(frozen=True)
class Digits:
    """Images of shape (rows, 8, 8, 1) between 0 and 1, and the digits they show."""

    train_x: np.ndarray[Any, Any]
    train_y: np.ndarray[Any, Any]
    test_x: np.ndarray[Any, Any]
    test_y: np.ndarray[Any, Any]


def digits() -> Digits:
    """Return the 1,797 handwritten digits that scikit-learn ships, in one order, 360 of them for testing.

    Raises:
        ConfigError: scikit-learn or matplotlib is not installed.
    """
    try:
        import matplotlib as _  # noqa: F401, PLC0415 - an extra; better to miss it before the training
        from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "the demo needs packages that are not installed",
            found=str(error),
            expected="scikit-learn (the digits) and matplotlib (the picture)",
            fix='pip install "keras-estimator[demo]"',
        ) from error
    data = load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    x = (data.images[order, ..., None] / 16).astype("float32")
    y = data.target[order].astype("int64")
    return Digits(x[360:], y[360:], x[:360], y[:360])


class LossNotes(ke.Hook):
    """Notes the loss in a file of JSON lines, as a hook of a user would."""

    cadence = ke.Cadence(every_steps=NOTE_EVERY)

    def __init__(self, path: Path) -> None:
        self._path = path

    def after_steps(self, run: ke.Run) -> None:
        """Add a line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"process": os.getpid(), "step": run.step, "loss": run.metrics["loss"]}) + "\n")


def train(folder: Path) -> None:
    """Train from wherever the files of the run stand; then evaluate, predict and export."""
    data = digits()
    config = ke.RunConfig(save_checkpoints_steps=SAVE_EVERY, log_step_count_steps=NOTE_EVERY)
    estimator = ke.model_to_estimator(build, model_dir=folder / "run", config=config)
    rows = ke.Arrays(data.train_x, data.train_y, batch_size=BATCH, shuffle=False)
    estimator.train(rows, hooks=[LossNotes(folder / "losses.jsonl")], max_steps=LAST_STEP)
    found = estimator.evaluate((data.test_x, data.test_y))
    np.save(folder / "predicted.npy", estimator.predictor()(data.test_x))
    _write_result(folder / "train.json", estimator.model, found["accuracy"])
    export = estimator.export_saved_model(folder / "export")
    (folder / "export.txt").write_text(export)


def fit(folder: Path) -> None:
    """Train the same model by `fit`, on the same batches in the same order, without a kill."""
    data = digits()
    ke.numpy_on_tensors()  # Keras alone cannot run this model
    model = build()
    model.fit(data.train_x, data.train_y, batch_size=BATCH, epochs=PASSES, shuffle=False, verbose=0)
    found = model.evaluate(data.test_x, data.test_y, verbose=0, return_dict=True)
    _write_result(folder / "fit.json", model, found["accuracy"])


def _write_result(path: Path, model: keras.Model, accuracy: float) -> None:
    np.savez(path.with_suffix(".npz"), *model.get_weights())
    path.write_text(json.dumps({"accuracy": float(accuracy)}))


def show(folder: Path) -> None:
    """Run the demo and print what came of it.

    Args:
        folder: Where everything is written; what an earlier demo left there is removed.

    Raises:
        ConfigError: packages are missing, or `folder` holds something else.
        EstimatorError: a part of the demo failed.
    """
    console, began = Console(), time.monotonic()
    data = digits()
    _make_empty(folder)
    with _phase(console, "Training a model with a custom layer, NumPy in a Lambda, and a hidden state"):
        killed_at = _train_and_kill(folder)
        console.print(f"[bold red]SIGKILL[/] by step {killed_at}")
    with _phase(console, "The same call again: it goes on from the newest checkpoint, evaluates and exports"):
        _run("train", folder)
    with _phase(console, "The same by fit, from the same seed and never killed"):
        _run("fit", folder)
    with _phase(console, "Serving the export in a process without any of this code"):
        _serve(folder, data)
    summary = _summary(folder, data, killed_at=killed_at)
    summary["picture"] = str(_draw(folder, data, summary))
    summary["seconds"] = round(time.monotonic() - began)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2))
    console.print(_table(summary))
    console.print(f"picture: {summary['picture']}", soft_wrap=True)


@contextlib.contextmanager
def _phase(console: Console, title: str) -> Any:
    began = time.monotonic()
    console.rule(f"[bold]{title}", align="left")
    yield
    console.print(f"[dim]{time.monotonic() - began:.0f} s")


def _make_empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / "losses.jsonl").exists():
        raise ConfigError(
            "the folder of the demo holds something else",
            found=str(folder),
            expected="an empty folder, or one that an earlier demo wrote",
            fix="keras-estimator demo --folder some-other-folder",
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "losses.jsonl").touch()


def _command(part: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "keras_estimator.demo", part, str(folder)]


def _environment() -> dict[str, str]:
    return {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", **os.environ}


def _train_and_kill(folder: Path) -> int:
    """Start the training, kill it without warning in the middle, and return the last step it noted."""
    with subprocess.Popen(_command("train", folder), env=_environment()) as process:
        while process.poll() is None:
            notes = _notes(folder)
            if notes and notes[-1]["step"] >= KILL_AFTER:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
        process.wait()
    notes = _notes(folder)
    if process.returncode != -signal.SIGKILL or not notes:
        raise _failed("train", process.returncode)
    return int(notes[-1]["step"])


def _run(part: str, folder: Path) -> None:
    done = subprocess.run(_command(part, folder), env=_environment(), check=False)
    if done.returncode:
        raise _failed(part, done.returncode)


def _serve(folder: Path, data: Digits) -> None:
    np.save(folder / "images.npy", data.test_x)
    export = (folder / "export.txt").read_text()
    files = [str(folder / name) for name in ("images.npy", "served.npy")]
    done = subprocess.run([sys.executable, "-I", "-c", SERVE, export, *files], env=_environment(), check=False)
    if done.returncode:
        raise _failed("serve", done.returncode)


def _failed(part: str, code: int) -> EstimatorError:
    return EstimatorError(
        f"the part `{part}` of the demo failed",
        found=f"exit status {code}; its own message is above",
        expected="exit status 0",
        fix="report it with what was printed",
    )


def _notes(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "losses.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _summary(folder: Path, data: Digits, *, killed_at: int) -> dict[str, Any]:
    notes = _notes(folder)
    second = [note["step"] for note in notes if note["process"] != notes[0]["process"]]
    with np.load(folder / "train.npz") as ours, np.load(folder / "fit.npz") as reference:
        difference = max(float(np.abs(ours[name] - reference[name]).max()) for name in reference.files)
    served, predicted = np.load(folder / "served.npy"), np.load(folder / "predicted.npy")
    return {
        "steps": LAST_STEP,
        "killed_at": killed_at,
        "went_on_from": second[0] - NOTE_EVERY,
        "accuracy": json.loads((folder / "train.json").read_text())["accuracy"],
        "accuracy_of_fit": json.loads((folder / "fit.json").read_text())["accuracy"],
        "accuracy_served": float(np.mean(served.argmax(1) == data.test_y)),
        "largest_weight_difference_to_fit": difference,
        "largest_served_difference": float(np.abs(served - predicted).max()),
    }


def _table(summary: Mapping[str, Any]) -> Table:
    table = Table(title="What came of it", show_header=False, title_justify="left")
    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("killed by SIGKILL at step", lambda s: f"{s['killed_at']:,} of {s['steps']:,}"),
        ("went on from step", lambda s: f"{s['went_on_from']:,}"),
        ("test accuracy, killed and gone on", lambda s: f"{s['accuracy']:.2%}"),
        ("test accuracy of fit, never killed", lambda s: f"{s['accuracy_of_fit']:.2%}"),
        ("largest difference of a weight to fit", lambda s: f"{s['largest_weight_difference_to_fit']:.3g}"),
        ("test accuracy as served", lambda s: f"{s['accuracy_served']:.2%}"),
        ("largest difference of a served output", lambda s: f"{s['largest_served_difference']:.3g}"),
        ("seconds in all", lambda s: str(s["seconds"])),
    ]
    for label, text in rows:
        table.add_row(label, text(summary))
    return table


def _draw(folder: Path, data: Digits, summary: Mapping[str, Any]) -> Path:
    """Draw the loss with the kill in it, and some digits with what was served for them."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1.25, 1)))
    axes = left.subplots()
    notes = _notes(folder)
    for process, colour, label in (
        (notes[0]["process"], "tab:blue", "first process"),
        (notes[-1]["process"], "tab:orange", "second process"),
    ):
        own = [note for note in notes if note["process"] == process]
        axes.plot([n["step"] for n in own], [n["loss"] for n in own], color=colour, label=label)
    axes.axvline(summary["killed_at"], color="tab:red", linestyle="--", label="SIGKILL")
    axes.axvspan(summary["went_on_from"], summary["killed_at"], color="tab:red", alpha=0.12, label="done again")
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Killed, and gone on from the checkpoint")
    axes.legend()
    answers = np.load(folder / "served.npy").argmax(1)
    order = np.argsort(answers == data.test_y, kind="stable")[:24]  # the wrong ones first
    for place, square in zip(order, right.subplots(4, 6).flat, strict=True):
        square.imshow(data.test_x[place, ..., 0], cmap="gray_r")
        square.set_title(str(answers[place]), color="black" if answers[place] == data.test_y[place] else "tab:red")
        square.axis("off")
    right.suptitle("Test digits with the served answers; wrong ones in red")
    path = folder / "digits.png"
    figure.savefig(path, dpi=100)
    return path


if __name__ == "__main__":
    {"train": train, "fit": fit}[sys.argv[1]](Path(sys.argv[2]))
