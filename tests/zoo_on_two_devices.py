"""Train kinds of the zoo for five steps on two devices of this process, and print what came of each as JSON.

    python zoo_on_two_devices.py FOLDER COMPARED NAME...

Kinds in COMPARED (names with commas between) are trained by one device, too. The losses of both are printed, what
was warned of, and why a kind was refused. One whose rows depend on each other is trained once more with what its
user would then say.
"""

from __future__ import annotations

import gc
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import keras_estimator as ke

# isort: split
import keras
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import zoo  # noqa: E402 - it makes tensors, before which devices have to be set

STEPS = 5
gc.set_threshold(50_000, 10, 10)  # as in conftest.py: graphs are cycles by the hundred thousand


class Losses(ke.Hook):
    """Notes the loss at each step."""

    cadence = ke.Cadence(every_steps=1)

    def __init__(self) -> None:
        self.noted: list[float] = []

    def after_steps(self, run: ke.Run) -> None:
        self.noted.append(float(run.metrics.get("loss", 0.0)))


def losses(name: str, folder: Path, **options: Any) -> list[float]:
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    kind, hook = zoo.KINDS[name], Losses()
    options |= {"progress": "off", "save_checkpoints_steps": None, "save_summary_steps": None}
    made = ke.model_to_estimator(kind.build(), config=ke.RunConfig(folder, log_step_count_steps=None, **options))
    made.train(lambda: kind.data().repeat(), [hook], max_steps=STEPS, class_weight=kind.class_weight)
    return hook.noted


def tried(name: str, folder: Path, *, is_compared: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found["two"] = losses(name, folder / "two", train_distribute="mirrored")
            if is_compared:
                found["one"] = losses(name, folder / "one")
        except ke.EstimatorError as error:
            found["refused"] = str(error)
            if "rows of a batch depend on each other" in found["refused"]:
                options = {"train_distribute": "mirrored", "dependent_rows": "share"}
                found["two"] = losses(name, folder / "shared", **options)
        except Exception as error:  # noqa: BLE001 - the test says which kind it was
            found["failed"] = f"{type(error).__name__}: {error}"
    found["warned"] = sorted({str(each.message) for each in caught if issubclass(each.category, ke.EstimatorWarning)})
    return found


if __name__ == "__main__":
    compared = sys.argv[2].split(",")
    for each in sys.argv[3:]:
        found = tried(each, Path(sys.argv[1]) / each, is_compared=each in compared)
        sys.stdout.write(json.dumps([each, found]) + "\n")
