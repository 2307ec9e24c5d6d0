"""Change a source file at some of its nodes, and leave every other character as it is."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import libcst as cst
from libcst.codemod import CodemodContext
from libcst.codemod.visitors import AddImportsVisitor
from libcst.metadata import MetadataWrapper, PositionProvider

from keras_estimator.errors import FixError

# From a node of the file, as the changes before have left it, to what stands in its place.
Made = cst.CSTNode | cst.FlattenSentinel[Any] | cst.RemovalSentinel
Make = Callable[[Any], Made]


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of a source file.

    Attributes:
        node: The node, of the tree that `ast` made of the file; None for an import.
        make: Takes the node as libcst has it, returns what stands in its place.
        imports: A module to import, `keras`, and its alias, if it has one.
    """

    node: ast.AST | None
    make: Make | None = None
    imports: tuple[str, str | None] | None = None


def replace(node: ast.expr, code: str) -> Change:
    """Put an expression in the place of another one."""
    return Change(node, lambda old: _with_parentheses_of(old, cst.parse_expression(code)))


def replace_statement(node: ast.stmt, code: str) -> Change:
    """Put statements in the place of another one, with its comments and its indentation."""

    def make(old: Any) -> Made:
        first, *rest = _statements(code)
        leading = {"leading_lines": old.leading_lines}
        if isinstance(first, cst.SimpleStatementLine) and isinstance(old, cst.SimpleStatementLine):
            leading["trailing_whitespace"] = old.trailing_whitespace
        return cst.FlattenSentinel([first.with_changes(**leading), *rest])

    return Change(node, make)


def insert_before(node: ast.stmt, code: str) -> Change:
    """Put statements before another one."""

    def make(old: Any) -> Made:
        return cst.FlattenSentinel([*_statements(code), old])

    return Change(node, make)


def insert_after(node: ast.stmt, code: str) -> Change:
    """Put statements behind another one."""

    def make(old: Any) -> Made:
        return cst.FlattenSentinel([old, *_statements(code)])

    return Change(node, make)


def decorate(node: ast.ClassDef | ast.FunctionDef, code: str) -> Change:
    """Put a decorator, written without its `@`, above all others of a class or function."""

    def make(old: Any) -> Made:
        decorator = cst.Decorator(cst.parse_expression(code))
        # The comments above stay above; those lines belong to the first decorator, if there is one.
        if old.decorators:
            return _with(old, decorators=[decorator, *old.decorators])
        return _with(old, decorators=[decorator])

    return Change(node, make)


def add_method(node: ast.ClassDef, code: str) -> Change:
    """Put a method at the end of a class, an empty line before it."""

    def make(old: Any) -> Made:
        methods = [method.with_changes(leading_lines=[cst.EmptyLine(indent=False)]) for method in _statements(code)]
        body = old.body
        if isinstance(body, cst.SimpleStatementSuite):  # `class A(Layer): pass`
            lines = [cst.SimpleStatementLine([small]) for small in body.body if not isinstance(small, cst.Pass)]
            return _with(old, body=cst.IndentedBlock([*lines, *methods]))
        return _with(old, body=body.with_changes(body=[*body.body, *methods]))

    return Change(node, make)


def add_argument(node: ast.Call, code: str) -> Change:
    """Put an argument, `name=value` or `**more`, behind the others of a call."""

    def make(old: Any) -> Made:
        added = cst.ensure_type(cst.parse_expression(f"f({code})"), cst.Call).args
        return _with(old, args=_joined(old, added))

    return Change(node, make)


def add_parameter(node: ast.FunctionDef, code: str) -> Change:
    """Put a parameter, `name=default` or `**kwargs`, behind the others of a function; one of its kind is not there."""

    def make(old: Any) -> Made:
        new = cst.ensure_type(cst.parse_statement(f"def f({code}): pass"), cst.FunctionDef).params
        parameters = old.params
        if new.star_kwarg is not None:
            return _with(old, params=parameters.with_changes(star_kwarg=new.star_kwarg))
        kind = "kwonly_params" if parameters.kwonly_params or isinstance(parameters.star_arg, cst.Param) else "params"
        more = [*getattr(parameters, kind), *new.params]
        return _with(old, params=parameters.with_changes(**{kind: more}))

    return Change(node, make)


def needs_import(module: str, alias: str | None = None) -> Change:
    """Import a module, if the file does not do so yet."""
    return Change(None, imports=(module, alias))


