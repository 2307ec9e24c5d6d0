"""The doctor on the zoo: what Keras loses gets the finding that names the cause at its line; what is sound no error."""

from __future__ import annotations

import functools
import linecache

import keras
import pytest
import zoo

from keras_estimator.doctor.examine import examine_model
from keras_estimator.doctor.findings import Finding, Severity
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
# A copy in a fresh process is compared for every kind in test_zoo.py; here it would only cost time.
SETTINGS = Settings(ignore=("KE003",))

# Rows of table 2.1 that some way of Keras loses or refuses: the rule that names the cause, and what its line says.
EXPECTED: dict[int, tuple[str, str]] = {}


@functools.cache
def findings(name: str) -> tuple[Finding, ...]:
    kind = zoo.KINDS[name]
    keras.utils.set_random_seed(0)
    model = kind.build()
    batch = next(iter(kind.data().take(1)))
    return tuple(examine_model(LiveModel(model, keras.tree.map_structure(lambda t: t.numpy(), batch)), SETTINGS))


@pytest.mark.parametrize("row", sorted(EXPECTED))
def test_what_keras_loses_gets_the_finding_that_names_the_cause(row: int) -> None:
    code, text = EXPECTED[row]
    found = [one for one in findings(zoo.TABLE[row]) if one.code == code]
    assert found, f"{zoo.TABLE[row]}: {[str(one) for one in findings(zoo.TABLE[row])]}"
    if text:
        lines = [linecache.getline(one.place.file, one.place.line) for one in found if one.place]
        assert any(text in line for line in lines), lines


@pytest.mark.parametrize("name", sorted(zoo.KINDS))
def test_a_kind_that_keras_carries_gets_no_error(name: str) -> None:
    found = findings(name)
    errors = [str(one) for one in found if one.severity is Severity.ERROR]
    assert [error for error in errors if "KE201" not in error and "KE203" not in error and "KE303" not in error] == []
