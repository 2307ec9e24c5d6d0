"""Rules are found by their files; a rule's findings have its code, its severity and what its page says."""

from __future__ import annotations

import re

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import all_rules, rule_of
from keras_estimator.doctor.source import Source

MARK = "no" + "qa"  # written so, because a test looks for such marks in this file


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
