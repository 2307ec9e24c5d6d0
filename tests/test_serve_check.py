"""The script of the fresh process: it serves what was saved, with TensorFlow alone, and data only."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import serve_check


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1.5, -2.0]], "float32"),
        np.array([3, 4], "int64"),
        np.array([True, False]),
        np.array([[b"a\x00", "é".encode(), b""]], dtype=object),
        np.array(2 + 1j, "complex64"),
        np.zeros((0, 3), "float16"),
    ],
    ids=lambda value: str(value.dtype),
)
def test_a_tensor_survives_the_way_through_json(value: np.ndarray):
    back = serve_check.decode(json.loads(json.dumps(serve_check.encode(value)))).numpy()
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert np.array_equal(back, value)


def test_bfloat16_survives_too():
    tensor = tf.constant([1.5, 3.0], tf.bfloat16)
    back = serve_check.decode(serve_check.encode(tensor))
    assert back.dtype == tf.bfloat16
    assert tf.reduce_all(back == tensor)


def doubling(folder: Path) -> str:
    root = tf.Module()
    root.factor = tf.Variable(2.0)
    double = tf.function(lambda x: {"y": x * root.factor}, input_signature=[tf.TensorSpec([None], name="x")])
    tf.saved_model.save(root, str(folder), signatures={"double": double})
    return str(folder)


def test_calls_are_answered_in_order_and_a_wrong_one_fails_the_script(tmp_path: Path):
    folder = doubling(tmp_path / "export")
    calls = [{"signature": "double", "inputs": {"x": serve_check.encode(tf.constant(x))}} for x in ([1.0], [2.0, 3.0])]
    assert [serve_check.decode(answer["y"]).numpy().tolist() for answer in serve_check.serve(folder, calls)] == [
        [2.0],
        [4.0, 6.0],
    ]
    with pytest.raises(KeyError, match="triple"):
        serve_check.serve(folder, [{"signature": "triple", "inputs": {}}])


def asked(place: Path, folder: str, signature: str) -> str:
    """Write the calls of a request; return its line."""
    place.mkdir()
    calls = [{"signature": signature, "inputs": {"x": serve_check.encode([1.0])}}]
    (place / "calls").write_text(json.dumps(calls))
    return json.dumps({"export": folder, **{name: str(place / name) for name in ("calls", "results", "log")}}) + "\n"


def test_the_script_runs_isolated_and_answers_one_request_after_another(tmp_path: Path):
    folder = doubling(tmp_path / "export")
    (tmp_path / "tensorflow.py").write_text("raise ImportError('a file of the working directory was imported')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "-1"}
    signatures = ["double", "triple", "double"][: 3 if serve_check.FORKS else 1]
    lines = [asked(tmp_path / str(number), folder, name) for number, name in enumerate(signatures)]
    command = [sys.executable, "-I", serve_check.__file__]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input="".join(lines), check=True, text=True, stdout=subprocess.PIPE
    )
    assert done.stdout.split() == [str(int(name == "triple")) for name in signatures]
    for number, name in enumerate(signatures):
        if name == "double":
            [answer] = json.loads((tmp_path / str(number) / "results").read_text())
            assert serve_check.decode(answer["y"]).numpy().tolist() == [2.0]
        else:
            assert "KeyError: 'triple'" in (tmp_path / str(number) / "log").read_text()


def test_it_imports_tensorflow_and_nothing_else_that_has_to_be_installed():
    tree = ast.parse(Path(serve_check.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"tensorflow"}
