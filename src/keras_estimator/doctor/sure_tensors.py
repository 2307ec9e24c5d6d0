"""Which expressions of traced functions are tensors without doubt: `Traced` says which may be, this is for errors.

Functions that take the numbers out on purpose, as tokenizers and other preprocessing do outside of the graph, are
told apart: what they do with NumPy or with Python is right there.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.tensors import Traced, own_attribute

_ENTRIES = frozenset(
    "call __call__ train_step test_step predict_step compute_loss compute_metrics update_state".split()
)
# What Keras hands to an entry, and is no tensor.
_SETTINGS = frozenset({"self", "cls", "training", "mask", "name", "axis", "step", "shape", "dtype", "kwargs", "args"})
_HOST_CODE = re.compile(
    r"convert_to_numpy|\.numpy\(|np\.ndarray|numpy\.ndarray|py_function|numpy_function|py_func\b|executing_eagerly"
    r"|in_tf_graph|in_no_convert_scope|pure_callback"
)
_HOST_CLASSES = re.compile(r"(Tokenizer|Preprocessor|Converter|PreprocessingLayer|TFDataLayer|Packer|Decoder\w*Vocab)$")
_OF_TENSORS = ("keras.ops.", "keras.activations.", "tensorflow.", "numpy.")
# Functions there whose result is no tensor, or not always one.
_PLAIN = re.compile(
    r"keras\.ops\.(\w+\.)?(shape|ndim|size|dtype|is_tensor|convert_to_numpy)$|numpy\.(shape|ndim|size|iterable|isscalar|issubdtype)$"
    r"|tensorflow\.(is_tensor|executing_eagerly|nest|function|TensorShape|TensorSpec|DType|dtypes|debugging|summary"
    r"|is_symbolic_tensor|get_static_value|size|rank|broadcast_static_shape|errors|config|io|data|distribute|print"
    r"|py_function|numpy_function|saved_model|train|__)"
)
_PLAIN_NAMES = re.compile(
    r"numpy|shape|static|len|rank|ndim|type|list|dict|str|int|float|range|iter|zip|is_|has_|config"
)


@functools.lru_cache(maxsize=2)
def sure_tensors(source: Source) -> list[SureTensors]:
    """Return the traced functions of a file that compute with tensors only, with what surely is one in each.

    Args:
        source: The file; rules ask one after the other for the same one.
    """
    called = {_called(node) for traced in source.traced for node in traced.nodes if isinstance(node, ast.Call)}
    found = [SureTensors(source, traced) for traced in source.traced if traced.role not in ("initializer", "schedule")]
    for one in found:
        one.is_entry = _is_entry(one.traced, called)
        one.note_given(_given_to_entry(one.traced) if one.is_entry else ())
    before = -1
    while (now := sum(len(one.given) for one in found)) != before:
        before = now
        for one in found:
            _note_handed_on(one, found)
    return [one for one in found if not one.is_host]


class SureTensors:
    """What surely is a tensor in one traced function.

    Args:
        source: The file.
        traced: The function.
    """

    def __init__(self, source: Source, traced: Traced) -> None:
        self.source = source
        self.traced = traced
        # Whether Keras calls it, and no function of the file does.
        self.is_entry = False
        # Parameters that get tensors.
        self.given: frozenset[str] = frozenset()
        self.names: frozenset[str] = frozenset()

    def note_given(self, parameters: Iterable[str]) -> None:
        """Note that parameters get tensors."""
        given = self.given.union(parameters)
        if given != self.given:
            self.given, self.names = given, self._names(given)

    @cached_property
    def owner(self) -> KerasClass | None:
        """The class that the function is a method of."""
        return next((one for one in self.source.classes if one.node is self.traced.owner), None)

    @cached_property
    def is_host(self) -> bool:
        """Whether it takes the numbers of its arguments on purpose, outside of any graph."""
        node = self.traced.node
        text = "\n".join(self.source.lines[node.lineno - 1 : node.end_lineno])
        return is_preprocessing(self.owner) or _HOST_CODE.search(text) is not None

    def holds(self, node: ast.AST) -> bool:
        """Tell whether an expression is a tensor, without doubt."""
        return self._holds(node, self.names)

    def any_holds(self, call: ast.Call) -> bool:
        """Tell whether a call gets a tensor, also in a list or tuple."""
        return any(self._has(value, self.names) for value in _arguments(call))

    @cached_property
    def _bindings(self) -> dict[str, list[ast.expr | None]]:
        """The values that each name is bound to; None where that is not an expression of its own."""
        found: dict[str, list[ast.expr | None]] = {}
        for node in self.traced.nodes:
            if isinstance(node, ast.arg):  # of a function inside, which gets nobody knows what
                found.setdefault(node.arg, []).append(None)
            value, targets = _binding(node)
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                        found.setdefault(name.id, []).append(value)
        return found

    def _names(self, given: Iterable[str]) -> frozenset[str]:
        """Return the names that hold tensors: of all that are bound, those that are bound to tensors each time."""
        first = {name for name in given if not any(map(self._is_plain, self._bindings.get(name, ())))}
        found = first | (set(self._bindings) - set(self.traced.parameters))
        before = -1
        while len(found) != before:
            before = len(found)
            for name in found - first:
                if not all(value is not None and self._holds(value, found) for value in self._bindings[name]):
                    found.discard(name)
        return frozenset(found)

    def _is_plain(self, value: ast.expr | None) -> bool:
        """Tell whether a value that a parameter is bound to again may be no tensor."""
        while isinstance(value, ast.Subscript):
            value = value.value
        if value is None or isinstance(value, ast.Attribute | ast.Constant | ast.Dict | ast.Lambda):
            return True
        return isinstance(value, ast.Call) and _PLAIN_NAMES.search(ast.unparse(value.func)) is not None

    def _has(self, node: ast.AST, names: Iterable[str]) -> bool:
        if isinstance(node, ast.List | ast.Tuple):
            return any(self._has(one, names) for one in node.elts)
        if isinstance(node, ast.BinOp):  # `[x] * 2`, `[x] + [y]`
            return self._has(node.left, names) or self._has(node.right, names)
        return self._holds(node, names)

    def _holds(self, node: ast.AST, names: Iterable[str]) -> bool:
        if isinstance(node, ast.Name):
            return node.id in names
        if isinstance(node, ast.Call):
            return self._gives_tensor(node, names)
        if isinstance(node, ast.Compare):
            is_plain = any(isinstance(one, ast.Is | ast.IsNot | ast.In | ast.NotIn) for one in node.ops)
            return not is_plain and any(self._holds(one, names) for one in (node.left, *node.comparators))
        if isinstance(node, ast.IfExp):
            return self._holds(node.body, names) and self._holds(node.orelse, names)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return False
        parts = {ast.BinOp: ("left", "right"), ast.UnaryOp: ("operand",), ast.Subscript: ("value",)}
        return any(self._holds(getattr(node, part), names) for part in parts.get(type(node), ()))

    def _gives_tensor(self, call: ast.Call, names: Iterable[str]) -> bool:
        dotted = self.source.dotted(call.func)
        is_of_tensors = dotted.startswith(_OF_TENSORS) and not _PLAIN.match(dotted)
        is_layer = isinstance(call.func, ast.Call) and kind_of_keras(self.source.dotted(call.func.func)) == "layer"
        if not (is_of_tensors or is_layer or self._is_own_layer(call.func)):
            return False
        return any(self._has(value, names) for value in _arguments(call))

    def _is_own_layer(self, function: ast.expr) -> bool:
        return own_attribute(function) in self._own_layers

    @cached_property
    def _own_layers(self) -> set[str]:
        """The attributes to which a method of the class assigns a layer of Keras."""
        found: set[str] = set()
        for method in self.owner.methods.values() if self.owner else ():
            for node in ast.walk(method):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    is_layer = kind_of_keras(self.source.dotted(node.value.func)) == "layer"
                    found |= {own_attribute(one) for one in node.targets if is_layer}
        return found - {""}


def is_preprocessing(owner: KerasClass | None) -> bool:
    """Tell whether a class is a tokenizer or the like by its name or a base, which runs in the input pipeline."""
    return owner is not None and any(map(_HOST_CLASSES.search, (owner.name, *owner.bases)))


def _is_entry(traced: Traced, called: set[str]) -> bool:
    return traced.name in _ENTRIES if traced.owner is not None else traced.name not in called


def _given_to_entry(traced: Traced) -> list[str]:
    given = traced.node.args
    with_default = {one.arg for one in given.args[len(given.args) - len(given.defaults) :]} if given.defaults else set()
    found = [one.arg for one in given.args if one.arg not in _SETTINGS and one.arg not in with_default]
    # What a `call` takes behind its input may be a number; a loss takes two tensors.
    return found[:1] if traced.role in ("layer", "model", "lambda") else found


def _note_handed_on(one: SureTensors, all_found: list[SureTensors]) -> None:
    """Note which parameters of other functions get tensors of this one."""
    for call in one.traced.nodes:
        name = _called(call) if isinstance(call, ast.Call) else ""
        for other in all_found if name else ():
            if other.traced.name == name and other is not one and isinstance(call, ast.Call):
                parameters = [each for each in other.traced.parameters if each not in ("self", "cls")]
                placed = zip(parameters, call.args, strict=False)
                named = ((word.arg, word.value) for word in call.keywords if word.arg in parameters)
                other.note_given(str(each) for each, value in (*placed, *named) if one.holds(value))


def _called(call: ast.Call) -> str:
    """Return the name of the function or method of this file that a call may mean; empty if none."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    return own_attribute(call.func)


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (word.value for word in call.keywords)


def _binding(node: ast.AST) -> tuple[ast.expr | None, list[Any]]:
    """Return the value that a statement binds, and to what; no value where each name gets a part of it."""
    if isinstance(node, ast.Assign):
        return node.value, node.targets
    if isinstance(node, ast.AnnAssign | ast.NamedExpr):
        return node.value, [node.target]
    if isinstance(node, ast.AugAssign):
        # `x += 1` leaves a tensor a tensor, and a number becomes one with `n += x`.
        load = ast.Name(node.target.id, ast.Load()) if isinstance(node.target, ast.Name) else node.value
        return ast.BinOp(load, node.op, node.value), [node.target]
    if isinstance(node, ast.For | ast.comprehension):
        return None, [node.target]
    if isinstance(node, ast.withitem) and node.optional_vars is not None:
        return None, [node.optional_vars]
    return None, []
