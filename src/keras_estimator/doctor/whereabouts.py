"""Where the classes and functions of a live model are written, if it was the user who wrote them."""

from __future__ import annotations

import ast
import functools
import inspect
import types
from typing import Any

from keras_estimator.doctor.findings import Place
from keras_estimator.doctor.imported import source_of
from keras_estimator.model.carrying.installed_code import is_library


def place_of(thing: Any) -> Place | None:
    """Return where a class, a function, a method or the class of an object is written.

    Returns:
        Its first line; None if it is of an installed package, or has no source.
    """
    code = _code_of(thing)
    if code is None or not is_of_user(code):
        return None
    try:
        lines, first = inspect.getsourcelines(code)
        file = inspect.getsourcefile(code) or ""
    except (OSError, TypeError):
        return None
    offset = next((place for place, line in enumerate(lines) if line.lstrip().startswith(("class ", "def "))), 0)
    line = lines[offset] if lines else ""
    indent = len(line) - len(line.lstrip())
    return Place(file, first + offset, indent + 1, first + offset, len(line.rstrip()) + 1)


def place_of_attribute(owner: Any, attribute: str) -> Place | None:
    """Return where `self.attribute = ...` is written in the class of an object; or else the class."""
    for cls in type(owner).__mro__:
        place = place_of(cls)
        found = place and _assignment(cls, attribute, place)
        if found:
            return found
    return place_of(type(owner))


def is_of_user(code: Any) -> bool:
    """Tell whether a class or a function is the user's, and of no installed package."""
    return not is_library(getattr(code, "__module__", None))


def vars_of(thing: Any) -> list[Any]:
    """Return the values of the attributes of an object; of a function, what it holds in its closure."""
    if isinstance(thing, types.FunctionType):
        return [cell.cell_contents for cell in thing.__closure__ or () if cell != types.CellType()]
    return list(getattr(thing, "__dict__", {}).values())


def codes_of(value: Any) -> tuple[Any, ...]:
    """Return the function that something is, or else its class and what that inherits from: an initializer's."""
    code = _code_of(value)
    return (code,) if isinstance(code, types.FunctionType) else type(value).__mro__


def _code_of(thing: Any) -> Any:
    thing = inspect.unwrap(thing) if callable(thing) and not isinstance(thing, type) else thing
    if isinstance(thing, functools.partial):
        return _code_of(thing.func)
    if isinstance(thing, types.MethodType):
        return thing.__func__
    return thing if isinstance(thing, type | types.FunctionType) else type(thing)


def _assignment(cls: type, attribute: str, place: Place) -> Place | None:
    """Return the place of an assignment to `self.attribute` in a class that stands at a place."""
    source = source_of(place.file)
    names = {attribute, attribute.lstrip("_")}
    if source is None:
        return None
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__ and node.lineno == place.line:
            for inner in ast.walk(node):
                targets = inner.targets if isinstance(inner, ast.Assign) else [getattr(inner, "target", None)]
                if any(isinstance(target, ast.Attribute) and target.attr in names for target in targets):
                    return source.place(inner)
    return None
