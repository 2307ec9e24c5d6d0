"""What the prose shows runs: Python in README and docs, from top to bottom, and the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import keras_estimator

REPOSITORY = Path(__file__).parent.parent
SOURCE = Path(keras_estimator.__file__).parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
# The pages of rules show lines out of a class; their cases in tests/rules are run instead.
PAGES_WITH_PYTHON = [
    path for path in PAGES if "```python" in path.read_text(encoding="utf-8") and path.parent.name != "rules"
]
MODULES = [
    ".".join(["keras_estimator", *path.relative_to(SOURCE).with_suffix("").parts])
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES_WITH_PYTHON, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_python_snippet_runs_after_those_above_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    document = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], path=str(REPOSITORY)).parse(path)
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_give_what_they_show(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert results.attempted > 0
    assert results.failed == 0
