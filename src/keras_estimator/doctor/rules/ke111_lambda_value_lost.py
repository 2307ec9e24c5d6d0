"""KE111 lambda-value-lost: a lambda carries a value, in its closure or as a default, that Keras's file does not hold.

What it finds:
    A lambda that Keras is given to keep, with a default of an argument, or with a function, array, layer or other
    object in its closure.

Why it matters:
    Keras writes the closure and the defaults of a lambda as JSON. Numbers, texts and lists of these are right in it;
    defaults come back as a list, which no function takes; those of keyword-only arguments are left out.

If ignored:
    `load_model` of Keras fails, with `safe_mode=False`, too: "arg 4 (defaults) must be None or tuple", "missing 1
    required keyword-only argument", "'dict' object is not callable". An Estimator carries the function with what it
    holds.

Example:
    keras.layers.Lambda(lambda x, factor=2.0: x * factor)

Instead:
    @keras.saving.register_keras_serializable(package="my_models")
    def scaled(x, factor=2.0):
        return x * factor

    keras.layers.Lambda(scaled)

Fix:
    Unsafe if the defaults are constants and there is no closure: a registered function with a name, above. Otherwise
    for display: a layer class with the value as an argument, or as a weight if it is an array.

Evidence:
    Rows 44 to 48 of the zoo: an error when it is loaded, or in its first call. An array in `arguments` is loaded in
    Keras 3.15.1, and so is a NumPy number in a closure.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.config_fixes import listed
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.lambdas import from_outside, hoisting, lambdas_in, lambdas_of, place_of_lambda
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_ADVICE = Fix(
    "write a layer class with the value as an argument, or as a weight if it is an array", Applicability.DISPLAY
)


def in_source(source: Source) -> Iterator[Problem]:
    """Find defaults, and modules, functions and classes in closures."""
    for one in lambdas_in(source):
        assert isinstance(one.node, ast.Lambda)
        lost = [*_defaults(one.node, of_layer=one.role == "lambda"), *_objects(source, one.node)]
        if lost:
            fix = hoisting(source, one.node, _ADVICE)
            yield Problem(one.node, _message(lost), fix=fix)


def _message(names: list[str]) -> str:
    return f"the lambda carries {listed(names)}, which Keras does not load again"


def _defaults(function: ast.Lambda, *, of_layer: bool) -> list[str]:
    """Return the arguments whose defaults are lost; what is no layer gets those of its positional ones again."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    found = [one.arg for one in positional[len(positional) - len(given.defaults) :]] if of_layer else []
    keywords = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return found + [one.arg for one, value in keywords if value is not None]


def _objects(source: Source, function: ast.Lambda) -> list[str]:
    """Return the names of functions around it that are modules, functions or classes."""
    found = []
    for name in from_outside(source, function)[1]:
        for outer in source.around(function):
            if isinstance(outer, ast.FunctionDef) and name.id in _objects_in(outer):
                found.append(name.id)
                break
    return found


def _objects_in(function: ast.FunctionDef) -> set[str]:
    found: set[str] = set()
    for statement in function.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.add(statement.name)
    return found


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Look at what lambdas hold."""
    for path, role, function in lambdas_of(live):
        lost = dict(_held(function, of_layer=role == "lambda"))
        if lost and live.place_of(function) is not None:
            kinds = ", ".join(f"`{name}` is a {type(value).__name__}" for name, value in lost.items())
            place = place_of_lambda(live, function)
            yield Problem(place, _message(list(lost)), layer=path, evidence=kinds, fix=_ADVICE)


def _held(function: Any, *, of_layer: bool) -> Iterator[tuple[str, Any]]:
    for name, one in inspect.signature(function).parameters.items():
        is_lost = of_layer or one.kind is inspect.Parameter.KEYWORD_ONLY
        if one.default is not inspect.Parameter.empty and is_lost:
            yield name, one.default
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
        if not _is_right_in_json(value):
            yield name, value


def _is_right_in_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_right_in_json(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_right_in_json, value))
    # A number of NumPy is one of Python in a config.
    is_number = type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0
    return value is None or is_number or isinstance(value, str | int | float)
