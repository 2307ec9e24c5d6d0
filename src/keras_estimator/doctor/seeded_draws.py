"""Write a draw of NumPy's or Python's random numbers as one of `keras.random`, with a seed generator of the layer."""

from __future__ import annotations

import ast

from keras_estimator.doctor.findings import Applicability, Fix
from keras_estimator.doctor.rewriting import Change, add_method, insert_after, needs_import, replace
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.tensors import own_attribute

# Of each function: that of keras.random, and its arguments by place.
_DRAWS = {
    "numpy.random.normal": ("normal", ("loc", "scale", "size")),
    "numpy.random.uniform": ("uniform", ("low", "high", "size")),
    "numpy.random.standard_normal": ("normal", ("size",)),
    "numpy.random.random": ("uniform", ("size",)),
    "numpy.random.random_sample": ("uniform", ("size",)),
    "numpy.random.rand": ("uniform", ()),
    "numpy.random.randn": ("normal", ()),
    "random.random": ("uniform", ()),
    "random.uniform": ("uniform", ("low", "high")),
    "random.gauss": ("normal", ("loc", "scale")),
}
_WORDS = {"loc": "mean", "scale": "stddev", "low": "minval", "high": "maxval"}
_ADVICE = Fix("draw with keras.random and a keras.random.SeedGenerator", Applicability.DISPLAY)


def seeded(source: Source, call: ast.Call, name: str, owner: KerasClass | None, done: set[int]) -> Fix:
    """Return the fix that draws with a seed generator; an advice where that cannot be written mechanically.

    Args:
        source: The file.
        call: The draw.
        name: The dotted name of what is called.
        owner: The class whose method draws; None if it is a function.
        done: The classes for which a fix already makes the seed generator; is added to.
    """
    drawn = _drawn(source, call, name)
    if drawn is None or owner is None or owner.kind not in ("layer", "model"):
        return (
            _ADVICE if name.startswith(("numpy.", "random.")) else Fix("hand it in as a tensor", Applicability.DISPLAY)
        )
    made = [] if id(owner.node) in done or _has_seeds(owner) else _seed_generator(source, owner)
    if made is None:
        return _ADVICE
    done.add(id(owner.node))
    keras = _keras(source)
    imports = [] if source.names.alias_of("keras") else [needs_import("keras")]
    function, shape, rest = drawn
    code = f"{keras}.random.{function}({', '.join([shape, *rest, 'seed=self.seed_generator'])})"
    return Fix(
        f"use keras.random.{function} with a seed generator",
        Applicability.UNSAFE,
        (replace(call, code), *made, *imports),
    )


def _keras(source: Source) -> str:
    return source.names.alias_of("keras") or "keras"


def _drawn(source: Source, call: ast.Call, name: str) -> tuple[str, str, list[str]] | None:
    """Return the function of keras.random, the shape and the other arguments; None if there is none."""
    function, places = _DRAWS.get(name, ("", ()))
    if (
        not function
        or any(isinstance(one, ast.Starred) for one in call.args)
        or any(not one.arg for one in call.keywords)
    ):
        return None
    if name in ("numpy.random.rand", "numpy.random.randn"):
        sizes = [source.code(one) for one in call.args]
        return function, f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})", []
    given = dict(zip(places, call.args, strict=False)) | {str(one.arg): one.value for one in call.keywords}
    if not set(given) <= {*_WORDS, "size"} or len(call.args) > len(places):
        return None
    shape = _shape(source, given.pop("size", None))
    return function, shape, [f"{_WORDS[word]}={source.code(value)}" for word, value in given.items()]


def _shape(source: Source, size: ast.expr | None) -> str:
    if size is None or (isinstance(size, ast.Constant) and size.value is None):
        return "()"
    if isinstance(size, ast.Attribute) and size.attr == "shape":
        return f"{_keras(source)}.ops.shape({source.code(size.value)})"
    is_number = isinstance(size, ast.Constant) and isinstance(size.value, int)
    return f"({source.code(size)},)" if is_number else source.code(size)


def _has_seeds(owner: KerasClass) -> bool:
    return any(own_attribute(node) == "seed_generator" for node in ast.walk(owner.node))


def _seed_generator(source: Source, owner: KerasClass) -> list[Change] | None:
    """Return the change that makes the seed generator in `__init__`; None if there is no place for it."""
    code = f"self.seed_generator = {_keras(source)}.random.SeedGenerator()\n"
    init = owner.methods.get("__init__")
    if init is None:
        return [add_method(owner.node, f"def __init__(self, **kwargs):\n    super().__init__(**kwargs)\n    {code}")]
    for statement in init.body:
        if (
            isinstance(statement, ast.Expr)
            and ast.unparse(statement).startswith("super(")
            and "__init__(" in ast.unparse(statement)
        ):
            return [insert_after(statement, code)]
    return None
