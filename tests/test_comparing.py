"""Two checkpoints are compared array by array, the largest difference first, and by what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from written_checkpoints import OLD

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.inspection.comparing import Comparison, compare, leaves
from keras_estimator.inspection.opened import open_checkpoint


def comparison(folder: Path, a: dict[str, Any], b: dict[str, Any], *runs: dict[str, Any]) -> Comparison:
    for name, state, run in zip("ab", (a, b), runs or ({}, {}), strict=True):
        Checkpoints(folder / name).write(1, state, run)
    return compare(*(open_checkpoint(folder / name, None, lambda text: None) for name in "ab"))


def test_equal_ones_are_equal(tmp_path: Path):
    state, run = {"a": np.ones(3), "b": np.float32("nan")}, {"metrics": {"loss": float("nan")}, "hooks": {}}
    found = comparison(tmp_path, state, state, run, {**run, "hooks": {"states": {}}})
    assert (found.is_equal, found.num_equal) == (True, 2)


def test_the_largest_difference_comes_first_and_what_has_no_size_before_it(tmp_path: Path):
    a = {"slightly": np.float32([1, 1]), "much": np.float32([1, 1]), "gone": np.ones(2), "shape": np.ones(2)}
    b = {"slightly": np.float32([1, 1.01]), "much": np.float32([1, 3]), "new": np.int32(1), "shape": np.ones((2, 1))}
    a |= {"type": np.float32(1), "same": np.ones(1), "broken": np.float32(1), "words": np.array([b"a"], object)}
    b |= {"type": np.float64(1), "same": np.ones(1), "broken": np.float32("nan"), "words": np.array([b"b"], object)}
    found = comparison(tmp_path, a, b)
    assert [(one.name, one.how) for one in found.arrays] == [
        ("gone", "only in A"),
        ("new", "only in B"),
        ("shape", "another shape or type"),
        ("type", "another shape or type"),
        ("broken", "other values"),
        ("words", "other values"),
        ("much", "other values"),
        ("slightly", "other values"),
    ]
    assert [(one.kind_a, one.kind_b) for one in found.arrays[:3]] == [
        ("float64 (2,)", ""),
        ("", "int32 ()"),
        ("float64 (2,)", "float64 (2, 1)"),
    ]
    assert found.num_equal == 1
    assert not found.is_equal


def test_what_was_recorded_otherwise_is_named_by_its_place(tmp_path: Path):
    a = {"data": {"batches": 3, "passes": 1}, "metrics": {"loss": 1}, "list": [1, {"b": 2}], "flag": True}
    b = {"data": {"batches": 5, "passes": 1}, "metrics": {"mae": 2.0}, "list": [1, {"b": 3}], "flag": 1}
    found = comparison(tmp_path, {}, {}, a, b)
    assert found.recorded == {
        "data.batches": (3, 5),
        "metrics.loss": (1, None),
        "list": ([1, {"b": 2}], [1, {"b": 3}]),
        "flag": (True, 1),
        "metrics.mae": (None, 2.0),
    }
    assert not found.is_equal


def test_records_of_any_depth_are_walked():
    record: dict[str, Any] = {"end": 1}
    for _ in range(5000):
        record = {"a": record}
    [(place, value)] = leaves(record)
    assert (place.count("a."), value) == (5000, 1)


def test_checkpoints_of_tensorflow_are_compared_like_ours():
    older, newer = (open_checkpoint(OLD / "name_based", step, lambda text: None) for step in ("5", "10"))
    found = compare(older, newer)
    by_name = {one.name: one.values for one in found.arrays}
    assert by_name["global_step"] is not None
    assert (by_name["global_step"].largest, by_name["global_step"].relative_norm) == (5, 0.5)
    assert found.recorded == {"step": (5, 10)}
    assert "training/Adam/learning_rate" not in by_name
