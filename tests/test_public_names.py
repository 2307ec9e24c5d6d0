"""The public names are those of public_names.txt; each leads to its object however it is reached."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import keras_estimator as ke

NAMES = (Path(__file__).parent / "public_names.txt").read_text().split()


def imports_for_type_checkers() -> dict[str, str]:
    tree = ast.parse(Path(ke.__file__).read_text())
    return {
        alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("keras_estimator.")
        for alias in node.names
        if alias.asname == alias.name
    }


def test_the_public_names_are_the_recorded_ones():
    assert ke.__all__ == NAMES


def test_python_and_type_checkers_are_told_the_same():
    assert imports_for_type_checkers() == ke._HOMES  # noqa: SLF001 - the two lists of one file


def test_dir_lists_every_public_name():
    assert set(NAMES) <= set(dir(ke))


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_leads_to_a_documented_object(name: str):
    assert getattr(ke, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Estimater'"):
        ke.Estimater  # noqa: B018 - reading it is the test


def test_no_module_takes_the_place_of_a_public_name():
    """Python binds an imported module in its package, over what `__getattr__` would have found."""
    modules = {path.stem for path in Path(ke.__file__).parent.iterdir()}
    assert not modules & set(NAMES)


def test_a_star_import_gives_the_public_names():
    program = "from keras_estimator import *; import keras_estimator as ke; print(set(ke.__all__) <= set(globals()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
