"""Load an exported model as a server does, without the code that made it, and run its signatures.

A script for a process of its own (`python -I serve_check.py EXPORT CALLS RESULTS`), so it imports
TensorFlow and nothing else. Calls and results are JSON; tensors in it are base64 of TensorFlow's own bytes.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf


def encode(tensor: Any) -> list[str]:
    """Return a dense tensor of any dtype as two strings."""
    tensor = tf.convert_to_tensor(tensor)
    return [tensor.dtype.name, base64.b64encode(tf.io.serialize_tensor(tensor).numpy()).decode()]


def decode(pair: list[str]) -> Any:
    """Return the tensor that `encode` was given."""
    dtype, data = pair
    return tf.io.parse_tensor(base64.b64decode(data), tf.as_dtype(dtype))


def serve(export: str, calls: list[dict[str, Any]]) -> list[dict[str, list[str]]]:
    """Make the calls one after another, and return the outputs of each.

    Args:
        export: The folder of the model.
        calls: Each with the name of a signature and its encoded inputs by name.
    """
    loaded = tf.saved_model.load(export)
    results = []
    for call in calls:
        signature = loaded.signatures[call["signature"]]
        outputs = signature(**{name: decode(pair) for name, pair in call["inputs"].items()})
        results.append({name: encode(tensor) for name, tensor in outputs.items()})
    return results


if __name__ == "__main__":
    _, export_folder, calls_file, results_file = sys.argv
    answers = serve(export_folder, json.loads(Path(calls_file).read_text(encoding="utf-8")))
    Path(results_file).write_text(json.dumps(answers), encoding="utf-8")
