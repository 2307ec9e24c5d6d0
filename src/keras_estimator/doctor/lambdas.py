"""Python lambdas that are given to Keras: which names they take from outside, and how to make functions of them."""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import keyword
import linecache
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libcst as cst

from keras_estimator.doctor.config_fixes import saving_of
from keras_estimator.doctor.config_tree import made_by_config
from keras_estimator.doctor.configs import Constructor
from keras_estimator.doctor.findings import Applicability, Fix, Place
from keras_estimator.doctor.rewriting import Change, replace
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import Traced

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

_BUILTINS = frozenset(dir(builtins))


@functools.lru_cache(maxsize=1)
def lambdas_in(source: Source) -> tuple[Traced, ...]:
    """Return the lambdas of a file that Keras keeps: of Lambda layers, and as losses, metrics and activations."""
    lambdas = (one for one in source.traced if isinstance(one.node, ast.Lambda))
    return tuple(one for one in lambdas if not _is_made_by_a_class(source, one))


def _is_made_by_a_class(source: Source, one: Traced) -> bool:
    """Tell whether a lambda is of a layer that a class of Keras makes for itself: no config has that layer."""
    owner = source.class_of(one.node)
    if owner is None or one.role not in ("lambda", "activation"):
        return False
    if any(base.endswith("Sequential") for base in owner.bases):
        return False
    return "__init__" not in owner.methods or not Constructor(source, owner).is_functional


def from_outside(source: Source, function: ast.Lambda) -> tuple[list[ast.Name], list[ast.Name]]:
    """Return the global names that a lambda uses, and those of functions around it; each where it comes first."""
    bound = {one.arg for node in ast.walk(function) if isinstance(node, ast.arguments) for one in _arguments(node)}
    names = [node for node in ast.walk(function.body) if isinstance(node, ast.Name)]
    bound |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    local = _local_names(source, function)
    globals_: dict[str, ast.Name] = {}
    closure: dict[str, ast.Name] = {}
    for node in sorted(names, key=lambda name: (name.lineno, name.col_offset)):
        if node.id not in bound and node.id in local:
            closure.setdefault(node.id, node)
        elif node.id not in bound and node.id not in _BUILTINS:
            globals_.setdefault(node.id, node)
    return list(globals_.values()), list(closure.values())


def _local_names(source: Source, function: ast.Lambda) -> set[str]:
    """Return the names that the functions around a lambda give values to."""
    found: set[str] = set()
    for outer in source.around(function):
        if not isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        found |= {one.arg for one in _arguments(outer.args)}
        for node in ast.walk(outer) if not isinstance(outer, ast.Lambda) else ():
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not outer:
                found.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return found


def _arguments(given: ast.arguments) -> list[ast.arg]:
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *(one for one in (given.vararg, given.kwarg) if one)]


# --- a function in its place ---------------------------------------------------------------------------------


def hoisting(source: Source, function: ast.AST, otherwise: Fix) -> Fix:
    """Return the fix that makes a lambda a registered function; where that cannot be done, the other one."""
    name, changes = hoisted(source).get(id(function), ("", ()))
    return Fix(f"make it a registered function: {name}", Applicability.UNSAFE, changes) if changes else otherwise


