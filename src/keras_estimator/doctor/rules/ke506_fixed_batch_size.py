"""KE506 fixed-batch-size: a model says how many rows its batches have.

What it finds:
    `keras.Input` with a `batch_size`, or with a number in front of its `batch_shape`; and stateful layers, which need
    it.

Why it matters:
    Replicas get a part of the rows each, the last batch is shorter, and a server gets as many rows as somebody sends.

If ignored:
    Plain Keras takes and exports any number of rows all the same, unless a layer uses the number: stateful ones, and
    code that reads `x.shape[0]`, fail at another batch or in the export. An Estimator refuses to share the batches
    among replicas, and exports for that number alone if the model takes no other.

Example:
    inputs = keras.Input((4,), batch_size=32)

Instead:
    inputs = keras.Input((4,))

Fix:
    Safe if nothing in the file asks for a shape or is stateful; unsafe otherwise.

Evidence:
    Keras 3.15, batch_size=8: three rows were predicted and served. With `LSTM(stateful=True)`, "the batch size of the
    input sequences must be the same", and the served function failed: [3,12] vs. [8,12]. With
    `ops.reshape(x, (x.shape[0], 2, 2))`, `export` raised a TypeError.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.user_files import is_told_by_source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_INPUTS = ("keras.Input", "keras.layers.Input", "keras.layers.InputLayer")
_TITLE = "let it take any number of rows: None"


def in_source(source: Source) -> Iterator[Problem]:
    """Find inputs with a number of rows."""
    for call in source.calls:
        size = _size(call) if source.dotted(call.func) in _INPUTS else None
        if size is None:
            continue
        is_stateful = any(_is_true(word, "stateful") for other in source.calls for word in other.keywords)
        is_plain = ".shape" not in source.text and "batch_input_shape" not in source.text
        applicability = Applicability.SAFE if is_plain else Applicability.UNSAFE
        fix = Fix(_TITLE, applicability, (replace(size, "None"),))
        message = f"the model says that a batch has {source.code(size)} rows"
        if is_stateful:
            fix = Fix("serve and train it with batches of that size, or stateful=False", Applicability.DISPLAY)
        yield Problem(call, message, fix=fix, severity=Severity.WARNING if is_stateful else None)


def _size(call: ast.Call) -> ast.expr | None:
    """Return the number of rows that a call states."""
    words = {word.arg: word.value for word in call.keywords}
    shape = words.get("batch_shape")
    first = shape.elts[0] if isinstance(shape, ast.Tuple | ast.List) and shape.elts else None
    size = words.get("batch_size") or first
    return size if isinstance(size, ast.Constant) and isinstance(size.value, int) else None


def _is_true(word: ast.keyword, name: str) -> bool:
    return word.arg == name and isinstance(word.value, ast.Constant) and word.value.value is True


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Ask the model for its inputs and its stateful layers."""
    if is_told_by_source(live, in_source):
        return
    sizes = [tensor.shape[0] for tensor in getattr(live.model, "inputs", None) or () if tensor.shape[0] is not None]
    stateful = [path for path, layer in live.layers.items() if getattr(layer, "stateful", False) is True]
    if stateful:
        message = "keeps a state for each row, so a batch has one size"
        yield Problem(None, message, layer=stateful[0], severity=Severity.WARNING)
    elif sizes:
        yield Problem(
            None, f"the model says that a batch has {sizes[0]} rows", evidence=f"{live.model.inputs[0].shape}"
        )
