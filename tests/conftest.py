"""What every test starts from: the same random numbers, and a backend that keeps its notes to itself."""

from __future__ import annotations

import os
import random
import sys

import numpy as np
import pytest

# Both are read when TensorFlow and Keras are first imported, so they are set before any test file is.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - this is what Keras and user code read
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
