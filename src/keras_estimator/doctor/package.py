"""Files that are looked at together: a class of one may inherit from a class of Keras by way of another one."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from keras_estimator.doctor.names import Names, kind_of_keras
from keras_estimator.doctor.source import NOT_PARSED, Source
from keras_estimator.errors import ConfigError
from keras_estimator.plain_files import read_plain_file

_MOST_ALIASES = 20
_MAX_BYTES = 4 * 2**20  # what is parsed takes a hundred times as much


class Package:
    """Some files, read and never run.

    Args:
        paths: Of the files.

    Attributes:
        paths: Those that were given, each once.
        texts: What is in each.

    Raises:
        ConfigError: one cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.texts = {path: _read(path) for path in paths}
        self.paths = list(self.texts)
        self._modules = {path: module_of(path) for path in self.paths}

    def source(self, path: Path, text: str) -> Source:
        """Return one of its files as rules see it.

        Raises:
            SyntaxError: It is no Python.
        """
        return Source(str(path), text, self._modules.get(path, ""), self)

    def has_keras(self, path: Path) -> bool:
        """Tell whether a file imports from one in which a class of Keras is defined, by its text."""
        text = self.texts.get(path, "")
        return any(module.rpartition(".")[2] in text for module in self._modules_with_classes)

    def canonical(self, dotted: str) -> str:
        """Return what stands behind a name that another file of these has given: `parts.L` is `keras.layers`."""
        for _ in range(_MOST_ALIASES):
            parts = dotted.split(".")
            prefixes = (".".join(parts[:end]) for end in range(len(parts), 1, -1))
            alias = next((one for one in prefixes if one in self._aliases), None)
            if alias is None:
                return dotted
            dotted = self._aliases[alias] + dotted[len(alias) :]
        return dotted  # they go round in a circle

    @cached_property
    def _modules_with_classes(self) -> set[str]:
        return {name.rpartition(".")[0] for name in self._bases if self.kind_of(name)}

    @cached_property
    def _bases(self) -> dict[str, list[str]]:
        """The bases of every class, by its dotted name."""
        return self._read[0]

    @cached_property
    def _aliases(self) -> dict[str, str]:
        """What a name stands for that a file imports or gives: `parts.L` to `keras.layers`."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        found: dict[str, list[str]] = {}
        aliases: dict[str, str] = {}
        for path, text in self.texts.items():
            if not self._modules[path] or not any(word in text for word in ("class ", "keras", "import")):
                continue
            try:
                nodes = list(ast.walk(ast.parse(text)))
            except NOT_PARSED:
                continue
            module = self._modules[path]
            names = Names(nodes, module, is_package=path.name == "__init__.py")
            for node in nodes:
                if isinstance(node, ast.ClassDef):
                    own = [f"{module}.{base.id}" if isinstance(base, ast.Name) else "" for base in node.bases]
                    known = [names.dotted(base) for base in node.bases]
                    found[f"{module}.{node.name}"] = [a or b for a, b in zip(known, own, strict=True)]
            # `from .layer import Layer` in an `__init__` makes `package.Layer` of `package.layer.Layer`.
            for name, dotted in names.imported.items():
                if dotted != f"{module}.{name}":
                    aliases[f"{module}.{name}"] = dotted
        return found, aliases

    def kind_of(self, dotted: str) -> str:
        """Return what kind of Keras class a dotted name stands for, also by way of its bases; empty if none."""
        seen: set[str] = set()
        waiting = [dotted]
        while waiting:
            name = self.canonical(waiting.pop())
            if kind := kind_of_keras(name):
                return kind
            if name not in seen and not name.startswith("keras."):
                seen.add(name)
                waiting += self._bases.get(name, ())
        return ""


def module_of(path: Path) -> str:
    """Return the dotted name of a file as a module of its package; a file beside no `__init__.py` has its own name."""
    path = path.resolve()
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.append(folder.name)
        folder = folder.parent
    return ".".join(reversed(parts))


def _read(path: Path) -> str:
    try:
        data = read_plain_file(path, _MAX_BYTES, follows_links=True)
    except OSError as error:
        raise ConfigError(
            "a file cannot be looked at",
            found=f"{path}: {error.strerror}",
            expected=f"a file with at most {_MAX_BYTES:,} bytes, and the right to read it",
            fix=f'exclude = ["{path.name}"]    in [tool.keras-estimator.doctor] of pyproject.toml',
        ) from error
    # What is no text in UTF-8 is found to be no Python.
    return data.decode("utf-8-sig", errors="surrogateescape")
