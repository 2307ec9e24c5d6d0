"""Say where in the user's source something was written: `file.py:12`."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from pathlib import Path
from typing import Any


def where_assigned(owner: Any, attribute: str) -> str:
    """Return the line on which `owner.attribute` is assigned in the source of its class.

    Args:
        owner: The object that holds the attribute, or a function with a closure.
        attribute: The name as `vars(owner)` has it (a leading underscore is tried without, too).

    Returns:
        `"file.py:12"`; the line of the class or function if the assignment is not found in it; the
        name of the class if there is no source at all (typed into a console).
    """
    code = owner if isinstance(owner, types.FunctionType) else type(owner)
    try:
        lines, first = inspect.getsourcelines(code)
        file = Path(inspect.getsourcefile(code) or "?").name
    except (OSError, TypeError):
        return f"{code.__qualname__} (no source)"
    line = _assignment(textwrap.dedent("".join(lines)), attribute)
    return f"{file}:{first + line}"


def _assignment(source: str, attribute: str) -> int:
    """Return the zero-based line of `self.<attribute> = ...` or `<attribute> = ...`, else 0."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return 0
    names = {attribute, attribute.lstrip("_")}
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        for target in targets:
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)
            if name in names:
                return target.lineno - 1
    return 0


def where_defined(function: types.FunctionType) -> str:
    """Return the line on which a function begins: `"file.py:12"`."""
    return f"{Path(function.__code__.co_filename).name}:{function.__code__.co_firstlineno}"
