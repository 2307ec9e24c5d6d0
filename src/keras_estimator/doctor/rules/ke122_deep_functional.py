"""KE122 deep-functional: a chain of almost a thousand layers; Keras goes down it by recursion, which Python stops.

What it finds:
    A functional or sequential model that Keras cannot build, load, clone or copy, as a chain of layers is as long as
    the limit of Python for calls inside of calls.

Why it matters:
    Keras calls one function for each layer of the chain, each inside of the other, when a model is made of its inputs
    and outputs. The limit is 1000 calls, and those that run already count: fewer layers fit in a notebook, a test or
    a server than in a script.

If ignored:
    RecursionError where the model is built, or, if it was built just below the limit, in `load_model`, `clone_model`
    and `copy.deepcopy`. An Estimator makes copies without recursion, and cannot build what Keras cannot.

Example:
    for _ in range(1000):
        x = keras.layers.Dense(64, activation="relu")(x)

Instead:
    for _ in range(50):
        x = block_of_twenty_layers()(x)

Fix:
    For display: group layers in models or layers of their own; or `sys.setrecursionlimit(10_000)` in each program.

Evidence:
    Keras 3.15, Python 3.11, in a script: chains up to 980 layers are built, saved, loaded, cloned and copied; of 985
    `load_model` and `copy.deepcopy` fail; 990 are not built. EfficientNetV2L with 1031 layers is built, as its
    branches are shorter ways.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.ERROR
_FIX = Fix("group layers in models of their own, or raise sys.setrecursionlimit", Applicability.DISPLAY)
_FEWEST_LAYERS = 600  # of a model for which it is worth while to ask


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find Keras at the limit of Python."""
    if depth := _depth_of(failure.error):
        evidence = f"{failure.line}, {depth} layers down"
        yield Problem(failure.place, "a chain of layers is too long to build", evidence=evidence, fix=_FIX)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look whether one of Keras's own ways has ended at the limit."""
    # Functions of keras.ops are links of the chain, too, and no layers.
    if len(getattr(live.model, "operations", live.layers)) < _FEWEST_LAYERS:
        return
    failures = {way: outcome.failure.error for way, outcome in live.routes.items() if outcome.failure}
    depths = {way: depth for way, error in failures.items() if (depth := _depth_of(error))}
    if depths:
        message = f"a chain of layers is too long for Keras's own {' and '.join(depths)}"
        evidence = f"RecursionError {max(depths.values())} layers down"
        yield Problem(None, message, evidence=evidence, fix=_FIX, severity=Severity.WARNING)


def _depth_of(error: BaseException | None) -> int:
    """Return how many layers down Keras was when Python stopped it; 0 if that is not what happened."""
    while error is not None:
        if isinstance(error, RecursionError):
            files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
            depth = sum(file.endswith("keras/src/ops/function.py") for file in files)
            if 2 * depth > len(files):
                return depth
        error = error.__cause__ or error.__context__
    return 0
