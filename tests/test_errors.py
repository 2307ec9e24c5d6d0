"""Errors say what is wrong, what was found, what was expected and what to do, and cross process borders whole."""

from __future__ import annotations

import ast
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keras_estimator import errors

SOURCE = Path(errors.__file__).parent
CLASSES = [value for value in vars(errors).values() if isinstance(value, type)]
ERRORS = [cls for cls in CLASSES if issubclass(cls, errors.EstimatorError)]
# Words that are written so, also at the start of a problem.
PROPER_NAMES = {"Keras"}


def make(cls: type[errors.EstimatorError]) -> errors.EstimatorError:
    return cls("the loss is nan at step 12", found="loss=nan", expected="a finite loss", fix="lower the learning rate")


def named(cls: type[errors.EstimatorError]) -> errors.EstimatorError:
    parts = {"found": "loss=nan", "expected": "a finite loss", "fix": "lower the learning rate"}
    return cls("the loss is nan at step 12", **parts, rule="KE204")


def problems() -> list[tuple[str, str]]:
    """Return where each error is raised and its problem, with `{}` for what is filled in."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in names() and node.args):
                continue
            match node.args[0]:
                case ast.Constant(value=str(text)):
                    found.append((f"{path.name}:{node.lineno}", text))
                case ast.JoinedStr(values=values):
                    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
                    found.append((f"{path.name}:{node.lineno}", text))
    return found


def names() -> set[str]:
    return {cls.__name__ for cls in ERRORS}


def test_a_message_has_four_parts_in_four_lines():
    assert str(make(errors.NonFiniteLossError)).splitlines() == [
        "the loss is nan at step 12",
        "  found:    loss=nan",
        "  expected: a finite loss",
        "  fix:      lower the learning rate",
    ]


def test_further_lines_of_a_part_stand_below_its_first():
    error = errors.InputError("two columns are missing", found="a\nb", expected="c", fix="d")
    assert "  found:    a\n            b\n" in str(error)


@pytest.mark.parametrize("cls", ERRORS)
def test_every_error_prints_all_four_parts_and_a_fifth_if_a_rule_is_about_it(cls: type[errors.EstimatorError]):
    assert str(make(cls)).count("\n") == 3
    assert str(named(cls)) == f"{make(cls)}\n  rule:     KE204: keras-estimator explain KE204"


def test_a_warning_ends_with_the_rule_that_is_about_it_and_survives_pickling():
    plain, warning = errors.EstimatorWarning("it is idle"), errors.EstimatorWarning("it is idle", rule="KE301")
    assert (str(plain), plain.rule) == ("it is idle", "")
    assert str(warning) == "it is idle (KE301: keras-estimator explain KE301)"
    twin = pickle.loads(pickle.dumps(warning))
    assert (str(twin), twin.rule) == (str(warning), "KE301")


def test_what_keras_makes_of_an_error_about_numpy_is_the_text_alone():
    made = errors.NumpyCallError(f"Error encountered: {named(errors.NumpyCallError)}")
    assert str(made) == f"Error encountered: {named(errors.NumpyCallError)}"


@pytest.mark.parametrize("cls", ERRORS)
def test_an_error_survives_pickling_with_its_parts_and_notes(cls: type[errors.EstimatorError]):
    error = named(cls)
    error.add_note("while: training `ranker`")
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is cls
    assert (str(twin), twin.__notes__) == (str(error), ["while: training `ranker`"])
    assert vars(twin) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = dict(re.findall(r"(\w+Error)(?: \((\w+)\))?", (errors.__doc__ or "").split("Every message")[0]))
    assert set(drawn) == names()
    for cls in ERRORS:
        builtin = [base.__name__ for base in cls.__bases__ if base.__module__ == "builtins" and base is not Exception]
        assert ([drawn[cls.__name__]] if drawn[cls.__name__] else []) == builtin


@pytest.mark.parametrize(("place", "problem"), problems())
def test_a_problem_is_one_line_in_lower_case_without_full_stop(place: str, problem: str):
    assert "\n" not in problem, place
    assert not problem.endswith((".", "!", "?")), place
    first = re.split(r"\W", problem, maxsplit=1)[0]
    assert not first.istitle() or first in PROPER_NAMES, place


RAISING = """
import sys
{before}
from keras_estimator import errors
errors.end_with_own_status()
{after}
def raising(name):
    raise getattr(errors, name)("one is gone", found="a", expected="b", fix="c")
{how}
"""


def ended(how: str, *flags: str, before: str = "", after: str = "", **options: str) -> tuple[int, str]:
    program = RAISING.format(how=how, before=before, after=after)
    command = [sys.executable, *flags, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("raising('WorkerLostError')", 75),
        ("raising('WorkersDifferError')", 1),
        ("raise ValueError('one is gone')", 1),
        ("sys.exit(3)", 3),
        ("try: raising('WorkerLostError')\nexcept errors.EstimatorError: print('caught')", 0),
        ("try: raising('WorkerLostError')\nexcept errors.EstimatorError as e: raise OSError('one is gone') from e", 1),
    ],
)
def test_an_error_that_nobody_catches_ends_the_process_with_its_status_after_the_traceback(how: str, status: int):
    found, said = ended(how, after="import atexit; atexit.register(print, 'exit functions ran')")
    assert found == status, said
    assert ("Traceback" in said and "Error: one is gone" in said) == (status in (1, 75))
    assert said.count("exit functions ran") == 1
    assert "Error in sys.excepthook" not in said


def test_an_excepthook_of_the_program_is_called_as_well():
    hook = "sys.excepthook = lambda *_: print('my own')"
    assert ended("raising('WorkerLostError')", before=hook) == (75, "my own\n")
    assert ended("raising('WorkerLostError')", after=hook) == (1, "my own\n")  # it replaces ours


def test_a_person_at_a_prompt_stays_there():
    status, said = ended(
        "raising('WorkerLostError')", "-i", input="print('still ' + 'here')\nraising('WorkerLostError')\n1 + 41\n"
    )
    assert status == 0, said
    assert said.count("one is gone") == 2
    assert "still here" in said
    assert "42" in said
