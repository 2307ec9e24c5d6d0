"""Write the `get_config` that a class lacks, or the keys that one lacks, as changes of its source."""

from __future__ import annotations

import ast
import functools
from collections.abc import Sequence
from typing import Any

import libcst as cst

from keras_estimator.doctor.configs import OF_BASE, Argument, Constructor, is_of_root
from keras_estimator.doctor.findings import Applicability, Fix
from keras_estimator.doctor.rewriting import Change, add_method, insert_before, needs_import, replace_statement
from keras_estimator.doctor.source import Function, Source

# Their own get_config says that there is none.
_WITHOUT_CONFIG = frozenset({"regularizer", "schedule"})
_LONGEST = 80  # and two indents before it
# What Keras puts into a config that is in an attribute of that name, as it was.
_GIVEN = frozenset({"name", "trainable", "reduction"})


def listed(names: Sequence[str]) -> str:
    """Return names in words: `a`, `b` and `c`."""
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} and {last}" if first else last


@functools.lru_cache(maxsize=1)
def saving_of(source: Source) -> tuple[str, tuple[Change, ...]]:
    """Return the module of Keras that saves objects, as a file has to write it, and the import that this needs."""
    alias = source.names.alias_of("keras")
    if not alias:
        return "keras.saving", (needs_import("keras"),)
    imports = (name for node in source.nodes if isinstance(node, ast.Import) for name in node.names)
    is_plain = any(name.name == "keras" and (name.asname or name.name) == alias for name in imports)
    # `from tensorflow import keras` has no `keras.saving`, but all of it in `keras.utils`.
    return f"{alias}.{'saving' if is_plain else 'utils'}", ()


def add_get_config(source: Source, constructor: Constructor, lost: Sequence[Argument]) -> Fix:
    """Return the fix that gives a class a `get_config`, and a `from_config` if an argument is an object.

    Args:
        source: The file.
        constructor: The `__init__` of the class.
        lost: The arguments that its config must have beside those of the base class.
    """
    one = constructor.one
    title = f"add get_config with {listed([argument.name for argument in lost])}"
    renamed = [name for name in constructor.renamed if any(name == argument.name for argument in lost)]
    if renamed:
        above = constructor.renamed[renamed[0]]
        return Fix(f"name `{renamed[0]}` as the base class does: `{above}`", Applicability.DISPLAY)
    homeless = [argument.name for argument in lost if not argument.saved]
    if homeless:
        return _first_keep(homeless, title)
    if not constructor.takes_all and not _can_write_all(constructor):
        return Fix(f"take **kwargs and {title}", Applicability.DISPLAY)
    saving, imports = saving_of(source)
    objects = [argument.name for argument in lost if argument.is_object]
    entries = [f'"{one.name}": {_value(one, saving)}' for one in lost]
    if constructor.takes_all and one.kind not in _WITHOUT_CONFIG:
        before = ["config = super().get_config()", *_dict(entries, "config.update(", ")"), "return config"]
    else:
        given = [f'"{name}": self.{name}' for name in constructor.names if name in _GIVEN]
        before = _dict([*given, *entries], "return ", "")
    changes = [add_method(one.node, "\n    ".join(["def get_config(self):", *before]))]
    if objects:
        changes += [add_method(one.node, _from_config(objects, saving)), *imports]
    return Fix(title, Applicability.UNSAFE if objects else Applicability.SAFE, tuple(changes))


def _first_keep(names: Sequence[str], title: str) -> Fix:
    where = "an attribute of that name" if len(names) == 1 else "attributes of these names"
    return Fix(f"keep {listed(names)} in {where} and {title}", Applicability.DISPLAY)


def _can_write_all(constructor: Constructor) -> bool:
    """Tell whether all that an `__init__` without `**kwargs` takes of the base class is in attributes as it was."""
    one = constructor.one
    given = OF_BASE[one.kind] & set(constructor.names)
    return one.kind in _WITHOUT_CONFIG or (is_of_root(one) and given <= _GIVEN)


def _dict(entries: Sequence[str], before: str, after: str) -> list[str]:
    """Return the lines of a dict as formatters write it."""
    line = f"{before}{{{', '.join(entries)}}}{after}"
    if len(line) <= _LONGEST:
        return [line]
    if after:
        return [before, "    {", *(f"        {one}," for one in entries), "    }", after]
    return [f"{before}{{", *(f"    {one}," for one in entries), "}"]


def _value(argument: Argument, saving: str) -> str:
    return f"{saving}.serialize_keras_object({argument.saved})" if argument.is_object else argument.saved


