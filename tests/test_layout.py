"""The shape of the repository: short files with a purpose, plain names, a test for each, prose that is true."""

from __future__ import annotations

import ast
import builtins
import functools
import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "keras_estimator"
RULES = SOURCE / "doctor" / "rules"
SOURCE_FILES = sorted(SOURCE.rglob("*.py"))
TEST_FILES = sorted(path for path in (REPOSITORY / "tests").rglob("*.py") if "data" not in path.parts)
BENCH_FILES = sorted((REPOSITORY / "bench").glob("*.py"))  # not the environments that it makes below
PROSE = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
OTHER_FILES = [
    REPOSITORY / name
    for name in ("Makefile", "pyproject.toml", "requirements-dev.lock", "requirements-oldest.lock", ".ci/run")
]

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 40
MOST_LINES_OF_A_RULE = 150
VAGUE = {"util", "utils", "helper", "helpers", "misc", "common", "manager", "handler", "base", "core", "impl", "lib"}

# Besides interfaces and errors, what a class may inherit from: their users override what they need.
OPEN_CLASSES = {"Hook", "Exporter"}

# Built-in exceptions that are part of a protocol of Python and not a message to a person.
PROTOCOL_EXCEPTIONS = {
    "AttributeError": "what __getattr__ has to raise",
    "KeyError": "what __getitem__ of a mapping has to raise",
    "KeyboardInterrupt": "what Ctrl-C has to raise",
    "NotImplementedError": "an abstract member was called",
    "StopIteration": "what __next__ has to raise",
    "SystemExit": "the exit status of a command",
}


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=str(path))


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=relative)


def first_line(path: Path) -> str:
    return (ast.get_docstring(tree(path)) or "").split("\n")[0]


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


@functools.cache
def classes(path: Path) -> dict[str, set[str]]:
    """Return the names of the bases of each class, without module and type arguments."""
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    return {node.name: {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases} for node in nodes}


def words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def names_of_tests(path: Path) -> set[str]:
    """Return the names a test file of this source file may have: with or without its folders; a rule has its cases."""
    if path.parent == RULES:
        return {f"{path.stem}.md"}
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return {f"test_{'_'.join(parts[start:])}.py" for start in range(len(parts))}


@each([*SOURCE_FILES, *TEST_FILES, *BENCH_FILES])
def test_a_file_says_in_one_sentence_what_it_is_for(path: Path):
    assert re.fullmatch(r"\S.*[^.]\.", first_line(path)), "the first line of the docstring is no sentence"


@each([*SOURCE_FILES, *TEST_FILES, *BENCH_FILES])
def test_a_file_is_short(path: Path):
    assert len(text(path).splitlines()) <= MOST_LINES_OF_A_FILE


@each([path for path in SOURCE_FILES if path.parent == RULES])
def test_a_rule_is_shorter(path: Path):
    assert len(text(path).splitlines()) <= MOST_LINES_OF_A_RULE


@each(SOURCE_FILES)
def test_its_functions_are_short(path: Path):
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: lines_without_docstring(node) for node in functions}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


@each(SOURCE_FILES)
def test_names_are_plain(path: Path):
    names = [*path.relative_to(SOURCE).with_suffix("").parts, *classes(path)]
    assert [name for name in names if words(name) & VAGUE] == []


@each(SOURCE_FILES)
def test_a_class_is_an_interface_or_final(path: Path):
    """Nothing concrete of ours is inherited from; what a class needs it is given."""
    ours = {name: bases for file in SOURCE_FILES for name, bases in classes(file).items()}
    interfaces = {name for name, bases in ours.items() if "Protocol" in bases or name in OPEN_CLASSES}
    errors = {name for name in ours if name.endswith("Error")}
    for name, bases in classes(path).items():
        assert bases & ours.keys() <= interfaces | errors, f"{name}({', '.join(sorted(bases))})"


@each([path for path in SOURCE_FILES if path.name != "__init__.py"])
def test_a_source_file_has_a_test_file(path: Path):
    there = {test.name for test in [*TEST_FILES, *(REPOSITORY / "tests" / "rules").glob("*.md")]}
    assert names_of_tests(path) & there, f"none of {sorted(names_of_tests(path))} is there"


