"""Changes of a source file leave every other character as it is."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from keras_estimator.doctor import rewriting
from keras_estimator.doctor.rewriting import Change, changed
from keras_estimator.errors import FixError


def first(tree: ast.AST, kind: type[ast.AST], **has: Any) -> Any:
    nodes = (node for node in ast.walk(tree) if isinstance(node, kind))
    return next(node for node in nodes if all(getattr(node, name) == value for name, value in has.items()))


def after(text: str, *changes: Callable[[ast.Module], Change]) -> str:
    tree = ast.parse(text)
    return changed(text, [change(tree) for change in changes])


def test_an_expression_is_replaced_and_comments_stay():
    text = "y = np.sin( x )  # a wave\r\nz   =  1\r\n"
    assert after(text, lambda tree: rewriting.replace(first(tree, ast.Attribute), "ops.sin")) == (
        "y = ops.sin( x )  # a wave\r\nz   =  1\r\n"
    )


def test_expressions_inside_of_each_other_are_both_replaced():
    text = "é = np.sin(np.cos(x))\n"
    outer, inner = (
        (lambda tree: rewriting.replace(first(tree, ast.Attribute, attr="sin"), "ops.sin")),
        (lambda tree: rewriting.replace(first(tree, ast.Attribute, attr="cos"), "ops.cos")),
    )
    assert after(text, outer, inner) == "é = ops.sin(ops.cos(x))\n"


def test_parentheses_of_an_expression_stay():
    text = "y = (np.sin(x))\n"
    assert after(text, lambda tree: rewriting.replace(first(tree, ast.Call), "f(x)")) == "y = (f(x))\n"


def test_a_statement_is_replaced_by_some():
    text = "def f():\n    # why\n    a = 1  # how\n    return a\n"
    assert after(text, lambda tree: rewriting.replace_statement(first(tree, ast.Assign), "a = 2\nb = 3")) == (
        "def f():\n    # why\n    a = 2  # how\n    b = 3\n    return a\n"
    )


def test_statements_are_put_around_another():
    text = "def f():\n    a = 1\n"
    assert (
        after(
            text,
            lambda tree: rewriting.insert_before(first(tree, ast.Assign), "z = 0"),
            lambda tree: rewriting.insert_after(first(tree, ast.Assign), "b = 2"),
        )
        == "def f():\n    z = 0\n    a = 1\n    b = 2\n"
    )


CLASS = "# about A\nclass A(B):\n    def __init__(self, k=1):\n        super().__init__()\n"


def test_a_class_gets_a_decorator_below_its_comment():
    assert after(CLASS, lambda tree: rewriting.decorate(first(tree, ast.ClassDef), "known('a')")).startswith(
        "# about A\n@known('a')\nclass A(B):\n"
    )
    decorated = after("@one\nclass A: ...\n", lambda tree: rewriting.decorate(first(tree, ast.ClassDef), "two"))
    assert decorated == "@two\n@one\nclass A: ...\n"


def test_a_class_gets_a_method_at_its_end():
    method = "def get(self):\n    return {'k': 1}\n"
    assert after(CLASS, lambda tree: rewriting.add_method(first(tree, ast.ClassDef), method)) == (
        CLASS + "\n    def get(self):\n        return {'k': 1}\n"
    )
    assert after("class A: pass\n", lambda tree: rewriting.add_method(first(tree, ast.ClassDef), method)) == (
        "class A:\n\n    def get(self):\n        return {'k': 1}\n"
    )


def test_a_function_gets_a_parameter_and_a_call_an_argument():
    assert after(
        CLASS,
        lambda tree: rewriting.add_parameter(first(tree, ast.FunctionDef), "**kwargs"),
        lambda tree: rewriting.add_argument(first(tree, ast.Call), "**kwargs"),
    ) == CLASS.replace("k=1)", "k=1, **kwargs)").replace("__init__()", "__init__(**kwargs)")


def test_an_argument_is_added_behind_others_on_lines_of_their_own():
    text = "f(\n    a,\n    b=1,\n)\n"
    assert (
        after(text, lambda tree: rewriting.add_argument(first(tree, ast.Call), "c=2"))
        == "f(\n    a,\n    b=1,\n    c=2,\n)\n"
    )
    assert after("f(a)\n", lambda tree: rewriting.add_argument(first(tree, ast.Call), "c=2")) == "f(a, c=2)\n"


def test_a_keyword_parameter_stands_before_the_rest():
    text = "def f(a, *, b=1, **more): ...\n"
    assert after(text, lambda tree: rewriting.add_parameter(first(tree, ast.FunctionDef), "c=None")) == (
        "def f(a, *, b=1, c=None, **more): ...\n"
    )


def test_a_missing_import_is_added_once_and_behind_the_docstring():
    text = '"""About."""\nfrom __future__ import annotations\nimport os\n'
    added = after(text, lambda _: rewriting.needs_import("keras"), lambda _: rewriting.needs_import("keras"))
    assert added.count("import keras") == 1
    assert added.startswith('"""About."""\nfrom __future__ import annotations\n')
    assert after("import keras\n", lambda _: rewriting.needs_import("keras")) == "import keras\n"


def test_a_change_of_another_text_is_refused():
    node = first(ast.parse("\n\n\nf(1)"), ast.Call)
    with pytest.raises(FixError, match="another text"):
        changed("x = 1\n", [rewriting.replace(node, "g(1)")])
