"""The pages of the rules say what the rules say, in Markdown and in a terminal, and the ones in docs are up to date."""

from __future__ import annotations

import io
import linecache
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from keras_estimator.doctor import pages
from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.pages import fix_of, index_of, list_of, page_of, terminal_page, write_pages
from keras_estimator.doctor.rule import HEADINGS, Rule, all_rules, rule_of

DOCS = Path(__file__).parent.parent / "docs" / "rules"
PAGE = '''KE999 odd-texts: `__init__` of a | class takes **kwargs and an <odd> _word_.

What it finds:
    A sentence of
    two lines with `code|in it`.

    - a list
    - of *two*

Why it matters:
    Because.

If ignored:
    Nothing: x_y * z.

Example:
    """Has ``` in it."""

Instead:
    def call(self, x):
        return x

Fix:
    Safe: nothing changes.

Evidence:
    [1] none.
'''


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rule:
    path = tmp_path / "ke999_odd_texts.py"
    path.write_text("FIX = Applicability.UNSAFE, Applicability.DISPLAY\n")
    module = ModuleType("odd.rules.ke999_odd_texts", PAGE)
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return Rule("KE999", "odd-texts", Severity.WARNING, module)


def known(code: str) -> Rule:
    found = rule_of(code)
    assert found is not None
    return found


# --- Markdown ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in all_rules()])
def test_a_page_has_all_that_the_rule_says(rule: Rule):
    page = page_of(rule)
    assert page.startswith(f"# {rule.code} {rule.name}\n")
    assert re.findall(r"^## (.*)$", page, re.M) == list(HEADINGS)
    fences = re.findall(r"^```python\n(.*?)\n```$", page, re.M | re.S)
    assert fences == [rule.sections["Example"], rule.sections["Instead"]]
    text = page.replace("\\", "")
    for heading in HEADINGS:
        assert rule.sections[heading].replace("\\", "") in text
    assert f"**Severity:** {rule.severity.value}" in page


def test_nothing_in_a_text_means_something_in_markdown_but_code_and_lists(rule: Rule):
    page = page_of(rule)
    assert "`__init__` of a | class takes \\*\\*kwargs and an \\<odd> \\_word\\_.\n" in page
    assert "\n- a list\n- of \\*two\\*\n" in page
    assert "Nothing: x_y * z." in page
    assert '````python\n"""Has ``` in it."""\n````\n' in page
    assert "\\[1\\] none." in page


def test_the_index_is_a_table_by_family(rule: Rule):
    index = index_of([rule, known("KE201"), known("KE101"), known("KE102")])
    assert re.findall(r"^## (.*)$", index, re.M) == ["KE1xx Saving and copying", "KE2xx One graph", "KE9xx"]
    rows = [line for line in index.splitlines() if line.startswith("| [KE")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "[KE101](KE101.md)", "[KE102](KE102.md)", "[KE201](KE201.md)", "[KE999](KE999.md)",
    ]  # fmt: skip
    assert "| numpy-on-symbolic | error | safe, unsafe, by hand | A NumPy function is applied" in rows[2]
    assert re.split(r"(?<!\\)\|", rows[3])[5].strip().startswith("`__init__` of a \\| class"), "one cell"


def test_every_family_has_a_sentence():
    assert {rule.code[:3] for rule in all_rules()} <= set(pages.FAMILIES)


def test_the_fixes_of_a_rule_are_told_in_words(rule: Rule):
    assert fix_of(known("KE201")) == "safe, unsafe, by hand"
    assert fix_of(known("KE001")) == "none"
    assert fix_of(rule) == "safe, unsafe, by hand", "what the code uses, and what the page says"
    Path(str(rule.module.__file__)).write_text("FIX = made_elsewhere()\n")
    linecache.checkcache()
    assert fix_of(rule) == "safe"


def test_pages_are_written_and_those_of_no_rule_are_removed(tmp_path: Path):
    folder = tmp_path / "docs" / "rules"
    folder.mkdir(parents=True)
    for name in ("KE998.md", "notes.md", "KE1.md"):
        (folder / name).write_text("old")
    write_pages(folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "notes.md", "KE1.md", *(f"{rule.code}.md" for rule in all_rules())}
    assert (folder / "KE201.md").read_text(encoding="utf-8") == page_of(known("KE201"))


def test_the_pages_in_docs_are_up_to_date():
    made = pages.pages(all_rules())
    there = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    stale = sorted(name for name in {*made, *there} if made.get(name) != there.get(name))
    assert stale == [], f"renew them: {pages.COMMAND}"


# --- in a terminal ----------------------------------------------------------------------------------------------------


def test_a_page_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]):
    page = terminal_page(known("KE201"))
    assert "\x1b" not in page
    assert max(len(line) for line in page.splitlines()) <= 100
    assert [line for line in page.splitlines() if line in HEADINGS] == list(HEADINGS)
    assert "\nExample\n    y = np.sin(x)\n" in page
    assert "severity: error" in page
    assert "silence:  # noqa: KE201" in page
    assert not any(line.endswith(" ") for line in page.splitlines())


def test_a_page_in_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    page = terminal_page(known("KE201"), in_colour=True)
    assert "\x1b[1mKE201 numpy-on-symbolic" in page
    assert "\x1b[36m`np.sin(x)`" in page
    plain = re.sub(r"\x1b\[[\d;]*m", "", page)
    assert max(len(line) for line in plain.splitlines()) <= 60
    Console(file=io.StringIO()).print(page)  # it is well-formed


def test_texts_are_filled_and_lists_stay_lists(rule: Rule):
    page = terminal_page(rule)
    assert "\n    A sentence of two lines with `code|in it`.\n\n    - a list\n    - of *two*\n" in page
    assert "\n    def call(self, x):\n        return x\n" in page


def test_the_list_names_every_rule():
    listed = list_of(all_rules())
    assert re.findall(r"^  (KE\d{3}) ", listed, re.M) == [rule.code for rule in all_rules()]
    assert "\x1b" not in listed
    assert max(len(line) for line in listed.splitlines()) <= 100
