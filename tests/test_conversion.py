"""Whatever is a model becomes an Estimator; whatever is not is refused."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_estimator as ke

L = keras.layers
X = np.random.RandomState(0).normal(size=(20, 3)).astype("float32")


class Twice(L.Layer):
    def call(self, x):
        return x * 2


def built(*between: L.Layer) -> keras.Model:
    model = keras.Sequential([L.Input((3,)), *between, L.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_a_model_or_something_that_builds_one_is_converted(tmp_path: Path) -> None:
    model = built()
    assert ke.model_to_estimator(model, model_dir=tmp_path).model is model
    assert isinstance(ke.model_to_estimator(built, model_dir=tmp_path).model, keras.Sequential)


def test_a_builder_runs_with_the_seed_of_the_configuration(tmp_path: Path) -> None:
    config = ke.RunConfig(tf_random_seed=11)
    first, second = (ke.model_to_estimator(built, model_dir=tmp_path / n, config=config).model for n in "ab")
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own save, under NumPy 2.4
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")  # that is what is tried
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.filterwarnings("ignore:.*without optimizer and loss:keras_estimator.EstimatorWarning")  # see below
def test_a_file_is_loaded_with_custom_objects(name: str, tmp_path: Path) -> None:
    model = built(Twice())
    model.save(tmp_path / name)
    found = ke.model_to_estimator(
        keras_model_path=tmp_path / name, custom_objects={"Twice": Twice}, model_dir=tmp_path / "run"
    )
    np.testing.assert_allclose(found.predictor()(X), model.predict(X, verbose=0), rtol=1e-6)
    if not found.model.compiled:  # Keras does not read "mse" back from an .h5 file
        assert name == "model.h5"
        found.model.compile("sgd", "mse")
    found.train((X, X[:, :1]), steps=2)
    with pytest.raises(ke.ModelError, match="no model can be loaded") as caught:
        ke.model_to_estimator(keras_model_path=tmp_path / name, model_dir=tmp_path / "other")
    assert "custom_objects" in caught.value.fix


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own save, under NumPy 2.4
def test_a_file_with_code_in_it_is_refused(tmp_path: Path) -> None:
    built(L.Lambda(lambda x: x + 1)).save(tmp_path / "model.keras")
    with pytest.raises(ke.ModelError, match="no model can be loaded") as caught:
        ke.model_to_estimator(keras_model_path=tmp_path / "model.keras", model_dir=tmp_path / "run")
    (note,) = caught.value.__notes__
    assert note.startswith("doctor: the model KE108 Keras does not load a Python lambda")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ke.ConfigError),
        ({"keras_model": built, "keras_model_path": "x.keras"}, ke.ConfigError),
        ({"keras_model": built, "checkpoint_format": "zip"}, ke.ConfigError),
        ({"keras_model": "a string"}, ke.ModelError),
        ({"keras_model": lambda: None}, ke.ModelError),
        ({"keras_model": L.Dense(1)}, ke.ModelError),
        ({"keras_model_path": "missing.keras"}, ke.ModelError),
    ],
)
def test_what_is_no_model_is_refused(arguments, error: type[ke.EstimatorError], tmp_path: Path) -> None:
    with pytest.raises(error):
        ke.model_to_estimator(**arguments, model_dir=tmp_path)


@pytest.mark.parametrize("name", ["checkpoint", "saver", None])
def test_both_formats_of_the_original_lead_to_ours(name: str | None, tmp_path: Path) -> None:
    found = ke.model_to_estimator(built(), model_dir=tmp_path, checkpoint_format=name)
    found.train((X, X[:, :1]), steps=1)
    assert (Path(found.latest_checkpoint()) / "state.safetensors").exists()


def test_that_there_is_one_format_is_said_once_and_only_to_those_who_ask_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras_estimator.conversion._said", set())
    caplog.set_level("INFO", "keras_estimator")
    for name, times in ((None, 0), ("checkpoint", 1), ("saver", 1)):
        ke.model_to_estimator(built(), model_dir=tmp_path, checkpoint_format=name)
        assert caplog.text.count("whatever checkpoint_format says") == times


def test_a_layer_or_a_builder_that_needs_arguments_says_so(tmp_path: Path) -> None:
    with pytest.raises(ke.ModelError, match="missing a required argument: 'size'"):
        ke.model_to_estimator(lambda size: built(), model_dir=tmp_path)


def test_what_cannot_be_opened_without_harm_is_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    (tmp_path / "device.keras").symlink_to("/dev/zero")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 70 * 2**20)
    for name, found in (("pipe", "a pipe or a device"), ("device", "a pipe or a device"), ("bomb", "73,400,320 bytes")):
        with pytest.raises(ke.ModelError) as caught:
            ke.model_to_estimator(keras_model_path=tmp_path / f"{name}.keras", model_dir=tmp_path)
        assert caught.value.found.startswith(found)


def test_whatever_keras_raises_about_a_file_is_one_error(tmp_path: Path) -> None:
    built().save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for config in (b"{}", b"[]", b"[" * 100_000, b'{"module": 3, "class_name": 3}'):
        with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
            for name, data in {**members, "config.json": config}.items():
                archive.writestr(name, data)
        with pytest.raises(ke.ModelError, match="no model can be loaded") as caught:
            ke.model_to_estimator(keras_model_path=tmp_path / "other.keras", model_dir=tmp_path)
        assert caught.value.found
