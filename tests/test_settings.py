"""Settings come from the command line and the nearest pyproject.toml, and a wrong one is said, not ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_estimator.doctor.settings import Settings, read_settings
from keras_estimator.errors import ConfigError


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def test_codes_names_and_beginnings_select_and_ignore():
    settings = Settings(select=("KE3", "numpy-on-symbolic"), ignore=("KE305",))
    wanted = {"KE301": "raw-tf-variable", "KE305": "seeds-not-saved", "KE201": "numpy-on-symbolic", "KE101": "x"}
    assert [code for code, name in wanted.items() if settings.wants(code, name)] == ["KE301", "KE201"]
    assert Settings().wants("KE999", "whatever")
    assert Settings(select=("ALL",)).wants("KE301", "raw-tf-variable")


def test_the_nearest_pyproject_counts_and_the_command_line_before_it(tmp_path: Path):
    project(tmp_path, '[tool.keras-estimator.doctor]\nselect = ["KE1"]\n')
    inner = project(tmp_path / "inner", "") if (tmp_path / "inner").mkdir() is None else tmp_path
    project(inner, '[tool.keras-estimator.doctor]\nselect = ["KE3"]\nignore = ["KE305"]\nexclude = ["old/*"]\n')
    (inner / "deep").mkdir()
    found = read_settings(inner / "deep")
    assert (found.select, found.ignore, found.exclude, found.root) == (("KE3",), ("KE305",), ("old/*",), inner)
    found = read_settings(inner / "deep", ["KE2"], ["KE201"])
    assert (found.select, found.ignore) == (("KE2",), ("KE305", "KE201"))


def test_a_pyproject_without_our_table_is_passed_over(tmp_path: Path):
    project(tmp_path, '[tool.keras-estimator.doctor]\nselect = ["KE1"]\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    project(inner, '[tool.ruff]\nselect = ["F"]\n')
    assert read_settings(inner).select == ("KE1",)


def test_what_is_ignored_in_some_files(tmp_path: Path):
    text = '[tool.keras-estimator.doctor.per-file-ignores]\n"tests/*" = ["KE1"]\n"old.py" = ["ALL"]\n'
    settings = read_settings(project(tmp_path, text))
    assert settings.wants("KE101", "x", str(tmp_path / "net.py"))
    assert not settings.wants("KE101", "x", str(tmp_path / "tests" / "net.py"))
    assert settings.wants("KE301", "x", str(tmp_path / "tests" / "net.py"))
    assert not settings.wants("KE301", "x", str(tmp_path / "deep" / "old.py"))


def test_folders_that_are_nobodys_work_are_passed_over(tmp_path: Path):
    settings = Settings(exclude=("old/*", "gen_*.py"), root=tmp_path)
    paths = ["net.py", ".venv", "__pycache__", "build", "gen_1.py", "old/net.py"]
    assert [path for path in paths if settings.excludes(tmp_path / path)] == paths[1:]


@pytest.mark.parametrize(
    "table",
    [
        'select = "KE1"',
        "ignore = [1]",
        'slect = ["KE1"]',
        'per-file-ignores = ["KE1"]',
        'select = ["KE9"]',
        'ignore = ["no-such-rule"]',
        "select = [",
    ],
)
def test_a_wrong_setting_is_an_error(tmp_path: Path, table: str):
    with pytest.raises(ConfigError) as caught:
        read_settings(project(tmp_path, f"[tool.keras-estimator.doctor]\n{table}\n"))
    assert caught.value.fix


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 10_000, "tool = 3", "[tool]\nkeras-estimator = 3", "a = " + "9" * 10_000]
)
def test_a_file_that_cannot_be_read_is_an_error(text: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be used"):
        read_settings(project(tmp_path, text))