def changed(text: str, changes: Sequence[Change]) -> str:
    """Return a source text with changes made.

    Args:
        text: The text, as `ast` parsed it.
        changes: Of nodes of that tree; those inside of each other are made from the inside out.

    Raises:
        FixError: A node was not found: the tree is not one of this text.
    """
    wanted = [change for change in changes if change.node is not None]
    wrapper = MetadataWrapper(cst.parse_module(text))
    lines = text.splitlines()
    rewriter = _Rewriter([(_address(change.node, lines), change) for change in wanted])
    module = wrapper.visit(rewriter)
    if len(rewriter.done) != len({id(change) for change in wanted}):
        raise FixError(
            "a fix was made for another text than this one",
            found=f"{len(rewriter.done)} of the {len(wanted)} places that it changes",
            expected="all of them",
            fix="run the doctor again; if it says this again, mend the line by hand",
        )
    context = CodemodContext()
    for change in changes:
        if change.imports is not None:
            name, alias = change.imports
            AddImportsVisitor.add_needed_import(context, name, asname=alias)
    return AddImportsVisitor(context).transform_module(module).code


# The kind of node, its first line and column, its last line and column; of a definition, its name and line.
_Address = tuple[Any, ...]


def _address(node: Any, lines: list[str]) -> _Address:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return ("definition", node.name, node.lineno)
    kind = "statement" if isinstance(node, ast.stmt) else "argument" if isinstance(node, ast.arg) else "expression"
    start = (node.lineno, _column(lines, node.lineno, node.col_offset))
    if isinstance(node, ast.stmt):
        return (kind, *start)
    return (kind, *start, node.end_lineno, _column(lines, node.end_lineno, node.end_col_offset))


def _column(lines: list[str], line: int, offset: int) -> int:
    text = lines[line - 1] if line <= len(lines) else ""
    return len(text.encode()[:offset].decode(errors="replace"))


class _Rewriter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, changes: Sequence[tuple[_Address, Change]]) -> None:
        super().__init__()
        self._changes = changes
        self.done: set[int] = set()

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        made: list[Any] = [super().on_leave(original_node, updated_node)]
        main = made[0]  # what stands for the node among the statements that were put around it
        for address, change in self._changes:
            if id(change) not in self.done and change.make is not None and self._is_at(original_node, address):
                self.done.add(id(change))
                place = next((place for place, node in enumerate(made) if node is main), 0)
                new = change.make(made[place])
                news = list(new) if isinstance(new, cst.FlattenSentinel) else [new]
                main = next((node for node in news if node is made[place]), news[0])
                made[place : place + 1] = news
        return made[0] if len(made) == 1 else cst.FlattenSentinel(made)

    def _is_at(self, node: Any, address: _Address) -> bool:
        kind = address[0]
        if isinstance(node, cst.ClassDef | cst.FunctionDef):
            name = self.get_metadata(PositionProvider, node.name)
            return address == ("definition", node.name.value, name.start.line)
        if kind == "statement" and isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement):
            place = self.get_metadata(PositionProvider, node)
            return address[1:] == (place.start.line, place.start.column)
        is_kind = isinstance(node, cst.BaseExpression) if kind == "expression" else isinstance(node, cst.Param)
        if kind in ("expression", "argument") and is_kind:
            place = self.get_metadata(PositionProvider, node)
            here = (place.start.line, place.start.column, place.end.line, place.end.column)
            return address[1:] == here
        return False


def _with(node: Any, **changes: Any) -> cst.CSTNode:
    made: cst.CSTNode = node.with_changes(**changes)
    return made


def _statements(code: str) -> list[Any]:
    return list(cst.parse_module(code).body)


def _with_parentheses_of(old: Any, new: Any) -> Any:
    if not getattr(old, "lpar", ()) or new.lpar:
        return new
    return new.with_changes(lpar=old.lpar, rpar=old.rpar)


def _joined(call: cst.Call, added: Sequence[cst.Arg]) -> list[cst.Arg]:
    """Return the arguments of a call with others behind them, on lines of their own if those before are."""
    if not call.args:
        return list(added)
    *before, last = call.args
    is_on_lines = "\n" in cst.Module([]).code_for_node(call.whitespace_before_args)
    space = call.whitespace_before_args if is_on_lines else cst.SimpleWhitespace(" ")
    behind = last.with_changes(comma=cst.Comma(whitespace_after=space))
    # A comma at the end, and what comes behind it, stays at the end.
    return [*before, behind, *(one.with_changes(comma=last.comma) for one in added)]
