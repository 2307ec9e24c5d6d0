"""An error of a model ends with the findings on its line, and is the same error as without them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.doctor.advice import advised

NET = """
import keras

class Gate(keras.layers.Layer):
    def call(self, x):
        if keras.ops.sum(x) > 0:{mark}
            return x
        return -x

class Gated(keras.Model):
    def __init__(self):
        super().__init__()
        self.gate = Gate()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(self.gate(x))

class Late(keras.layers.Layer):
    is_ready = False

    def call(self, x):
        if not self.is_ready:
            raise NotImplementedError
        return x if keras.ops.sum(x) > 0 else -x

def half_built():
    late = Late()
    model = keras.Sequential([keras.Input((4,)), late, keras.layers.Dense(1)])
    late.is_ready = True
    return model

def gated():
    model = Gated()
    model.compile("sgd", "mse")
    return model

def sequential():
    return keras.Sequential([keras.Input((4,)), Gate()])
"""
RECEIVER = ke.build_raw_serving_input_receiver_fn({"x": tf.TensorSpec([None, 4], tf.float32)})
DATA = np.ones((4, 4), "float32"), np.ones((4, 1), "float32")
MARK = "  # no" + "qa: KE209"  # written so, because a test looks for such marks in this file


def net(folder: Path, mark: str = "") -> dict[str, Any]:
    file = folder / "net.py"
    file.write_text(NET.format(mark=mark))
    return runpy.run_path(str(file))


def notes(error: BaseException) -> list[str]:
    return [note for note in getattr(error, "__notes__", []) if note.startswith("doctor: ")]


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> ke.Estimator:
    folder = tmp_path_factory.mktemp("gated")
    return ke.model_to_estimator(net(folder)["gated"], model_dir=folder / "run")


WAYS = {
    "train": lambda estimator, _: estimator.train(DATA, steps=1),
    "evaluate": lambda estimator, _: estimator.evaluate(DATA),
    "predict": lambda estimator, _: list(estimator.predict(DATA[0])),
    "export": lambda estimator, folder: estimator.export_saved_model(folder, RECEIVER),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_error_in_a_call_ends_with_what_is_found_on_its_line(estimator: ke.Estimator, way: str, tmp_path: Path):
    with pytest.raises(TypeError, match="Using a symbolic") as caught:
        WAYS[way](estimator, tmp_path)
    (note,) = notes(caught.value)
    assert "net.py:6:12 KE209 `keras.ops.sum(x) > 0` is a tensor" in note
    assert note.endswith("use keras.ops.cond")


def test_so_does_one_of_a_builder(tmp_path: Path):
    with pytest.raises(TypeError) as caught:
        ke.model_to_estimator(net(tmp_path)["sequential"], model_dir=tmp_path / "run")
    assert [note.partition(" `")[0] for note in notes(caught.value)] == [f"doctor: {tmp_path / 'net.py'}:6:12 KE209"]


def test_so_does_one_of_ours_about_a_model_that_cannot_be_completed(tmp_path: Path):
    model = net(tmp_path)["half_built"]()
    with pytest.raises(ke.ModelError, match="cannot be built") as caught:
        ke.model_to_estimator(model, model_dir=tmp_path / "run")
    assert caught.value.rule == "KE203"
    (note,) = notes(caught.value)
    assert "net.py:25:21 KE209 `keras.ops.sum(x) > 0` is a tensor" in note


def test_it_is_told_once(tmp_path: Path):
    with pytest.raises(TypeError) as caught, advised(), advised():
        net(tmp_path)["sequential"]()
    assert len(notes(caught.value)) == 1


def test_what_is_silenced_is_not_told(tmp_path: Path):
    with pytest.raises(TypeError) as caught, advised():
        net(tmp_path, MARK)["sequential"]()
    assert notes(caught.value) == []


@pytest.mark.parametrize("table", ['ignore = ["KE209"]', 'ignore = "no list"'], ids=["ignored", "broken"])
def test_the_settings_beside_the_file_count_and_hide_no_error_if_they_are_wrong(tmp_path: Path, table: str):
    (tmp_path / "pyproject.toml").write_text(f"[tool.keras-estimator.doctor]\n{table}\n")
    with pytest.raises(TypeError, match="Using a symbolic") as caught, advised():
        net(tmp_path)["sequential"]()
    assert notes(caught.value) == []


def test_errors_on_other_lines_are_left_as_they_are():
    with pytest.raises(ValueError, match="rate") as caught, advised():
        keras.layers.Dropout(2.0)
    assert notes(caught.value) == []
    with pytest.raises(ke.ConfigError) as refused, advised():
        ke.RunConfig(plan="none")
    assert notes(refused.value) == []
    with pytest.raises(KeyboardInterrupt) as stopped, advised():
        raise KeyboardInterrupt
    assert notes(stopped.value) == []
