"""What test_blueprint.py runs in processes of its own: write all kinds, read them without their source, mirror them."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from keras_estimator.model import anatomy
from keras_estimator.model.carrying.blueprint import Blueprint

# Keras's own optimizers fail in replicas when they accumulate, scale by trial, or overwrite by the average.
KERAS_CANNOT_STEP = {"accumulated_gradients", "accumulated", "loss_scale", "average_and_decay"}


def state(model: Any) -> dict[str, Any]:
    return {held.path: held.variable.numpy() for held in anatomy.holdings(model)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    both = one.keys() & other.keys()
    return sorted({*(one.keys() ^ other.keys()), *(p for p in both if one[p].tobytes() != other[p].tobytes())})


def train(model: Any, batch: Any, class_weight: Any = None) -> str:
    data = tf.data.Dataset.from_tensors(batch)
    return repr(model.fit(data, class_weight=class_weight, verbose=0, shuffle=False).history)


def run_all(one: Any, kinds: dict[str, Any]) -> dict[str, str]:
    """Run a function for each kind and return what went wrong, by kind."""
    wrong = {}
    for name, value in kinds.items():
        try:
            one(name, value)
        except Exception:  # noqa: BLE001 - whatever it is, the parent reports it
            wrong[name] = traceback.format_exc(limit=-3)
    return wrong


def kinds_of(names: list[str]) -> dict[str, Any]:
    """Run the files of kinds as `__main__`, like the cells of a notebook."""
    main = vars(sys.modules["__main__"])
    found: dict[str, Any] = {}
    here = os.path.dirname(os.path.abspath(__file__))
    for name in names:
        with open(os.path.join(here, f"{name}.py"), encoding="utf-8") as file:
            text = file.read()
        if name != "zoo":
            text = text.replace("from carried_zoo import", "from __main__ import")
        exec(compile(text, f"<{name} typed in>", "exec", dont_inherit=True), main)
        found |= main["KINDS"]
    return found


def write(path: str, *names: str) -> dict[str, str]:
    written: dict[str, Any] = {}

    def one(name: str, kind: Any) -> None:
        keras.utils.set_random_seed(0)
        model, batches = kind.build(), list(kind.data())
        train(model, batches[0], kind.class_weight)
        before, data = state(model), Blueprint.of(model).to_bytes()
        arrays = tf.nest.map_structure(lambda tensor: tensor.numpy(), batches[1])
        loss = train(model, batches[1], kind.class_weight)
        written[name] = (data, arrays, kind.class_weight, before, loss, state(model))

    wrong = run_all(one, kinds_of(list(names)))
    with open(path, "wb") as file:
        pickle.dump(written, file)
    return wrong


def read(path: str, *, mirrored: bool = False) -> dict[str, str]:
    # One for all: the collectives of a second strategy would take the first one's for theirs.
    strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU")) if mirrored else None

    def one(name: str, value: Any) -> None:
        data, arrays, class_weight, before, loss, after = value
        if mirrored:
            run_mirrored(name, data, arrays, before)
            return
        model = Blueprint.from_bytes(data).build()
        assert not differences(before, state(model)), differences(before, state(model))
        assert train(model, arrays, class_weight) == loss
        assert not differences(after, state(model)), differences(after, state(model))
        assert not {"zoo", "carried_zoo", "carried_zoo_beyond"} & sys.modules.keys()

    def run_mirrored(name: str, data: bytes, arrays: Any, before: Any) -> None:
        assert strategy.num_replicas_in_sync == 2
        with strategy.scope():
            model = Blueprint.from_bytes(data).build()
        assert not differences(before, state(model)), differences(before, state(model))
        if name in KERAS_CANNOT_STEP:
            return
        step = tf.function(lambda batch: strategy.run(model.train_step, args=(batch,)))
        rows = len(tf.nest.flatten(arrays)[0])
        dataset = tf.data.Dataset.from_tensors(arrays).repeat(2).unbatch().batch(2 * rows)
        step(next(iter(strategy.experimental_distribute_dataset(dataset))))

    with open(path, "rb") as file:
        return run_all(one, pickle.load(file))


if __name__ == "__main__":
    what, path, *names = sys.argv[1:]
    if what == "mirror":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    failures = write(path, *names) if what == "write" else read(path, mirrored=what == "mirror")
    for failed, text in failures.items():
        sys.stdout.write(f"WRONG {failed} {text}\n")
    sys.exit(bool(failures))