@functools.lru_cache(maxsize=1)
def hoisted(source: Source) -> dict[int, tuple[str, tuple[Change, ...]]]:
    """Return, by the ids of lambdas, the name of a registered function for each, and the changes that make it.

    A lambda that needs values of a function around it is left out: no function at the top of a file has them.
    """
    taken = {node.id for node in source.nodes if isinstance(node, ast.Name)} | _BUILTINS
    taken |= {node.name for node in source.nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found = {}
    for one in lambdas_in(source):
        function = one.node
        assert isinstance(function, ast.Lambda)
        defaults = [*function.args.defaults, *(value for value in function.args.kw_defaults if value is not None)]
        if from_outside(source, function)[1] or not all(isinstance(value, ast.Constant) for value in defaults):
            continue
        name = _name(source, one, taken)
        taken.add(name)
        found[id(function)] = (name, _changes(source, function, name))
    return found


def _name(source: Source, one: Traced, taken: set[str]) -> str:
    call = next((outer for outer in source.around(one.node) if isinstance(outer, ast.Call)), None)
    words = {word.arg: word.value for word in call.keywords} if call else {}
    given = words.get("name")
    named = str(given.value) if one.role == "lambda" and isinstance(given, ast.Constant) else ""
    wanted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", named).lower()
    if not wanted.isidentifier() or keyword.iskeyword(wanted):
        wanted = f"{one.role}_function"
    numbered = (wanted if number == 1 else f"{wanted}_{number}" for number in range(1, len(taken) + 2))
    return next(name for name in numbered if name not in taken)


def _changes(source: Source, function: ast.Lambda, name: str) -> tuple[Change, ...]:
    body = source.code(function.body)
    if "\n" in body:
        body = ast.unparse(function.body)
    saving, imports = saving_of(source)
    package = Path(source.file).stem if source.module in ("", "__main__") else source.module.partition(".")[0]
    code = (
        f'@{saving}.register_keras_serializable(package="{package}")\n'
        f"def {name}({ast.unparse(function.args)}):\n    return {body}\n"
    )
    *_, outermost, _ = [function, *source.around(function)]
    return (_before(outermost, code), replace(function, name), *imports)


def _before(statement: ast.AST, code: str) -> Change:
    """Put a function before a statement, two empty lines around it; the comments of the statement stay with it."""

    def make(old: Any) -> Any:
        empty = [cst.EmptyLine(indent=False)] * 2
        first = next(
            (at for at, line in enumerate(old.leading_lines) if line.comment is not None), len(old.leading_lines)
        )
        above, comments = old.leading_lines[:first], old.leading_lines[first:]
        (new,) = cst.parse_module(code).body
        new = new.with_changes(leading_lines=above if len(above) > 1 else empty)
        return cst.FlattenSentinel([new, old.with_changes(leading_lines=[*empty, *comments])])

    return Change(statement, make)


# --- in a live model -----------------------------------------------------------------------------------------


def lambdas_of(live: LiveModel) -> Iterator[tuple[str, str, Any]]:
    """Yield the layer's path, the role, and the lambda, of each one that a config of a model would hold."""
    for path, layer in made_by_config(live).items():
        if live.is_a(layer, "keras.layers.Lambda"):
            yield from ((path, "lambda", one) for one in (layer.function,) if is_lambda(one))
        elif is_lambda(vars(layer).get("activation")):
            yield path, "activation", layer.activation
    for role in ("loss", "metrics", "weighted_metrics"):
        for one in live.keras.tree.flatten(live.compiled_parts.get(role)):
            if is_lambda(one):
                yield "", role.removesuffix("s") if role != "loss" else role, one


def is_lambda(thing: Any) -> bool:
    """Tell whether something is a function that a `lambda` made."""
    return isinstance(thing, types.FunctionType) and thing.__name__ == "<lambda>"


def globals_of(code: types.CodeType) -> Iterator[tuple[str, Place]]:
    """Yield the global names that a code object uses, no builtins, and where; those of functions in it, too."""
    for instruction in dis.get_instructions(code):
        at = instruction.positions
        if (
            instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
            and instruction.argval not in _BUILTINS
            and at is not None
        ):
            line, column = at.lineno or code.co_firstlineno, at.col_offset
            place = Place(code.co_filename, line)
            if column is not None and at.end_lineno is not None and at.end_col_offset is not None:
                place = Place(code.co_filename, line, column + 1, at.end_lineno, at.end_col_offset + 1)
            yield instruction.argval, place
        elif isinstance(instruction.argval, types.CodeType):
            yield from globals_of(instruction.argval)


def place_of_lambda(live: LiveModel, function: Any) -> Place | None:
    """Return the line of a lambda, and its column if it is the only one there; the source knows more."""
    place = live.place_of(function)
    if place is None:
        return None
    columns = [found.start() + 1 for found in re.finditer(r"\blambda\b", linecache.getline(place.file, place.line))]
    return Place(place.file, place.line, columns[0] if len(columns) == 1 else place.column)
