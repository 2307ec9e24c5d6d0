"""Rules are found by their files; a rule's findings have its code, its severity and what its page says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest

import keras_estimator
from keras_estimator.doctor.failure import Failure
from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import all_rules, rule_of
from keras_estimator.doctor.source import Source
from keras_estimator.errors import ModelError
from keras_estimator.model.half_built import complete

MARK = "no" + "qa"  # written so, because a test looks for such marks in this file

TESTS = Path(__file__).parent
# Where a message is raised that others test.
ELSEWHERE = {"verification": "test_export", "workers": "test_together"}


def rules_named() -> Iterator[tuple[str, str]]:
    """Yield the name of each module of ours that names a rule in a message, and the rule's code."""
    source = Path(str(keras_estimator.__file__)).parent
    for path in sorted(source.rglob("*.py")):
        if "doctor" not in path.relative_to(source).parts:
            texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            codes = (text for text in texts if isinstance(text, str) and re.fullmatch(r"KE\d+", text))
            yield from ((path.stem, code) for code in sorted(codes))


@pytest.mark.parametrize(("module", "code"), list(rules_named()))
def test_a_rule_that_a_message_names_is_there_and_the_message_is_tested(module: str, code: str):
    assert rule_of(code) is not None
    test = TESTS / f"{ELSEWHERE.get(module, f'test_{module}')}.py"
    assert code in test.read_text(encoding="utf-8")


def test_messages_name_rules():
    assert {("state", "KE301"), ("export", "KE504")} <= set(rules_named())


def test_an_error_of_ours_that_names_a_rule_is_a_finding_of_it():
    def wrong(x):
        return keras.ops.reshape(x, (7, 7, 7))

    class Late(keras.layers.Layer):
        is_ready = False

        def call(self, x):
            if not self.is_ready:
                raise NotImplementedError("not yet")
            return wrong(x)

    late = Late()
    model = keras.Sequential([keras.Input((3,)), late, keras.layers.Dense(1)])
    late.is_ready = True
    with pytest.raises(ModelError) as caught:
        complete(model)
    failure = Failure(caught.value, "call")
    found = [finding for rule in all_rules() if rule.code != "KE002" for finding in rule.in_failure(failure)]
    assert [one.code for one in found] == ["KE203"]
    assert found[0].message == caught.value.problem
    assert found[0].place is not None
    assert (found[0].place.file, found[0].place.line) == (__file__, wrong.__code__.co_firstlineno + 1)
    assert found[0].fix is not None
    assert found[0].fix.title == caught.value.fix


def test_rules_are_known_by_code_and_by_name():
    rule = rule_of("KE301")
    assert rule is not None
    assert rule_of("ke301") is rule
    assert rule_of("raw-tf-variable") is rule
    assert rule_of("KE999") is None
    assert rule_of("") is None


def test_codes_and_names_are_unique_and_in_order():
    codes, names = ([getattr(rule, part) for rule in all_rules()] for part in ("code", "name"))
    assert codes == sorted(set(codes))
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"KE\d{3}", code) for code in codes)
    # A name says what is wrong, so that it reads well behind "ignore".
    assert [name for name in names if name.startswith(("no-numpy", "use-", "avoid-", "do-not-"))] == []


def test_a_finding_has_what_its_rule_says():
    rule = rule_of("KE301")
    assert rule is not None
    text = (
        "import keras, tensorflow as tf\nclass A(keras.Layer):\n"
        "    def build(self, shape):\n        self.n = tf.Variable(0)"
    )
    (found,) = rule.in_source(Source("net.py", text))
    assert (found.code, found.name, found.severity) == ("KE301", "raw-tf-variable", Severity.WARNING)
    assert found.consequence.startswith("Keras's own `save`")
    silenced = Source("net.py", f"{text}  # {MARK}: KE301")
    assert list(rule.in_source(silenced)) == []


def test_a_summary_is_one_sentence():
    for rule in all_rules():
        assert rule.summary.endswith("."), rule.code
        assert len(f"{rule.code} {rule.name}: {rule.summary}") <= 120, rule.code
