"""Every layer that Keras has is carried: its state, its answers and its training, in a process and to another one."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import layers_elsewhere
import layers_of_keras
import pytest
from layers_of_keras import ELSEWHERE, ROWS, bits, classes, life, model_of

from keras_estimator import Blueprint
from keras_estimator.model import anatomy

NAMES = sorted(ROWS.keys() & classes().keys())
# What the models of a file are and what their lives were, for the test that reads them in another process.
CARRIED: dict[str, tuple[bytes, Any]] = {}


def storages(model: Any) -> set[int]:
    return {id(held.variable if held.is_raw else held.variable.value) for held in anatomy.holdings(model)}


def carried(name: str) -> tuple[bytes, Any]:
    """Return the bytes of a model that has lived, and its life from there on."""
    if name not in CARRIED:
        model = model_of(name)
        life(model, name)
        CARRIED[name] = Blueprint.of(model).to_bytes(), bits(life(model, name))
    return CARRIED[name]


def test_every_class_of_keras_layers_has_a_row() -> None:
    new = classes().keys() - ROWS.keys() - ELSEWHERE.keys()
    assert not new, f"Keras has new layers: give each a row in {layers_of_keras.__name__}.py: {sorted(new)}"


def test_a_row_is_of_a_class_that_keras_has_or_had() -> None:
    since_the_oldest = {"Adaptive", "ContrastLimited"}
    gone = [name for name in ROWS.keys() - classes().keys() if not name.startswith(tuple(since_the_oldest))]
    assert not gone, f"Keras has none of these any more: {gone}"


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_lives_on_in_its_copies(name: str) -> None:
    model = model_of(name)
    life(model, name)
    blueprint = Blueprint.of(model)
    twin, data = blueprint.build(), blueprint.to_bytes()
    arrived = Blueprint.from_bytes(data).build()
    assert not storages(model) & storages(twin)
    assert blueprint.remarks == ()
    lived = bits(life(model, name))
    assert bits(life(twin, name)) == lived
    assert bits(life(arrived, name)) == lived
    CARRIED[name] = data, lived


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_layer_lives_on_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "layers"
    path.write_bytes(pickle.dumps({name: carried(name) for name in NAMES}))
    command = [sys.executable, layers_elsewhere.__file__, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[done.stdout.find("WRONG") :] + done.stderr[-1000:]
