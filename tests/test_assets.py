"""What draws a page is what its authors published, with their licences, and is in the wheel."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from keras_estimator.report import assets

FILES = [*(f"vendored/{name}" for name in assets.VENDORED), "page.js", "page.css"]


@pytest.mark.parametrize("name", assets.VENDORED)
def test_a_library_is_the_file_that_was_published(name: str):
    data = resources.files("keras_estimator.report").joinpath("vendored", name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == assets.VENDORED[name][1]


def test_nothing_else_is_shipped():
    names = {path.name for path in resources.files("keras_estimator.report").joinpath("vendored").iterdir()}
    assert names == {*assets.VENDORED, "uPlot.LICENSE", "dagre.LICENSE"}


def test_the_script_carries_the_licences_and_asks_for_no_other_file():
    script = assets.script()
    assert script.count("Permission is hereby granted, free of charge") == 2
    assert "Leon Sorokin" in script
    assert "Chris Pettitt" in script
    assert "sourceMappingURL" not in script


def test_a_page_takes_only_the_libraries_that_draw_it():
    assert "Leon Sorokin" not in assets.script("dagre")
    assert assets.script("dagre").count("Permission is hereby granted, free of charge") == 1
    assert ".uplot" not in assets.style("dagre")
    assert assets.style().endswith(assets.style("dagre"))


def test_the_head_of_a_page_lets_in_the_script_and_style_that_are_its_own():
    head = assets.head("a title", "a", "b")
    (content,) = [element.get("content") for element in head if element.get("http-equiv") == "Content-Security-Policy"]
    assert content == assets.policy("a", "b")
    assert [element.text for element in head if element.tag in ("title", "style")] == ["a title", "b"]


def test_script_and_style_cannot_end_their_elements():
    assert "</script" not in assets.script().lower()
    assert "<!--" not in assets.script()
    assert "</style" not in assets.style().lower()
    assert "\r" not in assets.script() + assets.style()  # a parser would make another text of it


def test_the_policy_forbids_everything_but_these_two():
    policy = assets.policy("a", "b")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.slow
def test_the_wheel_holds_them(tmp_path: Path):
    repository = Path(__file__).parent.parent
    options = ["--no-deps", "--no-build-isolation", "--quiet", "-w", tmp_path]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, repository], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"keras_estimator/report/{name}" for name in FILES} <= set(names)
    assert any(name.endswith("uPlot.LICENSE") and ".dist-info/" in name for name in names)
