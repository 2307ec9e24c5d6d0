"""How a file writes keras.ops."""

from __future__ import annotations

import pytest

from keras_estimator.doctor.ops_path import ops_path
from keras_estimator.doctor.source import Source


@pytest.mark.parametrize(
    ("text", "path", "imports"),
    [
        ("import keras", "keras.ops", 0),
        ("import keras as k", "k.ops", 0),
        ("from tensorflow import keras", "keras.ops", 0),
        ("import keras\nfrom keras import ops as o", "o", 0),
        ("from keras import ops", "ops", 0),
        ("import tensorflow as tf", "keras.ops", 1),
    ],
)
def test_by_its_imports(text: str, path: str, imports: int) -> None:
    found = ops_path(Source("file.py", text))
    assert (found[0], len(found[1])) == (path, imports)
