"""Damage anywhere in a checkpoint is noticed, named, and never stands for the state of a run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CorruptCheckpointError, EstimatorWarning
from keras_estimator.state_files import RUN_FILE, STATE_FILE, read_files

PLACES = 100
STEPS = (5, 10, 13)
X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Stops(ke.Hook):
    cadence = ke.Cadence(every_steps=13)

    def after_steps(self, run: ke.Run) -> None:
        if run.step == 13:
            run.stop("the test has seen enough")


def train(model_dir: Path, *hooks: ke.Hook) -> keras.Model:
    """Train to step 20; a run that was stopped at 13 goes on."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("adam", "mse")
    quiet: dict[str, Any] = {"progress": "off", "save_summary_steps": None, "log_step_count_steps": None}
    config = ke.RunConfig(save_checkpoints_steps=5, plan="graph", **quiet)
    data = ke.Arrays(X, Y, batch_size=8, seed=3, epochs=4)
    callbacks = [keras.callbacks.EarlyStopping("loss", patience=9)]
    estimator = ke.model_to_estimator(model, model_dir=model_dir, config=config)
    return estimator.train(data, list(hooks), callbacks=callbacks, max_steps=20).model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model_dir of a run that was stopped, with checkpoints of steps 5, 10 and 13."""
    model_dir = tmp_path_factory.mktemp("run") / "model_dir"
    train(model_dir, Stops())
    for checkpoint in Checkpoints(model_dir).list():
        if checkpoint.step not in STEPS:
            shutil.rmtree(checkpoint.path)
    assert tuple(checkpoint.step for checkpoint in Checkpoints(model_dir).list()) == STEPS
    return model_dir


@pytest.fixture
def model_dir(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "model_dir"))


def file_of(model_dir: Path, step: int, name: str) -> Path:
    return model_dir / "checkpoints" / f"step-{step}" / name


def flipped(data: bytes, place: int, dice: random.Random) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :]


def cut(data: bytes, place: int, dice: random.Random) -> bytes:
    return data[:place]


def assert_falls_back(model_dir: Path, intact: dict[str, Any], *, to: int, past: tuple[int, ...], what: object) -> None:
    with pytest.warns(EstimatorWarning, match=f"going back to step {to}") as caught:
        restored = Checkpoints(model_dir).newest_readable()
    assert restored is not None
    assert restored.step == to, what
    assert restored.state.keys() == intact.keys()
    assert all(restored.state[path].tobytes() == value.tobytes() for path, value in intact.items())
    text = str(caught[0].message)
    assert [step for step in STEPS if str(model_dir / "checkpoints" / f"step-{step}") + ":" in text] == sorted(past)


@pytest.mark.parametrize("change", [flipped, cut])
@pytest.mark.parametrize("name", [STATE_FILE, RUN_FILE])
@pytest.mark.parametrize("newest", [13, 10])
def test_damage_at_a_hundred_places_is_noticed_and_the_next_older_one_is_taken(
    change: Callable[[bytes, int, random.Random], bytes], name: str, newest: int, model_dir: Path
):
    past = tuple(step for step in STEPS if step >= newest)
    to = STEPS[STEPS.index(newest) - 1]
    intact = Checkpoints(model_dir).read(to).state
    for step in past[1:]:
        file_of(model_dir, step, RUN_FILE).unlink()
    file = file_of(model_dir, newest, name)
    data, dice = file.read_bytes(), random.Random(f"{change.__name__} {name}")
    places = {0, 7, 8, len(data) - 2, len(data) - 1, *dice.sample(range(len(data)), PLACES - 5)}
    for place in sorted(places):
        file.write_bytes(change(data, place, dice))
        assert_falls_back(model_dir, intact, to=to, past=past, what=place)
    file.write_bytes(data)
    if newest == STEPS[-1]:
        restored = Checkpoints(model_dir).newest_readable()  # without a warning
        assert restored is not None
        assert restored.step == newest


@pytest.mark.parametrize("name", [STATE_FILE, RUN_FILE])
def test_a_file_that_is_gone_or_something_else_is_noticed(name: str, model_dir: Path):
    file, aside = file_of(model_dir, 13, name), model_dir / "aside"
    intact = Checkpoints(model_dir).read(10).state
    file.rename(aside)
    others: list[Callable[[], object]] = [
        lambda: None,
        file.touch,
        file.mkdir,
        lambda: os.mkfifo(file),
        lambda: file.symlink_to(aside),
        lambda: file.write_bytes(aside.read_bytes() + b"\0"),
        lambda: shutil.copy(file_of(model_dir, 10, name), file),
        lambda: shutil.copy(file_of(model_dir, 13, RUN_FILE if name == STATE_FILE else STATE_FILE), file),
    ]
    for number, put in enumerate(others):
        put()
        assert_falls_back(model_dir, intact, to=10, past=(13,), what=number)
        file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)


def test_a_run_goes_on_from_the_older_one_to_the_same_bits(run: Path, model_dir: Path, tmp_path: Path):
    whole = train(Path(shutil.copytree(run, tmp_path / "whole")))
    file = file_of(model_dir, 13, STATE_FILE)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(EstimatorWarning, match=r"going back to step 10[\s\S]*step-13"):
        model = train(model_dir)
    for ours, theirs in zip(model.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_run_of_which_all_is_damaged_never_begins_anew(model_dir: Path):
    for step, name in zip(STEPS, (RUN_FILE, STATE_FILE, RUN_FILE), strict=True):
        file = file_of(model_dir, step, name)
        file.write_bytes(flipped(file.read_bytes(), 20, random.Random(step)))
    with pytest.raises(CorruptCheckpointError, match="none of the checkpoints") as caught:
        Checkpoints(model_dir).newest_readable()
    assert all(f"step-{step}: " in caught.value.found for step in STEPS)
    for _ in range(2):  # nor when it is tried again
        with pytest.raises(CorruptCheckpointError, match="none of the checkpoints"):
            train(model_dir)
    assert not (model_dir / "checkpoints" / "step-0").exists()


# Fuzzing: 10,000 changes of the two files of a real checkpoint.

JUNK: list[Any] = [None, True, -1, 0, 2**63, 2**70, 0.5, float("nan"), "", "state", "\ud800", [], [[]], {}, {"a": 1}]


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "checkpoints" / "step-13", tmp_path / "step-13"))


def changed(data: bytes, dice: random.Random) -> bytes:
    """Return other bytes: flipped, cut, inserted, doubled or overwritten at a few places."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5])):
        place = dice.randrange(len(changed) + 1)
        how, length = dice.randrange(5), dice.choice([1, 1, 2, 8, 50])
        if how == 0 and place < len(changed):
            changed[place] ^= 1 << dice.randrange(8)
        elif how == 1:
            del changed[place : place + length]
        elif how == 2:
            changed[place:place] = dice.randbytes(length)
        elif how == 3:
            changed[place:place] = changed[place : place + length]
        else:
            changed[place : place + length] = dice.choice([b"\xff", b"\0", b"[", b"9"]) * length
    return bytes(changed)


