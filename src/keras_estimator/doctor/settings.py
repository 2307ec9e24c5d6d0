"""What to look for: codes to select and to ignore, from the command line and from `[tool.keras-estimator.doctor]`."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_estimator.doctor.rule import all_rules
from keras_estimator.errors import ConfigError
from keras_estimator.plain_files import read_plain_file

_TABLE = "[tool.keras-estimator.doctor]"
_MAX_BYTES = 16 * 2**20
_LISTS = ("select", "ignore", "exclude")
_NOT_OF_THE_USER = (".*", "__pycache__", "node_modules", "site-packages", "build", "dist", "venv", "*.egg-info")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to look for.

    Attributes:
        select: Codes, names or beginnings of codes (`KE2`); empty for all.
        ignore: The same, left out.
        exclude: Patterns of paths or of names of files and folders that are passed over.
        per_file_ignores: Pattern of paths to what is ignored there.
        root: The folder to which patterns of paths are relative.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    root: Path = Path()

    def __post_init__(self) -> None:
        given = [*self.select, *self.ignore, *(code for _, codes in self.per_file_ignores for code in codes)]
        for code in given:
            if not any(_is_meant(rule.code, rule.name, code) for rule in all_rules()):
                raise ConfigError(
                    "no rule has this code",
                    found=f"{code!r}",
                    expected="a code such as KE201, the beginning of some such as KE2, or a name: raw-tf-variable",
                    fix="keras-estimator explain    lists all rules",
                )

    def wants(self, code: str, name: str, file: str = "") -> bool:
        """Tell whether the findings of a rule are wanted, in a file."""
        if self.select and not any(_is_meant(code, name, one) for one in self.select):
            return False
        ignored = [*self.ignore]
        for pattern, codes in self.per_file_ignores:
            ignored += codes if file and self._matches(file, pattern) else ()
        return not any(_is_meant(code, name, one) for one in ignored)

    def excludes(self, path: Path) -> bool:
        """Tell whether a file or folder is passed over."""
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in _NOT_OF_THE_USER):
            return True
        return any(self._matches(str(path), pattern) for pattern in self.exclude)

    def _matches(self, file: str, pattern: str) -> bool:
        path = Path(file)
        relative = os.path.relpath(path, self.root)
        return any(fnmatch.fnmatch(one, pattern) for one in (relative, path.name, str(path)))


def read_settings(near: Path, select: Iterable[str] = (), ignore: Iterable[str] = ()) -> Settings:
    """Return the settings of the nearest pyproject.toml, with those of the command line before them.

    Args:
        near: A file or folder; the settings are looked for there and above.
        select: Replaces what the file selects.
        ignore: Added to what the file ignores.

    Raises:
        ConfigError: The table has other keys, or values of other kinds, or codes that no rule has.
    """
    near = near.resolve()
    for folder in (near, *near.parents):
        file = folder / "pyproject.toml"
        table = _table(file) if file.is_file() else None
        if table is not None:
            break
    else:
        folder, table = Path.cwd(), {}
    per_file = table.get("per-file-ignores", {})
    return Settings(
        tuple(select) or tuple(table.get("select", ())),
        (*table.get("ignore", ()), *ignore),
        tuple(table.get("exclude", ())),
        tuple((pattern, tuple(codes)) for pattern, codes in per_file.items()),
        folder,
    )


def _table(file: Path) -> dict[str, Any] | None:
    """Return our table of a pyproject.toml, checked; None if it has none."""
    try:
        text = read_plain_file(file, _MAX_BYTES, follows_links=True).decode()
        table = tomllib.loads(text).get("tool", {}).get("keras-estimator", {}).get("doctor")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise _wrong(file, str(error)) from error
    if table is None:
        return None
    if not isinstance(table, dict):
        raise _wrong(file, f"{table!r}")
    for key, value in table.items():
        is_table = key == "per-file-ignores" and isinstance(value, dict)
        lists = value.values() if is_table else [value]
        if not (is_table or key in _LISTS) or not all(map(_is_list_of_texts, lists)):
            raise _wrong(file, f"{key} = {value!r}")
    return table


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _wrong(file: Path, found: str) -> ConfigError:
    return ConfigError(
        f"{_TABLE} of {file} cannot be used",
        found=found,
        expected="select, ignore and exclude as lists of texts, per-file-ignores as a table of such lists",
        fix='ignore = ["KE305"]',
    )


def _is_meant(code: str, name: str, given: str) -> bool:
    return given == name or (given != "" and code.startswith(given.upper())) or given.upper() == "ALL"
