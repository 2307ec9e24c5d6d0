"""Fixes are proved in fresh processes: the same answers and train step, or it is said what differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_estimator.doctor.proof import Proof, prove

pytestmark = pytest.mark.slow

NET = """
import keras
import numpy as np


class Waves(keras.layers.Layer):
    def __init__(self):
        super().__init__()

    def call(self, x):
        return np.sin(x)


def build():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), Waves()])
    model.compile("sgd", "mse")
    return model
"""
MENDED = (
    NET.replace("np.sin", "keras.ops.sin")
    .replace("class Waves", '@keras.saving.register_keras_serializable("proof")\nclass Waves')
    .replace("__init__(self)", "__init__(self, **kwargs)")
    .replace("__init__()", "__init__(**kwargs)")
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "proved_net.py"
    path.write_text(NET, encoding="utf-8")
    return path


def test_a_fix_that_changes_nothing_is_proved(file: Path):
    proof = prove(f"{file}:build", None, {str(file): MENDED})
    assert proof.holds, str(proof)
    assert proof.compared == ("its answers", "its train step")
    assert proof.saved_before != ""
    assert proof.saved_after == ""
    assert "the same before and after: its answers, its train step" in str(proof)
    assert "now nothing is lost" in str(proof)
    assert file.read_text(encoding="utf-8") == NET


def test_a_fix_that_makes_another_model_is_found(file: Path):
    proof = prove(f"{file}:build", None, {str(file): MENDED.replace("ops.sin", "ops.cos")})
    assert not proof.holds
    assert any(line.startswith("its answers, batch 0") for line in proof.differences)


def test_a_fix_that_does_not_run_is_found(file: Path):
    proof = prove(f"{file}:build", None, {str(file): MENDED.replace("ops.sin", "ops.sinus")})
    assert not proof.holds
    assert "sinus" in proof.failure_after


def test_what_did_not_run_before_is_said():
    proof = Proof((), (), None, "", "TypeError: no", "")
    assert proof.holds
    assert str(proof).splitlines() == [
        "it runs in plain Keras now; before: TypeError: no",
        "saved and loaded by Keras: now nothing is lost; before: it was not",
    ]
