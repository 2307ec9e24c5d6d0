"""What is written about a run is plain, and what is read about one is not believed."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from reported_run import two_ways

import keras_estimator as ke
from keras_estimator.run_description import FILE, Description, read_description, write_description


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return two_ways()


class Colour(enum.Enum):
    RED = "red"


class Silent:
    def __repr__(self) -> str:
        raise AssertionError("__repr__ was called")


def test_it_comes_back_as_it_was_written(tmp_path: Path, model: keras.Model):
    config = ke.RunConfig(tmp_path, save_checkpoints_steps=7)
    write_description(tmp_path / "new" / "run", model, config, {"rate": 0.1, "sizes": (1, 2)})
    contents = read_description(tmp_path / "new" / "run").contents
    assert contents is not None
    assert contents["params"] == {"rate": 0.1, "sizes": [1, 2]}
    assert contents["config"]["save_checkpoints_steps"] == 7
    assert contents["config"]["model_dir"] == str(tmp_path)
    assert not [name for name in contents["config"] if name.startswith("_")]
    assert contents["versions"]["keras_estimator"] == ke.__version__
    assert contents["versions"]["keras"] == keras.__version__
    assert contents["model"]["name"] == "two_ways"
    assert os.listdir(tmp_path / "new" / "run") == [FILE]


def test_what_is_no_plain_value_is_named_by_its_class(tmp_path: Path, model: keras.Model):
    endless: list[Any] = []
    endless.append(endless)
    params = {
        "silent": Silent(), "kind": Silent, "number": np.float32(0.5), "flag": np.bool_(True),
        "colour": Colour.RED, "path": Path("a/b"), 3: None, "endless": endless, "array": np.zeros(3),
    }  # fmt: skip
    write_description(tmp_path, model, ke.RunConfig(), params)
    found = read_description(tmp_path).contents
    assert found is not None
    found = found["params"]
    assert found["silent"].endswith(".Silent>") and found["kind"].endswith(".Silent>")  # noqa: PT018 - a pair
    assert (found["number"], found["flag"], found["colour"], found["path"]) == (
        0.5,
        True,
        "red",
        os.path.join("a", "b"),
    )
    assert found["3"] is None
    assert found["array"] == "<numpy.ndarray>"


def test_a_disk_that_does_not_take_it_is_a_warning(tmp_path: Path, model: keras.Model):
    (tmp_path / "file").write_text("")
    with pytest.warns(ke.EstimatorWarning, match=r"description\.json cannot be written"):
        write_description(tmp_path / "file", model, ke.RunConfig(), {})


def test_none_is_no_problem(tmp_path: Path):
    assert read_description(tmp_path) == Description(None)


def layer(**changes: Any) -> dict[str, Any]:
    plain = {"path": "a", "name": "a", "class": "A", "inside": None, "output_shapes": []}
    return {**plain, "trainable_parameters": 0, "other_parameters": 0, **changes}


def with_model(**changes: Any) -> dict[str, Any]:
    model = {**layer(), "layers": [layer(), layer(inside=0)], "edges": [[0, 1]], **changes}
    told = {"versions": {}, "backend": "tensorflow", "config": {}, "params": {}}
    return {"format": 1, "written_at": 1.0, **told, "model": model}


def test_the_smallest_description_is_read(tmp_path: Path):
    (tmp_path / FILE).write_text(json.dumps(with_model()))
    assert read_description(tmp_path).problem == ""


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"format": 2}', "[" * 100_000, '{"format": 1}', "\udcff", "1" * 5000,
        *map(json.dumps, [
            with_model(layers=[layer(inside=0)]), with_model(layers=[layer(inside=-1)]), with_model(layers=[3]),
            with_model(layers=[layer(name=3)]), with_model(edges=[[0, 2]]), with_model(edges=[[0]]),
            with_model(edges=[[0, True]]), with_model(edges=None), with_model(trainable_parameters=-1),
            with_model(layers=[layer(other_parameters=1e400)]), {**with_model(), "params": []},
            {**with_model(), "written_at": "now"}, with_model(output_shapes=None),
        ]),
    ],
)  # fmt: skip
def test_a_bad_file_is_said_and_not_used(text: str, tmp_path: Path):
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    found = read_description(tmp_path)
    assert found.contents is None
    assert found.problem


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / FILE)
    assert read_description(tmp_path).problem == "it cannot be read: it is not a plain file"


def test_the_config_may_be_any_dataclass(tmp_path: Path, model: keras.Model):
    @dataclasses.dataclass
    class Other:
        size: int = 3

    write_description(tmp_path, model, Other())
    contents = read_description(tmp_path).contents
    assert contents is not None
    assert contents["config"] == {"size": 3}
