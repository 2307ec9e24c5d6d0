"""Files that are looked at together know each other's classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_estimator.doctor.package import Package, module_of
from keras_estimator.errors import ConfigError


def files(folder: Path, texts: dict[str, str]) -> Package:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Package(sorted(folder.rglob("*.py")))


LAYERS = "import keras\nclass Mine(keras.layers.Layer): ...\nclass Deeper(Mine): ...\n"


def test_a_class_may_inherit_from_one_of_another_file(tmp_path: Path):
    package = files(
        tmp_path,
        {
            "p/__init__.py": "from p.layers import Mine\n",
            "p/layers.py": LAYERS,
            "p/net.py": "from .layers import Deeper\nfrom p import Mine\nclass A(Deeper): ...\nclass B(Mine): ...\n",
            "p/other.py": "class Mine: ...\nclass C(Mine): ...\n",
        },
    )
    kinds = {}
    for path in package.paths:
        kinds |= {one.name: one.kind for one in package.source(path, package.texts[path]).classes}
    assert kinds == {"Mine": "layer", "Deeper": "layer", "A": "layer", "B": "layer"}
    assert package.has_keras(tmp_path / "p" / "net.py")
    assert not package.has_keras(tmp_path / "p" / "other.py")


def test_classes_that_inherit_from_each_other_do_not_hang(tmp_path: Path):
    package = files(
        tmp_path,
        {
            "p/__init__.py": "",
            "p/a.py": "from p.b import B\nclass A(B): ...\n",
            "p/b.py": "from p.a import A\nclass B(A): ...\n",
        },
    )
    assert package.kind_of("p.a.A") == ""


def test_the_module_of_a_file(tmp_path: Path):
    files(tmp_path, {"p/__init__.py": "", "p/q/__init__.py": "", "p/q/net.py": "", "script.py": ""})
    assert module_of(tmp_path / "p" / "q" / "net.py") == "p.q.net"
    assert module_of(tmp_path / "p" / "q" / "__init__.py") == "p.q"
    assert module_of(tmp_path / "script.py") == "script"


def test_a_file_that_is_broken_does_not_hide_the_others(tmp_path: Path):
    package = files(tmp_path, {"p/__init__.py": "", "p/a.py": "class (", "p/layers.py": LAYERS})
    assert package.kind_of("p.layers.Deeper") == "layer"


def test_what_another_file_has_given_a_name_is_known_by_it(tmp_path: Path):
    package = files(
        tmp_path,
        {
            "p/__init__.py": "",
            "p/parts.py": "import keras\nL = keras.layers\nfrom tensorflow import keras as k\n",
            "p/net.py": "from p.parts import L, k\nclass A(L.Dense): ...\nmodel = k.Sequential([L.Lambda(f)])\n",
        },
    )
    path = tmp_path / "p" / "net.py"
    source = package.source(path, package.texts[path])
    assert [(one.name, one.is_of_builtin) for one in source.classes] == [("A", True)]
    assert [source.dotted(call.func) for call in source.calls] == ["keras.Sequential", "keras.layers.Lambda"]
    assert package.canonical("p.nowhere.L") == "p.nowhere.L"


def test_a_file_longer_than_any_program_is_named_and_not_read(tmp_path: Path):
    with (tmp_path / "long.py").open("wb") as file:
        file.truncate(2**40)  # it takes no room on the disk
    with pytest.raises(ConfigError, match="cannot be looked at") as caught:
        Package([tmp_path / "long.py"])
    assert caught.value.found.endswith("long.py: it has 1,099,511,627,776 bytes, more than 4,194,304")
