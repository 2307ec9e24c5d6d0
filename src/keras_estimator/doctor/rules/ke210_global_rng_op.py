"""KE210 global-rng-op: random numbers are drawn from a generator of the process, whose state nobody saves.

What it finds:
    `tf.random.normal` and its like, `tf.nn.dropout`, `tf.image.random_*`, and functions of `keras.random` without a
    seed, in code that Keras traces.

Why it matters:
    A generator of the process belongs to no model: no file holds how far it has drawn, and every model and every
    replica of the process draws from it.

If ignored:
    A run that is resumed draws other numbers than one that was not interrupted; two runs from one seed differ as soon
    as something else in the process draws, too. With JAX, unseeded functions of `keras.random` raise in a compiled
    step. An Estimator cannot save that state either.

Example:
    return x + tf.random.normal(tf.shape(x))

Instead:
    return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)

Fix:
    Unsafe: other random numbers are drawn. A `keras.random.SeedGenerator` is made in `__init__`.

Evidence:
    A layer with `tf.random.normal` has a RandomStandardNormal in its graph and nothing in `variables`; one with
    `keras.random.normal(shape)` uses a `seed_generator_state` that is no variable of the model either.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import Change, add_argument, insert_after, needs_import, replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
# Functions of `tf.random` with the one of `keras.random` that takes the same arguments in the same order.
_SAME = {"normal": "normal", "uniform": "uniform", "truncated_normal": "truncated_normal"}
_OF_TENSORFLOW = frozenset(
    """
    random.normal random.uniform random.truncated_normal random.shuffle random.categorical random.gamma random.poisson
    random_normal_initializer.__call__ nn.dropout image.random_brightness image.random_contrast image.random_crop
    image.random_flip_left_right image.random_flip_up_down image.random_hue image.random_saturation
    image.random_jpeg_quality
    """.split()
)
# How many arguments of a function of `keras.random` come before its seed.
_BEFORE_SEED = {"normal": 4, "uniform": 4, "truncated_normal": 4, "categorical": 3, "dropout": 3, "shuffle": 2}
_BEFORE_SEED |= {"randint": 4, "gamma": 3, "binomial": 4, "beta": 4}
_BY_GENERATOR = "StatefulRandomBinomial"  # of tf.random, whose generator no layer holds
_ADVICE = Fix("draw with keras.random and a keras.random.SeedGenerator of the layer", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find draws in functions that Keras traces."""
    inserted: dict[int, Change] = {}  # by class: its generator is made once
    for traced in source.traced:
        for node in traced.nodes if traced.role in ("layer", "model", "lambda", "loss", "metric") else ():
            if isinstance(node, ast.Call) and _is_global(source, node):
                message = f"{source.code(node.func)} draws from a generator of the whole process"
                yield Problem(node.func, message, fix=_fix(source, node, traced.owner, inserted))


def _is_global(source: Source, call: ast.Call) -> bool:
    dotted = source.dotted(call.func)
    if dotted.removeprefix("tensorflow.") in _OF_TENSORFLOW and dotted.startswith("tensorflow."):
        return True
    before = _BEFORE_SEED.get(dotted.removeprefix("keras.random.")) if dotted.startswith("keras.random.") else None
    is_seeded = any(word.arg in ("seed", None) for word in call.keywords)
    return before is not None and len(call.args) <= before and not is_seeded


def _fix(source: Source, call: ast.Call, owner: ast.ClassDef | None, inserted: dict[int, Change]) -> Fix:
    """Draw from a generator that the layer makes in its `__init__`."""
    dotted = source.dotted(call.func)
    function = _SAME.get(dotted.removeprefix("tensorflow.random."), "") if dotted.startswith("tensorflow.") else ""
    is_keras = dotted.startswith("keras.random.")
    start = _after_super_init(owner) if owner is not None else None
    has_seed = any(word.arg in ("seed", "name", None) for word in call.keywords) or len(call.args) > 4
    if owner is None or start is None or has_seed or not (function or is_keras):
        return _ADVICE
    alias = source.names.alias_of("keras")
    keras = alias or "keras"
    code = f"self.seed_generator = {keras}.random.SeedGenerator()\n"
    changes = [
        inserted.setdefault(id(owner), insert_after(start, code)),
        add_argument(call, "seed=self.seed_generator"),
    ]
    changes += [replace(call.func, f"{keras}.random.{function}")] if function else []
    changes += [] if alias else [needs_import("keras")]
    return Fix("draw with a keras.random.SeedGenerator of the layer", Applicability.UNSAFE, tuple(changes))


def _after_super_init(owner: ast.ClassDef) -> ast.stmt | None:
    """Return the statement of `__init__` that calls that of the base class; None if attributes hold a generator yet."""
    init = next((one for one in owner.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if init is None or "self.seed_generator" in ast.unparse(init):
        return None
    return next((one for one in init.body if isinstance(one, ast.Expr) and "super(" in ast.unparse(one)), None)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find operations that draw from a generator of TensorFlow, or from that of Keras for the whole process."""
    found: set[object] = set()
    for graph in (live.inference, live.training, live.step):
        states = [one for one in graph.captured if one.holding is None] if graph else []
        keras = {id(one.handle) for one in states if "seed_generator_state" in one.name}
        for one in graph.operations if graph else ():
            is_tensorflows = one.draws or one.kind == _BY_GENERATOR
            draws = is_tensorflows or any(id(handle) in keras for handle in one.handles)
            if draws and (where := (one.place, one.layer if one.place is None else "")) not in found:
                found.add(where)
                drawn = one.kind if is_tensorflows else "keras.random"
                message = f"{drawn} draws from a generator of the whole process"
                yield Problem(one.place, message, layer=one.layer, evidence=f"{one.kind} in the graph", fix=_ADVICE)