def _from_config(names: Sequence[str], saving: str) -> str:
    lines = ["@classmethod", "def from_config(cls, config):", "    config = dict(config)"]
    for name in names:
        lines.append(f'    config["{name}"] = {saving}.deserialize_keras_object(config["{name}"])')
    return "\n".join([*lines, "    return super().from_config(config)"])


def add_keys(function: Function, lost: Sequence[Argument]) -> Fix:
    """Return the fix that puts arguments into what a `get_config` returns."""
    title = f"add {listed([argument.name for argument in lost])} to the config"
    homeless = [argument.name for argument in lost if not argument.saved]
    if homeless:
        return _first_keep(homeless, title)
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
    if len(returns) != 1 or any(argument.is_object for argument in lost):
        return Fix(title, Applicability.DISPLAY)
    change = _change(function, returns[0], [(one.name, one.saved) for one in lost])
    return Fix(title, Applicability.SAFE if change else Applicability.DISPLAY, (change,) if change else ())


def _change(function: Function, end: ast.Return, entries: Sequence[tuple[str, str]]) -> Change | None:
    literal = ", ".join(f'"{name}": {value}' for name, value in entries)
    if isinstance(end.value, ast.Name):
        found = _filled(function, end.value.id)
        if found is not None:
            return _add_to_dict(found, entries)
        return insert_before(end, f"{end.value.id}.update({{{literal}}})\n")
    if isinstance(end.value, ast.Dict):
        return _add_to_dict(end.value, entries)
    if isinstance(end.value, ast.Call) and isinstance(end.value.func, ast.Attribute):
        if end.value.func.attr == "get_config":
            lines = (f"config = {ast.unparse(end.value)}", f"config.update({{{literal}}})", "return config")
            return replace_statement(end, "\n".join(lines) + "\n")
        return None
    found = _last_literal(function)
    return _add_to_dict(found, entries) if found is not None else None


def _filled(function: Function, name: str) -> ast.Dict | None:
    """Return the literal with which `config` is filled: `config = {...}` or `config.update({...})`."""
    found = None
    for statement in function.body:
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            found = value if isinstance(value, ast.Dict) and value.keys else None
        elif isinstance(value, ast.Call) and ast.unparse(value.func) == f"{name}.update" and len(value.args) == 1:
            found = value.args[0] if isinstance(value.args[0], ast.Dict) else found
    return found


def _last_literal(function: Function) -> ast.Dict | None:
    """Return the last literal that is given a name; in `dict(list(base.items()) + list(config.items()))` it counts."""
    values = [statement.value for statement in function.body if isinstance(statement, ast.Assign)]
    return next((value for value in reversed(values) if isinstance(value, ast.Dict)), None)


def _add_to_dict(node: ast.Dict, entries: Sequence[tuple[str, str]]) -> Change:
    def make(old: Any) -> Any:
        elements = list(old.elements)
        new = [cst.DictElement(cst.SimpleString(f'"{name}"'), cst.parse_expression(value)) for name, value in entries]
        if not elements:
            return old.with_changes(elements=[one.with_changes(comma=_comma()) for one in new[:-1]] + new[-1:])
        # The end of the last line is the brace's; its comment is about the last entry.
        end = old.rbrace.whitespace_before
        plain = _comma(elements[-2].comma.whitespace_after if len(elements) > 1 else old.lbrace.whitespace_after)
        elements[-1] = elements[-1].with_changes(comma=_with_comment_of(end, plain))
        last = cst.Comma() if isinstance(old.elements[-1].comma, cst.Comma) else cst.MaybeSentinel.DEFAULT
        new = [*(one.with_changes(comma=plain) for one in new[:-1]), new[-1].with_changes(comma=last)]
        end = _comma(end).whitespace_after if isinstance(end, cst.ParenthesizedWhitespace) else end
        return old.with_changes(elements=[*elements, *new], rbrace=old.rbrace.with_changes(whitespace_before=end))

    return Change(node, make)


def _comma(space: Any = None) -> cst.Comma:
    """Return a comma with a space, or the end of a line, behind it; without comments, which are about other entries."""
    if isinstance(space, cst.ParenthesizedWhitespace):
        first = cst.TrailingWhitespace(newline=space.first_line.newline)
        return cst.Comma(whitespace_after=space.with_changes(first_line=first, empty_lines=[]))
    return cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))


def _with_comment_of(end: Any, comma: cst.Comma) -> cst.Comma:
    inner = comma.whitespace_after
    if isinstance(end, cst.ParenthesizedWhitespace) and isinstance(inner, cst.ParenthesizedWhitespace):
        return comma.with_changes(whitespace_after=inner.with_changes(first_line=end.first_line))
    return comma
