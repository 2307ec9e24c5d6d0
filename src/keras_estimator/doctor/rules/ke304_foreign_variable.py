"""KE304 foreign-variable: the model uses a variable that none of its layers holds, a global or one of a closure.

What it finds:
    A variable that the graph of the model reads or writes, and that is no attribute of any part of it.

Why it matters:
    What no layer holds, Keras neither saves nor loads nor trains, and it belongs to no copy: two models, or a model and
    its clone, share it without knowing.

If ignored:
    Keras's own files leave it out: after `load_model` in another process it starts anew. An Estimator saves those that
    functions of the model name, and cannot save one that it reaches in no way.

Example:
    total = tf.Variable(0.0)

Instead:
    self.total = self.add_weight(name="total", shape=(), initializer="zeros", trainable=False)

Fix:
    None: which layer is to own it, you know.

Evidence:
    A global counter in `call` was 1.0 after one `predict`; the model had no weights, and neither `.keras` nor
    `tf.train.Checkpoint` had a key for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_VARIABLES = frozenset({"tensorflow.Variable", "keras.Variable"})
_FIX = Fix("make it a weight of the layer: self.add_weight(...)", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find functions of tensors that use a variable of the module."""
    known = _of_module(source)
    for traced in source.traced if known else ():
        named = [one for one in traced.nodes if isinstance(one, ast.Name)]
        own = {*traced.parameters, *(one.id for one in named if isinstance(one.ctx, ast.Store))}
        used = [one for one in named if one.id in known - own]
        for name in dict.fromkeys(one.id for one in used):
            first = min((one for one in used if one.id == name), key=lambda one: (one.lineno, one.col_offset))
            yield Problem(first, f"variable {name} is held by no layer", fix=_FIX)


def _of_module(source: Source) -> set[str]:
    """Return the names that the file itself gives to variables."""
    found: set[str] = set()
    for call in source.calls:
        made = source.parent(call)
        is_outside = isinstance(made, ast.Assign | ast.AnnAssign) and isinstance(source.parent(made), ast.Module)
        if is_outside and source.dotted(call.func) in _VARIABLES:
            targets = made.targets if isinstance(made, ast.Assign) else [made.target]  # type: ignore[union-attr]  # an assignment
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find captured variables that a function holds, or nobody."""
    found: dict[Any, dict[str, str]] = {}
    for graph in filter(None, (live.inference, live.training, live.step)):
        for captured in graph.captured:
            name = captured.name.rpartition("/")[2]
            if live.is_a(captured.resource, "tensorflow.Variable") and _is_foreign(captured):
                used = [one for one in graph.operations if any(one is captured.handle for one in one.handles)]
                first = next((one for one in used if one.place), None)
                found.setdefault(first and first.place, {})[name] = first.layer if first else ""
    for place, layers in found.items():
        names = list(layers)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        verb = "are" if more else "is"
        yield Problem(
            place,
            f"variable {names[0]}{more} {verb} held by no layer",
            layer=layers[names[0]],
            evidence=f"the graph uses {', '.join(names[:4])}, which no layer, metric or optimizer of the model has",
            fix=_FIX,
        )


def _is_foreign(captured: Any) -> bool:
    """Tell whether nobody holds a variable, or only the closure or the globals of a function."""
    if captured.holding is None:
        # What `keras.random` draws from without a seed is a generator of the process: see KE210.
        return "seed_generator_state" not in captured.name
    return callable(captured.holding.owner) and hasattr(captured.holding.owner, "__code__")
