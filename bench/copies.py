"""The command `python -m bench.copies`: what a copy and a fingerprint of a model cost, against Keras's own copies."""

from __future__ import annotations

import copy
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.options import chosen

_ROOT = Path(__file__).parent.parent
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
# What is to be reached: seconds, or multiples of the memory of the weights.
TARGETS = {
    ("toy", "copy"): 0.030,
    ("toy", "fingerprint"): 2.0,
    ("MobileNetV2", "copy"): 0.5,
    ("MobileNetV2", "fingerprint"): 2.0,
    ("MobileNetV2", "extra memory"): 1.2,
}


# What each peer is compared with. With tf.function a fingerprint needs at least the two traces.
_OURS_OF = {"clone_model + set_weights": "copy", "copy.deepcopy": "copy", "two traces by TensorFlow": "fingerprint"}


def _toy() -> Any:
    import keras  # noqa: PLC0415 - in the process that measures only

    layers = keras.layers
    model = keras.Sequential([layers.Input((10,)), layers.Dense(64, activation="relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def _application(name: str) -> Callable[[], Any]:
    def build() -> Any:
        import keras  # noqa: PLC0415 - in the process that measures only

        return getattr(keras.applications, name)(weights=None)

    return build


MODELS = {"toy": _toy, "MobileNetV2": _application("MobileNetV2"), "ResNet50": _application("ResNet50")}


def _ways(model: Any) -> dict[str, Callable[[], Any]]:
    """Return what is timed: ours first, then what Keras and Python offer."""
    import keras  # noqa: PLC0415 - in the process that measures only

    import keras_estimator as ke  # noqa: PLC0415 - see above

    def cloned() -> Any:
        twin = keras.models.clone_model(model)
        twin.set_weights(model.get_weights())
        return twin

    blueprint = ke.Blueprint.of(model)

    def traced() -> None:
        import tensorflow as tf  # noqa: PLC0415 - in the process that measures only

        for training in (False, True):
            answer = tf.function(lambda x, mode=training: model(x, training=mode), autograph=False)
            answer.get_concrete_function(tf.TensorSpec([None, *model.inputs[0].shape[1:]]))

    return {
        "of": lambda: ke.Blueprint.of(model),
        "copy": blueprint.build,
        "to_bytes": blueprint.to_bytes,
        "fingerprint": lambda: blueprint.fingerprint,
        "two traces by TensorFlow": traced,
        "clone_model + set_weights": cloned,
        "copy.deepcopy": lambda: copy.deepcopy(model),
    }


def _resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def _extra_memory(make: Callable[[], Any], weights: int) -> float:
    """Return the highest memory while a twin is made and its weights are written, over that of the weights."""
    before, highest, done = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.001):
            highest = max(highest, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    twin = make()
    for variable in twin.variables:
        variable.assign(variable + 1 if "int" in variable.dtype else variable * 2)  # until then memory is shared
    done.set()
    watcher.join()
    return (max(highest, _resident()) - before) / weights


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Measure one model in this process.

    Args:
        name: One of `MODELS`.
        rounds: Turns of each way; they take turns, so that what else the machine does falls on all.

    Returns:
        Seconds of every round by way, and the extra memory of a copy as a multiple of its weights.
    """
    model = MODELS[name]()
    ways = _ways(model)
    ways["copy"]()  # code is loaded and memory is there
    memory = None
    if Path("/proc/self/statm").exists():
        memory = _extra_memory(ways["copy"], sum(v.numpy().nbytes for v in model.variables))
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, make in ways.items():
            gc.collect()  # models and graphs are cycles: the next way would clear up the last one's
            began = time.perf_counter()
            make()
            seconds[way].append(time.perf_counter() - began)
    return {"seconds": seconds, "extra memory": memory}


def _in_a_process(name: str, rounds: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-c",
        f"import json, bench.copies as c; print(json.dumps(c.measure({name!r}, {rounds})))",
    ]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _table(results: dict[str, Any]) -> Table:
    table = Table(title="Copies and fingerprints", title_justify="left")
    for place, column in enumerate(("model", "what", "median", "(min-max)", "ours / it", "target", "")):
        table.add_column(column, justify="left" if place < 2 else "right", no_wrap=True)
    for name, measured in results.items():
        for way, rounds in measured["seconds"].items():
            ours = measured["seconds"][_OURS_OF.get(way, way)]
            ratio = statistics.median(a / b for a, b in zip(ours, rounds, strict=True))
            spread = f"({min(rounds) * 1000:.0f}-{max(rounds) * 1000:.0f})"
            median = statistics.median(rounds)
            told = f"{median * 1000:.0f} ms", spread, f"{ratio:.2f}" if way in _OURS_OF else ""
            table.add_row(name, way, *told, *_judged(name, way, median, "ms", 1000))
        if measured["extra memory"] is not None:
            told = f"{measured['extra memory']:.2f} x weights", "", ""
            table.add_row(name, "extra memory", *told, *_judged(name, "extra memory", measured["extra memory"], "x", 1))
        table.add_section()
    return table


def _judged(name: str, what: str, reached: float, unit: str, scale: int) -> tuple[str, str]:
    target = TARGETS.get((name, what))
    if target is None:
        return "", ""
    return f"< {target * scale:g} {unit}", "[green]met[/]" if reached < target else "[red]missed[/]"


def main(
    *,
    models: Annotated[str, typer.Option(help="Which models, by comma.")] = ",".join(MODELS),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each way.")] = 5,
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = Path(__file__).parent / "results",
) -> None:
    """Measure what a copy and a fingerprint of a model cost, in time and memory, against Keras's own copies."""
    names = chosen(models, MODELS, "--models")
    results = {name: _in_a_process(name, rounds) for name in names}
    out.mkdir(parents=True, exist_ok=True)
    (out / "copies.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console = Console()
    console = console if console.width >= 110 else Console(width=110)
    console.print(_table(results))


if __name__ == "__main__":
    typer.run(main)
