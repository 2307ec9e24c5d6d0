"""Move what a `call` makes into `__init__` or `build`: changes of a source text."""

from __future__ import annotations

import ast
import builtins

import libcst as cst

from keras_estimator.doctor.findings import Applicability, Fix
from keras_estimator.doctor.rewriting import Change, add_method, insert_after, insert_before, replace
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.sure_tensors import SureTensors
from keras_estimator.doctor.tensors import own_attribute


def removed(node: ast.stmt) -> Change:
    """Take a statement out, with the comments that belong to it.

    Args:
        node: The statement; another one stands beside it.
    """
    return Change(node, lambda _: cst.RemovalSentinel.REMOVE)


def moved_out(source: Source, one: SureTensors, made: ast.Call, *, to: str) -> Fix | None:
    """Return the fix that makes an attribute before the layer is called; None if it cannot be written mechanically.

    Args:
        source: The file.
        one: The function that makes it now.
        made: The call that does; `self.name = made` may stand alone or behind `if self.name is None`.
        to: `__init__`, or `build` for what may depend on the shape of the input.
    """
    statement = source.parent(made)
    if one.owner is None or not isinstance(statement, ast.Assign) or not own_attribute(statement.targets[0]):
        return None
    whole = _with_its_guard(source, one, statement)
    if whole is None or len(statement.targets) != 1 or not _is_alone(source, whole):
        return None
    code = _code(source, one, made, to)
    changes = code and _into(one.owner, f"self.{own_attribute(statement.targets[0])}", code, to)
    return Fix(f"make it in {to}", Applicability.UNSAFE, (removed(whole), *changes)) if changes else None


def _with_its_guard(source: Source, one: SureTensors, statement: ast.Assign) -> ast.stmt | None:
    """Return the statement, or the `if` around it; None if it is in anything else."""
    name = own_attribute(statement.targets[0])
    outer = source.parent(statement)
    if outer is one.traced.node:
        return statement
    if not isinstance(outer, ast.If) or outer.orelse or outer.body != [statement]:
        return None
    tests = {f"self.{name} is None", f"not hasattr(self, '{name}')", f"not self.{name}", "not self.built"}
    return outer if source.parent(outer) is one.traced.node and ast.unparse(outer.test) in tests else None


def _is_alone(source: Source, statement: ast.stmt) -> bool:
    lines = source.lines[statement.lineno - 1 : statement.end_lineno]
    return not any(";" in line or "#" in line for line in lines)


def _code(source: Source, one: SureTensors, made: ast.Call, to: str) -> str:
    """Return how it is made elsewhere; empty if it depends on what only the function knows."""
    code = source.code(made)
    given = one.traced.parameters[1:2]
    if to == "build" and given:
        code = code.replace(f"{given[0]}.shape[", "input_shape[")
    known = {*dir(builtins), *source.names.imported, *source.functions, "self", "input_shape"}
    known |= {node.id for node in source.nodes if isinstance(node, ast.Name) and source.function_of(node) is None}
    known |= {node.name for node in source.nodes if isinstance(node, ast.ClassDef)}
    used = {node.id for node in ast.walk(ast.parse(code, mode="eval")) if isinstance(node, ast.Name)}
    return code if used <= known and not used & set(one.traced.parameters[1:]) else ""


def _into(owner: KerasClass, target: str, code: str, to: str) -> list[Change]:
    """Return the change that makes it in a method; none if there is no place for it."""
    line = f"{target} = {code}\n"
    init = owner.methods.get("__init__")
    nothing = [
        node.value
        for node in (ast.walk(init) if init else ())
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == [target]
    ]
    if to == "build":
        build = owner.methods.get("build")
        if build is not None and len(build.args.args) > 1:
            line = line.replace("input_shape[", f"{build.args.args[1].arg}[")
        is_text = (
            build is not None and isinstance(build.body[0], ast.Expr) and isinstance(build.body[0].value, ast.Constant)
        )
        if build is not None:
            return [insert_after(build.body[0], line)] if is_text else [insert_before(build.body[0], line)]
        return [add_method(owner.node, f"def build(self, input_shape):\n    {line}")]
    if nothing:
        is_none = len(nothing) == 1 and isinstance(nothing[0], ast.Constant) and nothing[0].value is None
        return [replace(nothing[0], code)] if is_none else []
    if init is None:
        return [add_method(owner.node, f"def __init__(self, **kwargs):\n    super().__init__(**kwargs)\n    {line}")]
    for statement in init.body:
        text = ast.unparse(statement)
        if isinstance(statement, ast.Expr) and text.startswith("super(") and "__init__(" in text:
            return [insert_after(statement, line)]
    return []
