"""Which keys a `get_config` puts into a config, as the source says it."""

from __future__ import annotations

import textwrap

import pytest

from keras_estimator.doctor.config_keys import Keys, keys_of
from keras_estimator.doctor.source import Source

HEAD = "import keras\n"


@pytest.mark.parametrize(
    ("body", "names", "calls_super", "are_known"),
    [
        ("return {'a': self.a}", {"a"}, False, True),
        (
            "c = super().get_config()\nc['a'] = 1\nc.update({'b': 2})\nc.update(d=3)\nreturn c",
            {"a", "b", "d"},
            True,
            True,
        ),
        ("c = super(A, self).get_config()\nreturn dict(list(c.items()) + list({'a': 1}.items()))", {"a"}, True, True),
        ("return {**super().get_config(), 'a': 1}", {"a"}, True, True),
        ("return super().get_config() | {'a': 1}", {"a"}, True, True),
        ("return {**keras.layers.Dense.get_config(self), 'a': 1}", {"a"}, True, True),
        ("return {**self.inner.get_config(), 'a': 1}", {"a"}, False, False),
        ("return {**self.settings}", set(), False, False),
        ("return {name: 1 for name in NAMES}", set(), False, False),
        ("return vars(self)", set(), False, False),
        ("return self._settings()", set(), False, False),
        ("raise NotImplementedError", set(), False, False),
    ],
)
def test_which_keys_a_config_has(body: str, names: set[str], *, calls_super: bool, are_known: bool) -> None:
    lines = textwrap.indent(body, " " * 8)
    source = Source("a.py", f"{HEAD}class A(keras.Layer):\n    def get_config(self):\n{lines}\n")
    assert keys_of(source.classes[0].methods["get_config"]) == Keys(frozenset(names), calls_super, are_known)
