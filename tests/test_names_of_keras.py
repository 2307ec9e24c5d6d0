"""What rules know of the names in Keras is true of the installed Keras."""

from __future__ import annotations

import importlib
from typing import Any

import keras

from keras_estimator.doctor.names import canonical
from keras_estimator.doctor.names_of_keras import AUTOMATIC, FOUND_BY_LAMBDAS, FUNCTIONS, HOME, MODULES


def test_the_list_is_that_of_keras() -> None:
    theirs = {name for name in vars(importlib.import_module(HOME)) if not name.startswith("__")}
    assert theirs == FOUND_BY_LAMBDAS


def test_modules_are_modules_and_functions_are_keras_own() -> None:
    home = importlib.import_module(HOME)
    assert all(vars(home)[name] is importlib.import_module(module) for name, module in MODULES.items())
    assert all(vars(home)[name].__module__ == HOME for name in FUNCTIONS)


def test_layers_that_note_their_arguments() -> None:
    classes: dict[str, Any] = {name: cls for name, cls in vars(keras.layers).items() if isinstance(cls, type)}
    notes = {name for name, cls in classes.items() if getattr(getattr(cls, "get_config", None), "_is_default", False)}
    private = importlib.import_module("keras.src.layers.preprocessing.data_layer").DataLayer
    assert vars(private.get_config)["_is_default"]
    named = {canonical(f"{private.__module__}.{private.__name__}")}
    assert {f"keras.layers.{name}" for name in notes - {"Layer"}} | named == AUTOMATIC
