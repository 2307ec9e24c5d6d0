"""The doctor on the zoo: what Keras loses gets the finding that names the cause at its line; what is sound no error."""

from __future__ import annotations

import functools
import linecache
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import zoo

from keras_estimator.doctor.examine import examine_model
from keras_estimator.doctor.findings import Finding, Severity
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
# Copies in a fresh process are compared for every kind in test_zoo.py, and what Keras's own files lose is known from
# the list of 61; here both would only cost time.
SETTINGS = Settings(ignore=("KE003", "KE004"))

# Rows of table 2.1 that some way of Keras loses or refuses: the rule that names the cause, and what its line says.
EXPECTED: dict[int, tuple[str, str]] = {
    1: ("KE305", ""),
    2: ("KE101", "class Swish"),
    3: ("KE102", "def __init__(self, units: int, policy"),
    4: ("KE103", "def __init__(self, by: Any)"),
    5: ("KE103", "def __init__(self, by: Any)"),
    7: ("KE104", "def get_config"),
    8: ("KE101", "class "),
    9: ("KE108", "lambda"),
    10: ("KE109", "lambda"),
    11: ("KE108", "lambda"),
    12: ("KE108", "lambda"),
    13: ("KE110", "lambda"),
    14: ("KE201", "np.sin"),
    15: ("KE117", "def "),
    17: ("KE301", "tf.Variable("),
    18: ("KE301", "tf.Variable("),
    19: ("KE101", "class Weighted"),
    20: ("KE112", "self.traces = 0"),
    23: ("KE102", "def __init__(self"),
    24: ("KE106", "def __init__(self"),
    26: ("KE302", ""),
    27: ("KE107", "def __init__(self"),
    28: ("KE117", "def "),
    29: ("KE109", "lambda"),
    30: ("KE117", "class "),
    31: ("KE101", "class "),
    32: ("KE118", ""),
    34: ("KE113", ""),
    35: ("KE112", "self.k = k"),
    36: ("KE102", "def __init__(self"),
    37: ("KE101", "class "),
    38: ("KE102", "def __init__(self, units: int, policy"),
    39: ("KE204", "np.random"),
    40: ("KE101", "class AddsLoss"),
    41: ("KE110", "lambda"),
    42: ("KE301", "tf.Variable("),
    43: ("KE301", "tf.Variable("),
    44: ("KE111", ""),
    45: ("KE111", ""),
    46: ("KE111", ""),
    47: ("KE117", "def _keyword_default"),
    48: ("KE108", "lambda"),
    50: ("KE105", "def __init__(self"),
    51: ("KE115", ""),
    52: ("KE106", "def __init__(self"),
    53: ("KE107", "def __init__(self"),
    54: ("KE112", ""),
    58: ("KE101", "class Scales"),
    60: ("KE103", "def __init__(self, other: Any)"),
}


BROKEN_IN_KERAS = {"lambda_numpy_named"}


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


@pytest.mark.parametrize("name", zoo.under_contract())
def test_a_kind_that_keras_carries_gets_no_error(name: str) -> None:
    found = findings(name)
    errors = [str(one) for one in found if one.severity is Severity.ERROR]
    # Plain Keras runs none of these: NumPy on a tensor, an integer variable times a floating tensor.
    assert [error for error in errors if name not in BROKEN_IN_KERAS] == []


# In a process in which nothing of ours has made NumPy run on tensors yet.
REFUSED = """
import zoo_table_models
from keras_estimator.doctor.examine import of_failures
from keras_estimator.doctor.failure import Failure

for row, (_, make, _) in zoo_table_models.CANNOT_BE_MADE.items():
    try:
        make()
    except Exception as error:
        found = of_failures([Failure(error, "build")])
        print(row, *(f"{one.code}:{one.severity}:{one.place is not None}" for one in found))
"""


def test_what_keras_cannot_make_gets_the_finding_that_names_the_cause() -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, text=True, check=True, cwd=here, timeout=120
    )
    found = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert found == {
        "16": "KE303:error:True",
        "25": "KE208:error:True",
        "56": "KE207:error:True",
        "57": "KE207:error:True",
    }
