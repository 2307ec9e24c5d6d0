"""The `get_config` that is added to a class, and the keys that are added to one."""

from __future__ import annotations

import ast
import textwrap

import pytest

from keras_estimator.doctor.config_fixes import add_get_config, add_keys, listed, saving_of
from keras_estimator.doctor.configs import Argument, constructors
from keras_estimator.doctor.findings import Applicability
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.source import Source

K = Argument("k", None, "self.k", is_object=False)


def test_names_in_words() -> None:
    assert listed(["a"]) == "`a`"
    assert listed(["a", "b", "c"]) == "`a`, `b` and `c`"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import keras", "keras.saving"),
        ("import keras as k", "k.saving"),
        ("from tensorflow import keras", "keras.utils"),  # it has no `saving`
        ("import tensorflow.keras as tfk", "tfk.utils"),
        ("import tensorflow as tf", "keras.saving"),
    ],
)
def test_where_keras_saves_objects(line: str, said: str) -> None:
    saving, imports = saving_of(Source("a.py", line))
    assert saving == said
    assert bool(imports) is ("tensorflow as tf" in line)


BODIES = [
    ("return super().get_config()", 'config = super().get_config()\nconfig.update({"k": self.k})\nreturn config'),
    ("return {}", 'return {"k": self.k}'),
    ('return {"a": 1}', 'return {"a": 1, "k": self.k}'),
    ('return {\n    "a": 1,\n    "b": 2,  # two\n}', 'return {\n    "a": 1,\n    "b": 2,  # two\n    "k": self.k,\n}'),
    ('return {\n    "a": 1\n}', 'return {\n    "a": 1,\n    "k": self.k\n}'),
    ("c = super().get_config()\nreturn c", 'c = super().get_config()\nc.update({"k": self.k})\nreturn c'),
    ('c = {"a": 1}\nreturn c', 'c = {"a": 1, "k": self.k}\nreturn c'),
    ('c = base()\nc.update({"a": 1})\nreturn c', 'c = base()\nc.update({"a": 1, "k": self.k})\nreturn c'),
    ('c = {"a": 1}\nreturn dict(c)', 'c = {"a": 1, "k": self.k}\nreturn dict(c)'),
]


@pytest.mark.parametrize(("before", "after"), BODIES)
def test_a_key_is_added_where_the_others_are(before: str, after: str) -> None:
    text = f"def get_config(self):\n{textwrap.indent(before, '    ')}\n"
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    fix = add_keys(function, [K])
    assert fix.applicability is Applicability.SAFE
    assert changed(text, fix.changes) == f"def get_config(self):\n{textwrap.indent(after, '    ')}\n"


@pytest.mark.parametrize(
    ("body", "argument"),
    [
        ("return {}", Argument("k", None, "", is_object=False)),
        ("return {}", Argument("k", None, "self.k", is_object=True)),
        ("if a:\n        return {}\n    return {'b': 1}", K),
        ("return made(self)", K),
    ],
)
def test_what_only_the_user_can_write_is_an_advice(body: str, argument: Argument) -> None:
    function = ast.parse(f"def get_config(self):\n    {body}\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    fix = add_keys(function, [argument])
    assert fix.applicability is Applicability.DISPLAY
    assert not fix.changes


def test_a_long_config_is_written_as_formatters_do() -> None:
    names = [f"a_rather_long_name_{number}" for number in range(4)]
    body = "".join(f"        self.{name} = {name}\n" for name in names)
    text = f"import keras\nclass A(keras.Model):\n    def __init__(self, {', '.join(names)}, **kwargs):\n{body}"
    source = Source("a.py", text)
    (constructor,) = constructors(source)
    fix = add_get_config(source, constructor, constructor.own)
    after = changed(text, fix.changes)
    assert fix.applicability is Applicability.SAFE
    assert f'                "{names[0]}": self.{names[0]},\n' in after
    assert max(map(len, after.splitlines())) < 130