@each(SOURCE_FILES)
def test_what_is_raised_is_one_of_our_errors(path: Path):
    """Ours carry found, expected and fix; a built-in one is raised where Python asks for it, or the file catches it."""
    excepts = [node.type for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler) and node.type]
    caught = {name.id for types in excepts for name in ast.walk(types) if isinstance(name, ast.Name)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(raised)
            meant = name in PROTOCOL_EXCEPTIONS or caught & {name, "Exception"}
            assert meant or not hasattr(builtins, name), f"line {node.lineno}: raise {name}"


@each([path for path in SOURCE_FILES if path.relative_to(SOURCE).with_suffix("").parts[0] not in {"cli", "demo"}])
def test_inside_the_package_a_name_comes_from_its_module(path: Path):
    """Through the package itself a file could reach what stands above it, unseen by the import contracts."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            assert "keras_estimator" not in {alias.name for alias in node.names}, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "keras_estimator":
            assert {alias.name for alias in node.names} <= {found.stem for found in SOURCE.iterdir()}, (
                f"line {node.lineno}"
            )


@each([*SOURCE_FILES, *TEST_FILES, *BENCH_FILES])
def test_a_silenced_check_has_its_reason_beside_it(path: Path):
    for number, line in enumerate(text(path).splitlines(), start=1):
        for mark in re.finditer(r"# (noqa|type: ignore)(: [A-Z0-9, ]+|\[[a-z, -]+\])?(.*)", line):
            assert mark[2], f"line {number}: silence one rule, by its code"
            assert re.search(r"\w{3}", mark[3]), f"line {number}: say why"


@each(PROSE)
def test_links_lead_somewhere(path: Path):
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text(path))
    assert [link for link in links if not (path.parent / link).exists()] == []


@each([*SOURCE_FILES, *TEST_FILES, *BENCH_FILES])
def test_a_named_decision_is_there(path: Path):
    named = re.findall(r"docs/decisions/\d{4}[\w-]*\.md", text(path))
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@each(sorted((REPOSITORY / "docs" / "decisions").glob("*.md")))
def test_a_decision_fits_on_a_page(path: Path):
    assert re.match(r"# \S.*\n\n", text(path))
    assert len(text(path).splitlines()) <= 60
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)


def test_the_tree_in_the_readme_is_the_tree_of_the_source():
    shown = [path for path in SOURCE_FILES if path.name != "__init__.py" and path.parent != RULES]
    files = {path.relative_to(SOURCE).as_posix(): path for path in shown}
    files["doctor/rules/ke*.py"] = RULES / "__init__.py"  # docs/rules lists them
    files = dict(sorted(files.items()))
    width = max(map(len, files))
    tree_now = "\n".join(f"{name:<{width}}  {first_line(path)}" for name, path in files.items())
    assert f"```text\n{tree_now}\n```" in text(REPOSITORY / "README.md"), f"put into README.md:\n{tree_now}"


@each([*SOURCE_FILES, *TEST_FILES, *BENCH_FILES, *PROSE, *OTHER_FILES])
def test_nothing_names_a_folder_of_one_machine(path: Path):
    folders = "|".join(("home", "root", "Users", "work", "mnt", "opt"))
    assert re.findall(rf"(?<![\w.:/-])/(?:{folders})/\w+", text(path)) == []


@pytest.mark.parametrize("name", ["requirements-dev.lock", "requirements-oldest.lock"])
def test_a_lock_names_no_host_and_pins_every_requirement(name: str):
    project = tomllib.loads(text(REPOSITORY / "pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    lock = text(REPOSITORY / name)
    assert re.findall(r"^.*(?:://|--index|--find-links|--extra-index).*$", lock, re.M) == []
    for requirement in [*project["dependencies"], *extras["demo"], *extras["dev"]]:
        package = re.split(r"[<>=;\s]", requirement)[0]
        assert re.search(rf"^{package}==", lock, re.M), f"{package} is not locked; run: make lock"


def test_the_oldest_that_is_tested_is_the_oldest_that_is_promised():
    project = tomllib.loads(text(REPOSITORY / "pyproject.toml"))["project"]
    lock = text(REPOSITORY / "requirements-oldest.lock")
    for requirement in (*project["dependencies"], *project["optional-dependencies"]["tensorflow"]):
        package, _, least = requirement.partition(">=")
        assert not least or re.search(rf"^{package}=={re.escape(least)}(\.0)*\s", lock, re.M), requirement


def test_make_help_lists_every_target_and_they_are_few():
    makefile = text(REPOSITORY / "Makefile")
    targets = re.findall(r"^([a-z]+):", makefile, re.M)
    assert len(targets) <= 11
    assert re.findall(r"^([a-z]+):.* ## \S", makefile, re.M) == targets
