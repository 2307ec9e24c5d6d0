"""The zoo has every kind of the list of 61, says what must hold for each, and can be typed into a notebook."""

from __future__ import annotations

import ast
import collections
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zoo


def test_every_row_of_the_list_is_a_kind_or_cannot_be_made() -> None:
    assert sorted(zoo.TABLE) == list(range(1, 62))
    assert len(set(zoo.TABLE.values())) == 61
    refused = {name for name, *_ in zoo.CANNOT_BE_MADE.values()}
    assert set(zoo.TABLE.values()) - zoo.KINDS.keys() == refused
    assert len(refused) == 4
    assert len(zoo.KINDS.keys() - set(zoo.TABLE.values())) >= 40


MAKE_THEM = """
import json, sys
import zoo
said = {}
for row, (_, make, _) in zoo.CANNOT_BE_MADE.items():
    try:
        make()
    except (TypeError, ValueError) as error:
        said[row] = str(error)
print(json.dumps(said))
"""


@pytest.mark.slow
def test_what_cannot_be_made_is_refused_by_keras_itself() -> None:
    """In a process of its own: where an Estimator was made, NumPy works on tensors, and integers meet floats."""
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", MAKE_THEM], cwd=folder, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    for row, (_, _, wanted) in zoo.CANNOT_BE_MADE.items():
        assert wanted in said[str(row)]


def test_exceptions_are_few_and_have_their_reasons() -> None:
    for name, kind in zoo.KINDS.items():
        assert kind.exceptions.keys() <= zoo.CHECKS.keys(), name
        assert all(len(reason) > 20 for reason in kind.exceptions.values()), name
        assert len(kind.exceptions) <= len(zoo.CHECKS) / 2, name
        assert kind.says.keys() <= {"trains", "exports"}, name
    excepted = [name for name, kind in zoo.KINDS.items() if kind.exceptions]
    assert len(excepted) <= len(zoo.KINDS) / 10


def test_a_name_stands_in_one_file_because_a_notebook_has_one_namespace() -> None:
    places = collections.defaultdict(list)
    for file in (*zoo.FILES, "carried_in_processes"):
        tree = ast.parse(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = {target.id for target in targets if isinstance(target, ast.Name)} - {"KINDS"}
            names |= {node.name} if isinstance(node, ast.ClassDef | ast.FunctionDef) else set()
            for name in names:
                places[name].append(file)
    assert {name: files for name, files in places.items() if len(files) > 1 and name != "L"} == {}
