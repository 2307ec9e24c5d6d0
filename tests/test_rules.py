"""Every rule of the doctor against its case file: what it finds, where, what it says, what its fix makes of it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rule_cases import FOLDER, Case, built, cases, loaded

from keras_estimator.doctor.examine import examine_model, examine_text, merged, of_failures, wanted
from keras_estimator.doctor.failure import Failure
from keras_estimator.doctor.findings import Applicability, Finding
from keras_estimator.doctor.mending import mended
from keras_estimator.doctor.rule import HEADINGS, Rule, all_rules
from keras_estimator.doctor.settings import Settings

CASES = [(file.stem, case) for file in sorted(FOLDER.glob("*.md")) for case in cases(file)]
RULES = {rule.code: rule for rule in all_rules()}
pytestmark = pytest.mark.filterwarnings("default")  # of models that are wrong on purpose


def parameters(chosen: list[tuple[str, Case]]) -> list[Any]:
    return [pytest.param(case, id=f"{stem}-{case.title}") for stem, case in chosen]


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "example.py"
    path.write_text(request.getfixturevalue("case").source, encoding="utf-8")
    return path


def found_in(file: Path, code: str, *, has_model: bool) -> list[Finding]:
    settings = Settings(select=(code,))
    text = file.read_text(encoding="utf-8")
    if not has_model:
        return examine_text(str(file), text, settings)
    from keras_estimator.doctor.live import LiveModel  # noqa: PLC0415 - cases of source alone do without it

    try:
        module = loaded(file)
        model = module.build()
    except Exception as error:  # noqa: BLE001 - some cases cannot be built, and say so
        failed = [one for one in of_failures([Failure(error, "build")]) if one.code == code]
        return wanted(merged(examine_text(str(file), text, settings), failed), settings)
    batch = module.batch() if hasattr(module, "batch") else None
    return examine_model(LiveModel(model, batch), settings)


@pytest.mark.parametrize("case", parameters(CASES))
def test_what_is_found_in_a_case(case: Case, file: Path) -> None:
    found = [str(one).replace(f"{file.parent}/", "") for one in found_in(file, case.code, has_model=case.has_model)]
    assert found == case.said.splitlines()


@pytest.mark.parametrize("case", parameters([(stem, case) for stem, case in CASES if case.fixed is not None]))
def test_a_fix_mends_what_was_found_and_nothing_else(case: Case, file: Path) -> None:
    settings = Settings(select=(case.code,))
    once = mended(str(file), case.source, settings, unsafe=case.is_unsafe)
    assert once.after == case.fixed
    again = mended(str(file), once.after, settings, unsafe=case.is_unsafe)
    assert again.after == once.after
    left = {one.place for one in examine_text(str(file), once.after, settings)}
    assert len(left) < len(examine_text(str(file), case.source, settings))
    if not case.is_unsafe:
        assert all(one.fix and one.fix.applicability is Applicability.SAFE for one in once.applied)


@pytest.mark.parametrize(
    "case", parameters([(stem, case) for stem, case in CASES if case.fixed and case.has_model and not case.is_unsafe])
)
def test_a_safe_fix_leaves_the_answers_as_they_are(case: Case, file: Path) -> None:
    try:
        before = answers(file)
    except Exception:  # noqa: BLE001 - some code runs only when it is mended
        before = None
    file.write_text(case.fixed or "", encoding="utf-8")
    after = answers(file)
    for one, other in zip(before or after, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def answers(file: Path) -> list[Any]:
    from keras_estimator.doctor.live import LiveModel  # noqa: PLC0415 - cases of source alone do without it

    live = LiveModel(built(file))
    assert live.arrays is not None
    return live.answer(live.arrays[0])


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in all_rules()])
def test_a_rule_has_a_page_and_cases_and_something_that_finds(rule: Rule) -> None:
    page = rule.module.__doc__ or ""
    assert page.startswith(f"{rule.code} {rule.name}: ")
    assert [heading for heading in HEADINGS if f"\n{heading}:\n" in page] == list(HEADINGS), "all headings, in order"
    assert all(rule.sections[heading] for heading in HEADINGS)
    own = [case for stem, case in CASES if stem == rule.module.__name__.rpartition(".")[2]]
    assert any(case.is_found for case in own), f"tests/rules has no case that {rule.code} finds"
    assert any(not case.is_found for case in own), f"tests/rules has no case in which {rule.code} must be silent"
    finders = [rule.finds(one) for one in ("in_source", "in_model", "in_failure")] + [
        hasattr(rule.module, "finding_of")
    ]
    assert any(finders)


def test_no_case_file_is_without_a_rule() -> None:
    assert {stem for stem, _ in CASES} <= {rule.module.__name__.rpartition(".")[2] for rule in all_rules()}


def test_examples_of_pages_are_python() -> None:
    for rule in all_rules():
        for heading in ("Example", "Instead"):
            text = rule.sections[heading]
            # A definition without its body says enough.
            last = text.splitlines()[-1]
            body = f"\n{' ' * (len(last) - len(last.lstrip()) + 4)}..." if last.rstrip().endswith(":") else ""
            inside = textwrap.indent(textwrap.dedent(text + body), "    ")
            try:
                compile(f"def around(self):\n{inside}", rule.code, "exec")
            except SyntaxError:
                assert rule.code == "KE001", f"{rule.code}: {heading}: {text}"
                assert heading == "Example"
