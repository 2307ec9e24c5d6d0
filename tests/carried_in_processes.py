"""What test_blueprint.py runs in processes of its own: write all kinds, read them without their source, mirror them."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import sys
import traceback
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from keras_estimator.model import anatomy, half_built, numpy_calls
from keras_estimator.model.blueprint import Blueprint
from keras_estimator.model.computation.fingerprint import Fingerprint, take_fingerprints


def state(model: Any) -> dict[str, Any]:
    return {held.path: held.variable.numpy() for held in anatomy.holdings(model)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    both = one.keys() & other.keys()
    return sorted({*(one.keys() ^ other.keys()), *(p for p in both if one[p].tobytes() != other[p].tobytes())})


def made(kind: Any) -> Any:
    """Build a model and complete it, as an Estimator does before anything else."""
    model = kind.build()
    half_built.complete(model)
    return model


def train(model: Any, batch: Any, class_weight: Any = None) -> str:
    numpy_calls.install()
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


def fingerprint(model: Any, batch: Any) -> Fingerprint:
    return take_fingerprints(model, batch)[0].fingerprint


def kinds_of(names: list[str]) -> dict[str, Any]:
    """Run the files of kinds as `__main__`, like the cells of a notebook."""
    main = vars(sys.modules["__main__"])
    found: dict[str, Any] = {}
    here = os.path.dirname(os.path.abspath(__file__))
    for name in names:
        with open(os.path.join(here, f"{name}.py"), encoding="utf-8") as file:
            text = file.read()
        text = re.sub(r"^from zoo_\w+ import", "from __main__ import", text, flags=re.MULTILINE)
        exec(compile(text, f"<{name} typed in>", "exec", dont_inherit=True), main)
        found |= main.pop("KINDS", {})
    return found


def write(path: str, part: str, *names: str) -> dict[str, str]:
    """Write one part of all kinds, `"0/4"` for the first of four."""
    written: dict[str, Any] = {}
    first, step = map(int, part.split("/"))

    def one(name: str, kind: Any) -> None:
        keras.utils.set_random_seed(0)
        model, batches = made(kind), list(kind.data())
        train(model, batches[0], kind.class_weight)
        before, data = state(model), Blueprint.of(model).to_bytes()
        arrays = tf.nest.map_structure(lambda tensor: tensor.numpy(), batches[1])
        computed = fingerprint(model, arrays)
        assert not differences(before, state(model)), differences(before, state(model))
        loss = train(model, arrays, kind.class_weight)
        written[name] = (data, arrays, kind.class_weight, dict(kind.exceptions), before, computed, loss, state(model))

    kinds = kinds_of(list(names))
    wrong = run_all(one, {name: kinds[name] for name in list(kinds)[first::step]})
    with open(path, "wb") as file:
        pickle.dump(written, file)
    return wrong


def read(path: str, *, mirrored: bool = False) -> dict[str, str]:
    # One for all: the collectives of a second strategy would take the first one's for theirs.
    strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU")) if mirrored else None

    def one(name: str, value: Any) -> None:
        data, arrays, class_weight, exceptions, before, computed, loss, after = value
        if mirrored:
            run_mirrored(data, arrays, exceptions, before)
            return
        model = Blueprint.from_bytes(data).build()
        assert not differences(before, state(model)), differences(before, state(model))
        recomputed = fingerprint(model, arrays)
        again = train(model, arrays, class_weight)
        if "travels" not in exceptions:
            assert not computed.differences(recomputed), computed.differences(recomputed)
            assert again == loss
            assert not differences(after, state(model)), differences(after, state(model))
        assert not [module for module in sys.modules if module.startswith("zoo")]

    def run_mirrored(data: bytes, arrays: Any, exceptions: dict[str, str], before: Any) -> None:
        numpy_calls.install()  # as an Estimator does
        assert strategy.num_replicas_in_sync == 2
        with strategy.scope():
            model = Blueprint.from_bytes(data).build()
        assert not differences(before, state(model)), differences(before, state(model))
        if "steps_mirrored" in exceptions:
            return
        step = tf.function(lambda batch: strategy.run(model.train_step, args=(batch,)))
        rows = len(tf.nest.flatten(arrays)[0])
        dataset = tf.data.Dataset.from_tensors(arrays).repeat(2).unbatch().batch(2 * rows)
        step(next(iter(strategy.experimental_distribute_dataset(dataset))))

    with open(path, "rb") as file:
        return run_all(one, pickle.load(file))


def leave(path: str, *names: str) -> dict[str, str]:
    """Make and train kinds under a strategy, and copy them to where there is none, and to strategies."""
    strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU"))
    scopes = (contextlib.nullcontext, strategy.scope, tf.distribute.OneDeviceStrategy("/cpu:1").scope)

    def one(name: str, kind: Any) -> None:
        with strategy.scope():
            model = made(kind)
            model.fit(kind.data().take(4), verbose=0, shuffle=False)
        before, batch = state(model), next(iter(kind.data()))
        for scope in scopes:
            with scope():
                twin = Blueprint.of(model).build()
            assert not differences(before, state(twin)), differences(before, state(twin))
            if scope is contextlib.nullcontext:
                train(twin, batch)
                assert differences(before, state(twin))
        assert not differences(before, state(model)), differences(before, state(model))

    kinds = kinds_of(list(names))
    return run_all(one, {name: kinds[name] for name in path.split(",")})


if __name__ == "__main__":
    what, path, *names = sys.argv[1:]
    if what in ("mirror", "leave"):
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if what in ("write", "leave"):
        failures = {"write": write, "leave": leave}[what](path, *names)
    else:
        failures = read(path, mirrored=what == "mirror")
    for failed, text in failures.items():
        sys.stdout.write(f"WRONG {failed} {text}\n")
    sys.exit(bool(failures))
