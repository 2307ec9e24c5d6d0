"""Code that every installation has is told from code of the user."""

from __future__ import annotations

import functools
import sys

import keras
import numpy as np

from keras_estimator.model.carrying.installed_code import is_importable_from_a_library, is_library, modules_of_the_user


def test_libraries_are_told_from_the_user() -> None:
    assert is_library("keras.src.layers")
    assert is_library("os.path")
    assert is_library("keras_estimator.model")
    assert not is_library("__main__")
    assert not is_library(None)
    assert not is_library(__name__)


def test_a_function_inside_another_one_is_not_importable() -> None:
    assert is_importable_from_a_library(keras.activations.relu)
    assert is_importable_from_a_library(np.linspace)
    assert not is_importable_from_a_library(functools.wraps(len)(lambda: 1))
    assert not is_importable_from_a_library(test_libraries_are_told_from_the_user)


def test_modules_of_the_user_are_listed_without_main() -> None:
    names = {module.__name__ for module in modules_of_the_user()}
    assert "__main__" not in names
    assert not {name for name in names if name.startswith(("keras", "tensorflow", "numpy"))}
    assert names <= sys.modules.keys()
