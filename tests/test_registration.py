"""Registration: which classes and functions of a file Keras finds again by name, and the decorator for the others."""

from __future__ import annotations

import ast

import pytest

from keras_estimator.doctor.registration import is_decorated, registered_by_call, registering
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.source import Source


@pytest.mark.parametrize(
    ("decorator", "registers"),
    [
        ('@keras.saving.register_keras_serializable(package="a")', True),
        ("@keras_hub_export('layers.Same')", True),
        ("@functools.cache", False),
        ("", False),
    ],
)
def test_a_decorator_registers_by_whatever_name(decorator: str, registers: bool) -> None:
    node = ast.parse(f"{decorator}\ndef same(x):\n    return x").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert is_decorated(node) is registers


def test_what_is_handed_to_the_decorator_or_to_a_scope_is_registered() -> None:
    source = Source(
        "a.py",
        "import keras\n"
        "keras.saving.register_keras_serializable('a')(near)\n"
        "with keras.saving.custom_object_scope({'far': far}):\n"
        "    use(other)\n",
    )
    assert registered_by_call(source) == {"near", "far"}
    assert registered_by_call(Source("a.py", "import keras\nuse(other)")) == set()


@pytest.mark.parametrize(
    ("file", "text", "module", "expected"),
    [
        (
            "models/mine.py",
            "from tensorflow import keras\n\n\ndef far(y, p):\n    return y - p\n",
            "",
            '@keras.saving.register_keras_serializable(package="mine")',
        ),
        (
            "models/mine.py",
            "import tensorflow as tf\n\n\ndef far(y, p):\n    return y - p\n",
            "models.mine",
            '@keras.saving.register_keras_serializable(package="models")',
        ),
    ],
)
def test_the_fix_names_the_package_or_the_file_and_imports_keras(
    file: str, text: str, module: str, expected: str
) -> None:
    source = Source(file, text, module)
    fix = registering(source, next(iter(source.functions.values())))
    after = changed(text, fix.changes)
    assert f"\n{expected}\ndef far(y, p):" in after
    assert "import keras" in after
    assert after.replace(f"{expected}\n", "").replace("import keras\n", "") == text.replace("import keras\n", "")
