"""Tests of what bench/ measures on and with: the models, their data, the environments."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_ROOT = Path(__file__).parent.parent
_NAMES = ["mlp", "wide", "cnn", "wide-deep", "lstm", "transformer", "resnet", "mobilenet"]


@pytest.fixture(autouse=True)
def _finds_bench(monkeypatch):
    monkeypatch.syspath_prepend(_ROOT)


def _bench(name: str) -> Any:
    return importlib.import_module(f"bench.{name}")


def test_eight_models_are_measured():
    assert list(_bench("networks").NETWORKS) == _NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", _NAMES)
def test_a_model_learns_from_its_own_data(name):
    import tensorflow as tf  # noqa: PLC0415 - the other tests do without

    workload = _bench("networks").NETWORKS[name]
    x, y = workload.make_arrays()
    assert len(y) >= workload.evaluated * workload.batch_size
    again, _ = workload.make_arrays()
    tf.nest.map_structure(np.testing.assert_array_equal, x, again)
    model = workload.make_model(tf)
    before = [weight.numpy() for weight in model.trainable_variables]
    model.train_step(next(iter(workload.dataset(tf, x, y))))
    moved = [np.any(old != new.numpy()) for old, new in zip(before, model.trainable_variables, strict=True)]
    assert np.mean(moved) > 0.9


def test_the_sizes_of_the_dense_network_are_those_of_the_curves():
    grown = _bench("grown")
    assert {(each.batch_size, each.name) for each in grown.GROWN.values()} >= {(8, "dense-8-2"), (32, "dense-32-16")}
    for workload in grown.GROWN.values():
        _, y = workload.make_arrays()
        assert len(y) >= workload.evaluated * workload.batch_size
        assert all(steps % workload.at_once == 0 for steps in grown.STEPS if steps >= workload.at_once)


def test_every_row_is_a_class_of_the_benchmark():
    for row in _bench("rows").ROWS.values():
        module, name = row.place.split(":")
        assert issubclass(getattr(importlib.import_module(module), name), _bench("contenders").Contender)
        assert row.refines is None or _bench("rows").ROWS[row.refines].family == row.family


def test_keras_on_jax_is_the_keras_that_we_test():
    ours, jax = ((_ROOT / name).read_text(encoding="utf-8") for name in ("requirements-dev.lock", "bench/jax.txt"))
    versions = [re.search(r"^keras==(\S+)", text, re.M)[1] for text in (ours, jax)]
    assert versions[0] == versions[1]


def test_an_environment_that_cannot_be_made_is_missing_with_its_reason(tmp_path, monkeypatch):
    environments, rows = _bench("environments"), _bench("rows")
    (tmp_path / "needed.txt").write_text(f"{tmp_path / 'there-is-no-such.whl'}\n")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    broken = environments.Environment("JAX", tmp_path / "env", tmp_path / "needed.txt", version)
    monkeypatch.setitem(environments.ENVIRONMENTS, rows.JAX, broken)
    said: list[str] = []
    found, missing = environments.interpreters([rows.ROWS["fit"], rows.ROWS["jax-arrays"]], said.append)
    assert found == {"fit": Path(sys.executable)}
    assert "there-is-no-such.whl" in missing["jax-arrays"]
    assert "making the environment of JAX" in said[0]
    assert not (tmp_path / "env" / "made-from.txt").exists()
