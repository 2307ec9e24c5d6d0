"""What every test starts from: the same random numbers, and a backend that keeps its notes to itself."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterator

import lean_processes
import numpy as np
import pytest

# Both are read when TensorFlow and Keras are first imported, so they are set before any test file is.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# Models and graphs are cycles by the hundred thousand; looking for garbage among them costs a test run minutes.
gc.set_threshold(50_000, 10, 10)
# Each of these runs for minutes on one processor, so that the last one to begin would keep the others waiting.
LONGEST = [
    "test_zoo_on_two_devices",
    "test_together",
    "test_pickled_graph",
    "test_contract",
    "test_blueprint",
    "test_keras_applications",
    "test_parity",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; `--no-loadscope-reorder` keeps that order between processes."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="module")
def lean_imports() -> Iterator[None]:
    """Let the processes that a test file starts import Keras in half the time: pytest.mark.usefixtures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", lean_processes.environment()["PYTHONPATH"])
        yield


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - this is what Keras and user code read
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
