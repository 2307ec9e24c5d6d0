"""Write a condition of Python as one of the graph: `a if c else b` as `keras.ops.cond(c, lambda: a, lambda: b)`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import libcst as cst

from keras_estimator.doctor.findings import Applicability, Fix
from keras_estimator.doctor.moving_out import removed
from keras_estimator.doctor.ops_path import ops_path
from keras_estimator.doctor.rewriting import Change, replace
from keras_estimator.doctor.source import Source

# What makes one number of a tensor.
_ONE_NUMBER = re.compile(r"\b(reduce_)?(sum|mean|max|min|any|all|prod|norm|size|count_nonzero|std|var|shape)\(")
_OPERATORS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.MatMult: "@"}


def decided_in_graph(source: Source, node: ast.If | ast.IfExp) -> Fix | None:
    """Return the fix that lets the graph decide; None if more than one value is decided.

    Args:
        source: The file.
        node: The condition, with what it decides.
    """
    lines = source.lines[node.lineno - 1 : node.end_lineno]
    if isinstance(node, ast.If) and any("#" in line for line in lines):
        return None  # a comment would be lost
    if isinstance(node, ast.IfExp):
        return _fix(source, node.test, lambda code: [replace(node, code)], node.body, node.orelse)
    statement = node.body[0]
    if len(node.body) != 1 or len(node.orelse) > 1 or source.parent(node.test) is not node:
        return None
    if isinstance(statement, ast.Return) and statement.value is not None:
        return _of_return(source, node, statement.value)
    return _of_name(source, node, statement)


def _of_return(source: Source, node: ast.If, value: ast.expr) -> Fix | None:
    others: list[ast.stmt] = list(node.orelse) or _behind(source, node)
    if len(others) != 1 or not isinstance(others[0], ast.Return) or others[0].value is None:
        return None
    also = [] if node.orelse else [removed(others[0])]
    if also and "#" in source.lines[others[0].lineno - 1]:
        return None
    return _fix(source, node.test, lambda code: [_in_place_of(node, f"return {code}\n"), *also], value, others[0].value)


def _in_place_of(node: ast.If, code: str) -> Change:
    """Put a statement in the place of an `if`, below the comments above it."""
    return Change(node, lambda old: cst.parse_module(code).body[0].with_changes(leading_lines=old.leading_lines))


def _behind(source: Source, node: ast.stmt) -> list[ast.stmt]:
    """Return the statements behind one, in the same block."""
    outer = source.parent(node)
    blocks = (getattr(outer, name, []) for name in ("body", "orelse", "finalbody"))
    block = next((one for one in blocks if isinstance(one, list) and node in one), [])
    return block[block.index(node) + 1 :] if node in block else []


def _of_name(source: Source, node: ast.If, statement: ast.stmt) -> Fix | None:
    name, value = _bound(source, statement)
    other = f"{name}" if not node.orelse else ""
    if node.orelse:
        also, code = _bound(source, node.orelse[0])
        other = code if also == name else ""
    if not name or not other:
        return None
    return _fix(source, node.test, lambda code: [_in_place_of(node, f"{name} = {code}\n")], value, other)


def _bound(source: Source, statement: ast.stmt) -> tuple[str, str]:
    """Return the name that a statement binds, and the code of its value; empty if it does anything else."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, source.code(statement.value)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        operator = _OPERATORS.get(type(statement.op), "")
        value = source.code(statement.value)
        inner = f"({value})" if isinstance(statement.value, ast.BinOp) else value
        return (statement.target.id, f"{statement.target.id} {operator} {inner}") if operator else ("", "")
    return "", ""


def _fix(
    source: Source, test: ast.expr, changes: Callable[[str], list[Change]], value: ast.expr | str, other: ast.expr | str
) -> Fix | None:
    if isinstance(test, ast.BoolOp):
        return None
    texts = [one if isinstance(one, str) else source.code(one) for one in (value, other)]
    if any("\n" in text for text in (*texts, source.code(test))):
        return None
    path, imports = ops_path(source)
    is_one = _ONE_NUMBER.search(source.code(test)) is not None
    parts = [f"lambda: {text}" if is_one else text for text in texts]
    name = "cond" if is_one else "where"
    made: list[Change] = changes(f"{path}.{name}({source.code(test)}, {', '.join(parts)})")
    return Fix(f"use keras.ops.{name}", Applicability.UNSAFE, (*made, *imports))
