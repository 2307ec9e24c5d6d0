"""Which keys a `get_config` puts into a config, read from the source."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator

from keras_estimator.doctor.source import Function


@dataclasses.dataclass(frozen=True)
class Keys:
    """What a `get_config` puts into a config.

    Attributes:
        names: All that may be a key of it.
        calls_super: Whether what the base class knows is in it.
        are_known: Whether that is all.
    """

    names: frozenset[str]
    calls_super: bool
    are_known: bool


def keys_of(function: Function) -> Keys:
    """Read which keys the config of a `get_config` has."""
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    names = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names |= {word.arg for node in nodes if isinstance(node, ast.Call) for word in node.keywords if word.arg}
    calls_super = any(
        isinstance(node, ast.Attribute) and node.attr == "get_config" and _is_above(node) for node in nodes
    )
    hides = any(isinstance(node, ast.DictComp | ast.For | ast.While | ast.Yield) for node in nodes)
    hides |= any(isinstance(node, ast.Name) and node.id in ("vars", "locals", "getattr") for node in nodes)
    hides |= any(isinstance(node, ast.Attribute) and node.attr == "__dict__" for node in nodes)
    local = {
        target.id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    merged = [value for node in nodes for value in _merged(node)]
    are_known = not hides and bool(merged) and all(_is_readable(value, local) for value in merged)
    return Keys(frozenset(names), calls_super, are_known)


def _merged(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what becomes a part of a config at a node."""
    if isinstance(node, ast.Return) and node.value is not None:
        yield node.value
    elif isinstance(node, ast.Dict):
        yield from (value for key, value in zip(node.keys, node.values, strict=True) if key is None)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
        yield from node.args
        yield from (word.value for word in node.keywords if word.arg is None)
    elif isinstance(node, ast.AugAssign):
        yield node.value


def _is_readable(value: ast.expr, local: dict[str, ast.expr], depth: int = 0) -> bool:
    if isinstance(value, ast.Dict):
        return True
    if isinstance(value, ast.Name):
        return value.id in local and depth < 9 and _is_readable(local[value.id], local, depth + 1)
    if isinstance(value, ast.BinOp):  # one | other
        return _is_readable(value.left, local, depth + 1) and _is_readable(value.right, local, depth + 1)
    if isinstance(value, ast.Call):
        if isinstance(value.func, ast.Attribute) and value.func.attr == "get_config":
            return _is_above(value.func)
        if isinstance(value.func, ast.Attribute) and value.func.attr in ("items", "copy"):
            return _is_readable(value.func.value, local, depth + 1)
        if isinstance(value.func, ast.Name) and value.func.id in ("dict", "list"):
            parts = [*value.args, *(word.value for word in value.keywords if word.arg is None)]
            return all(_is_readable(part, local, depth + 1) for part in parts)
    return False


def _is_above(attribute: ast.Attribute) -> bool:
    """Tell whether a method is asked of the base class: `super().f`, `super(A, self).f`, `Base.f`."""
    owner = attribute.value
    if isinstance(owner, ast.Call):
        return isinstance(owner.func, ast.Name) and owner.func.id == "super"
    names = {node.id for node in ast.walk(owner) if isinstance(node, ast.Name)}
    return "self" not in names and ast.unparse(owner).rpartition(".")[2][:1].isupper()
