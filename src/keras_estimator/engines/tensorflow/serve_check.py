"""Load exported models as a server does, without the code that made them, and run their signatures.

A script for a process of its own (`python -I serve_check.py`), so it imports TensorFlow and nothing else. It
reads requests from standard input, a line of JSON each, the paths of `export`, `calls`, `results` and `log`, and
writes a line for each: 0 if the results are there, else something else, and the log says why. Calls and results
are JSON; tensors in it are base64 of TensorFlow's own bytes.

Importing TensorFlow takes seconds, loading an export a fraction of one. So on Linux each request is served by a
fork of the process that has imported TensorFlow and never used it: nothing is left over from one to the next.
"""

from __future__ import annotations

import base64
import json
import os
import select
import sys
import traceback
from pathlib import Path
from typing import Any

import tensorflow as tf

FORKS = sys.platform == "linux"
IDLE_SECS = 300.0  # the process is some 300 MiB of memory


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


def answer(request: dict[str, str]) -> int:
    """Serve one request in a process of its own; return its exit status, 0 if the results were written."""
    if not FORKS:
        return _serve_to_file(request)
    child = os.fork()
    if child == 0:
        os._exit(_serve_to_file(request))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _serve_to_file(request: dict[str, str]) -> int:
    with Path(request["log"]).open("w", encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        try:
            calls = json.loads(Path(request["calls"]).read_text(encoding="utf-8"))
            answers = serve(request["export"], calls)
            Path(request["results"]).write_text(json.dumps(answers), encoding="utf-8")
        except Exception:  # noqa: BLE001 - whatever it is, the other process reports it
            log.write(traceback.format_exc())
            return 1
    return 0


def main() -> None:
    """Answer requests until there are no more, or none comes for a while."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    while not FORKS or select.select([sys.stdin], [], [], IDLE_SECS)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        print(answer(json.loads(line)), file=answers, flush=True)
        if not FORKS:
            return  # a process serves once


if __name__ == "__main__":
    main()
