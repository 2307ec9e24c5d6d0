"""Whether a class or a function of a file is in the registry of Keras, and the decorator that puts it there."""

from __future__ import annotations

import ast
from pathlib import Path

from keras_estimator.doctor.findings import Applicability, Fix
from keras_estimator.doctor.rewriting import decorate, needs_import
from keras_estimator.doctor.source import Source

_REGISTERS = "register_keras_serializable"
_BY_CALL = (_REGISTERS, "CustomObjectScope", "custom_object_scope")


def is_decorated(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Tell whether a decorator registers a class or a function.

    Args:
        node: Its definition.
    """
    # Under whatever name: packages wrap the decorator of Keras in one of their own (`keras_hub_export`).
    texts = [ast.unparse(line) for line in node.decorator_list]
    return any("export" in text or "regist" in text for text in texts)


def registered_by_call(source: Source) -> set[str]:
    """Return the names that are handed to the decorator of Keras as to a function, or given as custom objects.

    Args:
        source: The file.
    """
    if not any(word in source.text for word in _BY_CALL):
        return set()
    found: set[str] = set()
    for call in source.calls:
        if any(word in ast.unparse(call.func) for word in _BY_CALL):
            found |= {node.id for value in call.args for node in ast.walk(value) if isinstance(node, ast.Name)}
    return found


def registering(source: Source, node: ast.ClassDef | ast.FunctionDef) -> Fix:
    """Return the fix that registers a class or a function under the name of its package, or of its file.

    Args:
        source: The file.
        node: The definition, which stands in no function.
    """
    # A file beside no `__init__` may have been imported under any name.
    stem, (package, dot, _) = Path(source.file).stem, source.module.partition(".")
    package = package if dot or stem == "__init__" else stem
    alias = source.names.alias_of("keras")
    decorator = f'{alias or "keras"}.saving.{_REGISTERS}(package="{package}")'
    changes = [decorate(node, decorator), *([] if alias else [needs_import("keras")])]
    return Fix(f"add @keras.saving.{_REGISTERS}(package={package!r})", Applicability.SAFE, tuple(changes))