@pytest.mark.parametrize("name", [STATE_FILE, RUN_FILE])
def test_two_and_a_half_thousand_changes_of_its_bytes_are_noticed(name: str, folder: Path):
    file, dice = folder / name, random.Random(f"bytes of {name}")
    data = file.read_bytes()
    for number in range(2500):
        other = changed(data, dice)
        if other == data:
            continue
        file.write_bytes(other)
        assert is_refused(folder), number


def is_refused(folder: Path) -> bool:
    try:
        read_files(folder)
    except CorruptCheckpointError:
        return True
    return False


def sign(folder: Path, record: dict[str, Any]) -> None:
    """Write a record as somebody would who knows how its SHA-256 is made."""
    digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    (folder / RUN_FILE).write_text(json.dumps({**record, "sha256": digest}, indent=1) + "\n")


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / RUN_FILE).read_text())
    del record["sha256"]
    return record


def test_two_and_a_half_thousand_states_with_the_right_digest_raise_nothing_else(folder: Path):
    """A changed number cannot be told from another number; a changed header can."""
    record, data, dice = record_of(folder), (folder / STATE_FILE).read_bytes(), random.Random("states")
    end_of_header = 8 + int.from_bytes(data[:8], "little")
    num_refused = 0
    for _ in range(2500):
        other = changed(data[:end_of_header], dice) + data[end_of_header:]
        (folder / STATE_FILE).write_bytes(other)
        record["state"] = {"bytes": len(other), "sha256": hashlib.sha256(other).hexdigest()}
        sign(folder, record)
        num_refused += is_refused(folder)
    assert num_refused > 1500


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Return each container of a JSON value with each of its keys."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [(value, key) for key, _ in pairs] + [place for _, inner in pairs for place in places_in(inner)]


def test_two_and_a_half_thousand_records_with_the_right_digest_raise_nothing_else(folder: Path):
    intact, dice = (folder / RUN_FILE).read_text(), random.Random("records")
    for number in range(2500):
        if number % 2:
            record = record_of(folder)
            container, key = dice.choice(places_in(record))
            container[key] = dice.choice(JUNK)
        else:
            record = {}
            with contextlib.suppress(ValueError):
                record = json.loads(changed(intact.encode(), dice))
            if not isinstance(record, dict):
                continue
            record.pop("sha256", None)
        sign(folder, record)
        with contextlib.suppress(CorruptCheckpointError):
            read_files(folder)
        (folder / RUN_FILE).write_text(intact)
