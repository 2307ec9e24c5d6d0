"""KE601 retraced-by-numbers: a `tf.function` gets a plain number that changes, and is traced anew for each.

What it finds:
    In a loop over `range`, `enumerate` or a list of numbers, the call of a function under `@tf.function` with the
    number of the loop as an argument; and a method of a model under `@tf.function` that was traced for several numbers.

Why it matters:
    A number of Python is part of what a trace is made for: another number, another trace, which takes a thousand times
    as long as a step and is kept for ever. A tensor is an argument.

If ignored:
    Each turn of the loop traces the function again, and memory grows. An Estimator's own loop has none of it.

Example:
    for epoch in range(100):
        step(batch, epoch)

Instead:
    for epoch in range(100):
        step(batch, tf.constant(epoch))

Fix:
    For display: a tensor of which dtype is wanted only you know, and whether the function needs a number of Python.

Evidence:
    10 calls with `i` of `range(10)`: 10 traces; with `tf.constant(i)`: 1. Keras's own steps are traced for the first
    batch size and once for all others: not found here.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import own_attribute

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_TF_FUNCTION = "tensorflow.function"
_NUMBERS = ("int", "float")
_TRACED_FOR = re.compile(r"^ *(\w+) \([A-Z_]+\): Literal\[(-?\d[\d.e+-]*)\]$", re.M)


def in_source(source: Source) -> Iterator[Problem]:
    """Find calls in loops of numbers."""
    compiled = _compiled(source)
    for call in source.calls:
        given = [*call.args, *(word.value for word in call.keywords)]
        names = {name for value in given for name in _plain_names(value)}
        if not names or not _is_compiled(source, call, compiled):
            continue
        around = source.function_of(call)
        # Inside of another trace a loop is unrolled anyway.
        if around is not None and (_has_decorator(source, around) or any(one.node is around for one in source.traced)):
            continue
        changing = _numbers_of_loops(source, call)
        for value in given:
            for name in sorted(changing & set(_plain_names(value))):
                fix = Fix(f"hand it over as a tensor: tf.constant({source.code(value)})", Applicability.DISPLAY)
                yield Problem(value, f"{source.code(call.func)} is traced anew for each {name}", fix=fix)


def _compiled(source: Source) -> set[str]:
    """Return the names of functions, and of methods of Keras classes, that are under `tf.function`."""
    methods = [method for one in source.classes for method in one.methods.values()]
    found = {one.name for one in (*source.functions.values(), *methods) if _has_decorator(source, one)}
    for call in source.calls:
        parent = source.parent(call)
        if isinstance(parent, ast.Assign) and source.dotted(call.func) == _TF_FUNCTION and not _has_signature(call):
            found |= {target.id for target in parent.targets if isinstance(target, ast.Name)}
    return found


def _has_decorator(source: Source, function: ast.AST) -> bool:
    for line in getattr(function, "decorator_list", ()):
        is_call = isinstance(line, ast.Call)
        if source.dotted(line.func if is_call else line) == _TF_FUNCTION:
            return not (is_call and _has_signature(line))
    return False


def _has_signature(call: ast.Call) -> bool:
    # With a signature, numbers are made tensors.
    return any(word.arg == "input_signature" for word in call.keywords) or len(call.args) > 1


def _is_compiled(source: Source, call: ast.Call, compiled: set[str]) -> bool:
    called = call.func
    if isinstance(called, ast.Name):
        return called.id in compiled
    if isinstance(called, ast.Attribute) and called.attr in compiled and not source.dotted(called):
        return True
    cls = next((outer for outer in source.around(call) if isinstance(outer, ast.ClassDef)), None)
    body = getattr(cls, "body", ()) if own_attribute(called) else ()
    return any(_has_decorator(source, one) for one in body if getattr(one, "name", "") == own_attribute(called))


def _plain_names(value: ast.expr) -> Iterator[str]:
    """Yield the names in an expression that is a number if they are numbers."""
    if isinstance(value, ast.Name):
        yield value.id
    elif isinstance(value, ast.BinOp) and not isinstance(value.op, ast.Mod):
        yield from (*_plain_names(value.left), *_plain_names(value.right))
    elif isinstance(value, ast.UnaryOp):
        yield from _plain_names(value.operand)
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in _NUMBERS:
        yield from (name for one in value.args for name in _plain_names(one))


def _numbers_of_loops(source: Source, call: ast.Call) -> set[str]:
    """Return the names that are another number of Python in each turn of a loop around a call."""
    found: set[str] = set()
    for outer in source.around(call):
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            break
        if not isinstance(outer, ast.For):
            continue
        over, target = outer.iter, outer.target
        function = over.func.id if isinstance(over, ast.Call) and isinstance(over.func, ast.Name) else ""
        if function == "enumerate" and isinstance(target, ast.Tuple):
            target = target.elts[0]
        given = [getattr(one, "value", None) for one in getattr(over, "elts", ())]
        is_numbers = bool(given) and all(type(one) in (int, float) for one in given)  # True is a flag
        if (function in ("range", "enumerate") or is_numbers) and isinstance(target, ast.Name):
            found.add(target.id)
    return found


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find methods that were traced for three numbers or more, in what was done with the model before."""
    for path, layer in live.layers_of_user:
        methods = {name: one for cls in type(layer).__mro__ for name, one in vars(cls).items()}
        for name in (name for name, one in methods.items() if hasattr(one, "pretty_printed_concrete_signatures")):
            traces = _TRACED_FOR.findall(getattr(layer, name).pretty_printed_concrete_signatures())
            for argument, count in Counter(argument for argument, _ in set(traces)).items():
                if count > 2:
                    message = f"self.{name} is traced anew for each {argument}"
                    place = live.place_of(methods[name].python_function)
                    yield Problem(place, message, layer=path, evidence=f"{count} traces")
