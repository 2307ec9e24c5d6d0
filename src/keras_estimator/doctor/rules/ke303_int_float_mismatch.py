"""KE303 int-float-mismatch: an integer variable meets a floating tensor, and TensorFlow does not convert either.

What it finds:
    `x * self.counter`, where `self.counter` is a `tf.Variable` of integers; and the error that TensorFlow raises then.

Why it matters:
    Operators of TensorFlow want operands of one dtype. `tf.Variable(0)` is an int32; what a layer gets is a float32.

If ignored:
    "Input 'y' of 'Mul' Op has type int32 that does not match type float32": the model cannot be called, nor built.

Example:
    return x * self.counter

Instead:
    return x * tf.cast(self.counter, x.dtype)

Fix:
    Safe: a cast, which does nothing if the dtypes are equal. The fix of KE301 also mends it: a weight of Keras is
    converted by itself.

Evidence:
    The third example of the article, row 16 of the zoo. `+`, `-`, `*`, `/`, `//`, `**` and their functions in `tf` all
    raise; `keras.ops.multiply` and a weight of Keras do not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import needs_import, replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure

SEVERITY = Severity.ERROR
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Pow, ast.Mod)
_FUNCTIONS = frozenset({"add", "subtract", "multiply", "divide", "pow"})
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
_TYPE = r"(?:tf\.)?(\w+)"
_SAID = (
    re.compile(rf"Input '\w+' of '(?P<op>\w+)' Op has type {_TYPE} that does not match type {_TYPE}"),
    re.compile(
        rf"cannot compute (?P<op>\w+) as input #\d\S* was expected to be a {_TYPE} tensor but is a {_TYPE} tensor"
    ),
    re.compile(rf"Expected {_TYPE}, but got \S+ of type '{_TYPE}'"),
    re.compile(rf"`x` and `y` must have the same dtype, got {_TYPE} != {_TYPE}"),
)


def in_failure(failure: Failure) -> Iterator[Problem]:
    """Find what TensorFlow says of operands of two dtypes, one of integers and one of floats."""
    said = next((found for pattern in _SAID if (found := pattern.search(failure.text))), None)
    if said is None:
        return
    operation = said.groupdict().get("op") or "division"
    types = [one for one in said.groups() if one != said.groupdict().get("op")]
    kinds = {one if one != "float" else "float32" for one in types}
    if len(kinds & _INTEGERS) == 1 and any("float" in kind for kind in kinds):
        one, other = sorted(kinds, key=lambda kind: "float" in kind)
        message = f"{operation} gets one {one} and one {other}, and TensorFlow converts neither"
        yield Problem(failure.place, message, layer=failure.layer, evidence=said[0], fix=_ADVICE)


_ADVICE = Fix("cast the integers: tf.cast(n, x.dtype)", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find arithmetic of a tensor with an attribute that is a variable of integers."""
    integers = {id(one.node): _integers_of(source, one.node) for one in source.classes}
    for traced in source.traced:
        names = integers.get(id(traced.owner), frozenset())
        for node in traced.nodes if names else ():
            for one, other in _operands(source, node):
                if _attribute(one) in names and traced.holds_tensor(other):
                    # Of ids and classes it may be sound, so it is no error as long as nobody has seen it fail.
                    message = f"self.{_attribute(one)} holds integers, and TensorFlow does not make floats of them"
                    yield Problem(one, message, fix=_fix(source, one, other), severity=Severity.WARNING)


def _operands(source: Source, node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the two operands of arithmetic in both orders."""
    pair: tuple[ast.expr, ...] = ()
    if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
        pair = (node.left, node.right)
    elif isinstance(node, ast.Call) and len(node.args) == 2:
        module, _, name = source.dotted(node.func).rpartition(".")
        pair = tuple(node.args) if module in ("tensorflow", "tensorflow.math") and name in _FUNCTIONS else ()
    if pair:
        yield pair[0], pair[1]
        yield pair[1], pair[0]


def _attribute(node: ast.expr) -> str:
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if is_own else ""  # type: ignore[attr-defined]  # it is an Attribute


def _integers_of(source: Source, owner: ast.ClassDef) -> frozenset[str]:
    """Return the attributes to which a class assigns nothing but variables of integers."""
    found: dict[str, set[bool]] = {}
    for node in ast.walk(owner):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets if isinstance(node, ast.Assign | ast.AnnAssign) else ():
            if isinstance(target, ast.expr) and _attribute(target):
                found.setdefault(_attribute(target), set()).add(_is_of_integers(source, node.value))  # type: ignore[attr-defined]  # an assignment
    return frozenset(name for name, are in found.items() if are == {True})


def _is_of_integers(source: Source, node: ast.expr | None) -> bool:
    if not isinstance(node, ast.Call) or source.dotted(node.func) != "tensorflow.Variable":
        return False
    words = {word.arg: word.value for word in node.keywords}
    if "dtype" in words:
        dtype = words["dtype"]
        name = dtype.value if isinstance(dtype, ast.Constant) else source.dotted(dtype).rpartition(".")[2]
        return name in _INTEGERS
    first = node.args[0] if node.args else words.get("initial_value")
    leaves = first.elts if isinstance(first, ast.List | ast.Tuple) else [first]
    return bool(leaves) and all(isinstance(one, ast.Constant) and type(one.value) is int for one in leaves)


def _fix(source: Source, one: ast.expr, other: ast.expr) -> Fix:
    if not isinstance(other, ast.Name):
        return _ADVICE
    alias = source.names.alias_of("tensorflow")
    code = f"{alias or 'tensorflow'}.cast({source.code(one)}, {other.id}.dtype)"
    imports = () if alias else (needs_import("tensorflow"),)
    return Fix(f"cast it: {code}", Applicability.SAFE, (replace(one, code), *imports))
