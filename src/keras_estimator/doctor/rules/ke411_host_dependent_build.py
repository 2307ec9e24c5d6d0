"""KE411 host-dependent-build: the model that a file makes depends on the process or the machine that runs it.

What it finds:
    Layers or weights that are made in the order of a set, or held in a set; and the name of the machine, the number of
    the process or a new identity, asked for in `__init__` or `build` of a layer or model.

Why it matters:
    The order of texts in a set is another one in every process. Weights that are made in that order are listed in it,
    and `get_weights`, `set_weights` and optimizers go by the place in the list.

If ignored:
    `set_weights` of plain Keras puts the weights of one layer into another one in the next process, without a word if
    the shapes fit. An Estimator goes by paths, and its workers compare their models before the first step.

Example:
    for name in {"left", "right"}:
        self.branches.append(keras.layers.Dense(4, name=name))

Instead:
    for name in ("left", "right"):
        self.branches.append(keras.layers.Dense(4, name=name))

Fix:
    Unsafe: `sorted(...)` around the set; models that were saved by place keep the order of their process.

Evidence:
    Three branches in a set, weights carried by `get_weights` and `set_weights` between processes with
    PYTHONHASHSEED=0 and =1: "left" had 2.0, which was the kernel of "right", and "right" 1.0.
"""

from __future__ import annotations

import ast
import platform
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.rewriting import replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import own_attribute

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_BUILDS = frozenset({"__init__", "build"})
_OF_HOST = frozenset(
    """
    socket.gethostname socket.getfqdn platform.node platform.uname os.uname os.getpid os.getppid uuid.uuid1 uuid.uuid4
    uuid.getnode threading.get_ident
    """.split()
)


def in_source(source: Source) -> Iterator[Problem]:
    """Find sets that layers are made by, and what is asked of the host."""
    found: dict[int, ast.expr] = {}
    for call in source.calls:
        if source.dotted(call.func) in _OF_HOST:
            owner, function = source.class_of(call), source.function_of(call)
            name = getattr(function, "name", "")
            if owner is not None and owner.kind in ("layer", "model") and name in _BUILDS and _is_kept(source, call):
                message = f"{source.code(call)} is another one in every process, and {owner.name} is made with it"
                yield Problem(call, message, fix=Fix("hand it to the constructor", Applicability.DISPLAY))
        elif kind_of_keras(source.dotted(call.func)) == "layer" or own_attribute(call.func) == "add_weight":
            found.update({id(one): one for one in _sets_around(source, call)})
    for one in found.values():
        code = source.code(one)
        fix = Fix("sort it: sorted(...)", Applicability.UNSAFE, (replace(one, f"sorted({code})"),))
        yield Problem(one, "layers are made in the order of a set, which is another one in every process", fix=fix)


def _is_kept(source: Source, call: ast.Call) -> bool:
    """Tell whether something of it becomes an attribute or an argument, and is not only written into a log."""
    statement = source.statement_of(call)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(own_attribute(target) for target in targets)


def _sets_around(source: Source, node: ast.AST) -> Iterator[ast.expr]:
    """Yield the sets that loops around a node go through, in its function."""
    for outer in source.around(node):
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return
        generators = getattr(outer, "generators", ())
        iterated = [outer.iter] if isinstance(outer, ast.For) else [one.iter for one in generators]
        yield from (one for one in iterated if _is_set_of_texts(source, one))


def _is_set_of_texts(source: Source, node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        is_set = isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset") and len(node.args) == 1
        # Whole numbers come in one order everywhere.
        return is_set and not (isinstance(node.args[0], ast.Call) and ast.unparse(node.args[0].func) == "range")
    texts = node.elts if isinstance(node, ast.Set) else []
    return any(not (isinstance(one, ast.Constant) and isinstance(one.value, int)) for one in texts)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find sets of layers, the name of this machine and new identities among what the user's layers hold."""
    for path, layer in live.layers_of_user:
        for name, value in vars(layer).items():
            what = "" if name.startswith("_") else _of_process(live, value)
            if what:
                place = live.place_of_attribute(layer, name)
                yield Problem(place, f"self.{name} is {what}", layer=path, evidence=f"{name} = {value!r:.100}")


def _of_process(live: LiveModel, value: object) -> str:
    """Say why a value is another one in every process or on every machine; empty if it is not."""
    if isinstance(value, set) and sum(live.is_a(one, "keras.layers.Layer") for one in value) > 1:
        return "a set of layers, and their order is another one in every process"
    if isinstance(value, uuid.UUID) and value.version in (1, 4):
        return "a new identity in every process"
    return "the name of this machine" if isinstance(value, str) and value and value == platform.node() else ""
