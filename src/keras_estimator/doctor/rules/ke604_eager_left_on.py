"""KE604 eager-left-on: the model runs step by step in Python, as for debugging, and not as a compiled graph.

What it finds:
    `compile(run_eagerly=True)`, `tf.config.run_functions_eagerly(True)`, and a model that was compiled so.

Why it matters:
    Each operation is called from Python, at each batch. The setting is a part of the model: `.keras` files and clones
    have it, too.

If ignored:
    Training takes several times as long, and NumPy in a `call` gives wrong gradients without a word.

Example:
    model.compile("adam", "mse", run_eagerly=True)

Instead:
    model.compile("adam", "mse")

Fix:
    Unsafe: `False` in its place. What cannot be traced then raises an error, and what Python did at each batch is
    done once.

Evidence:
    Row 59 of the zoo: the setting survives `.keras` and clone. MobileNetV2 answered 8 images in 343 ms eagerly and in
    26 ms as a graph, four Dense layers in 2.8 and .6 ms. Of a live model, the time of a batch both ways.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.findings import Place
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.INFO
_FOR_ALL = ("tensorflow.config.run_functions_eagerly", "tensorflow.config.experimental_run_functions_eagerly")
_TITLE = "set it to False"
_REPEATS = 5


def in_source(source: Source) -> Iterator[Problem]:
    """Find where it is switched on for good."""
    for call in source.calls:
        for value in _switches(source, call):
            if isinstance(value, ast.Constant) and value.value is True:
                fix = Fix(_TITLE, Applicability.UNSAFE, (replace(value, "False"),))
                yield Problem(call, "eager execution is on", fix=fix)


def _switches(source: Source, call: ast.Call) -> Iterator[ast.expr]:
    if isinstance(call.func, ast.Attribute) and call.func.attr == "compile":
        yield from (word.value for word in call.keywords if word.arg == "run_eagerly")
    elif source.dotted(call.func) in _FOR_ALL:
        yield from (*call.args[:1], *(word.value for word in call.keywords))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look whether the model runs so, and measure what it costs."""
    if live.model.compiled and live.model.run_eagerly:
        yield Problem(
            _place(live), "eager execution is on", evidence=_cost(live), fix=Fix(_TITLE, Applicability.DISPLAY)
        )


def _place(live: LiveModel) -> Place | None:
    """Return where the files of the model switch it on, if that is one place."""
    found: list[Any] = []
    for file in live.files:
        source = live.source(file)
        problems = in_source(source) if source else ()
        found += [source.place(problem.at) for problem in problems if source and isinstance(problem.at, ast.AST)]
    return found[0] if len(found) == 1 else None


def _cost(live: LiveModel) -> str:
    if live.arrays is None:
        return ""
    features, answer = live.arrays[0], live.model.predict_step
    try:
        with live.unchanged():
            eager = _time_of(answer, (features,))
            graph = _time_of(live.tf.function(answer), (features,))
    except Exception:  # noqa: BLE001 - it may run eagerly only; what it says is the business of other rules
        return ""
    return f"a batch takes {1000 * eager:.2g} ms to answer, and {1000 * graph:.2g} ms as a graph"


def _time_of(function: Callable[[Any], Any], data: Any) -> float:
    function(data)  # the first call traces
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function(data)
        taken.append(time.perf_counter() - start)
    return min(taken)
