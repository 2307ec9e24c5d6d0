"""The case files of the doctor's rules: code that a rule finds, what it says, what its fix makes of it, and silence.

A case file is Markdown. Each case is a second-level heading and fenced blocks:

    ## finds: what is wrong        or    ## silent: what is right        or    ## finds since Keras 3.15: ...
    ```python                      the code; with `def build():` in it, the live model is looked at, too
    ```text                        what is found, a line each, as `file.py:6:12 KE201 [*] message; fix`
    ```fixed  (or: fixed unsafe)   the code after --fix (or --unsafe-fixes)
"""

from __future__ import annotations

import dataclasses
import importlib.util
import linecache
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

KERAS = tuple(map(int, metadata.version("keras").split(".")[:2]))
FOLDER = Path(__file__).with_name("rules")
_BLOCK = re.compile(r"^```(?P<kind>[a-z ]+)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclasses.dataclass(frozen=True)
class Case:
    """One case of a rule."""

    code: str
    title: str
    is_found: bool
    source: str
    said: str
    fixed: str | None
    is_unsafe: bool

    @property
    def has_model(self) -> bool:
        return re.search(r"^def build\(", self.source, re.M) is not None


def cases(file: Path) -> list[Case]:
    """Read a case file."""
    code = file.stem.partition("_")[0].upper()
    found = []
    for part in re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.M)[1:]:
        heading, _, rest = part.partition("\n")
        kind, _, title = heading.partition(": ")
        kind, _, since = kind.partition(" since Keras ")
        assert kind in ("finds", "silent"), f"{file.name}: {heading}"
        if since and tuple(map(int, since.split("."))) > KERAS:
            continue
        blocks = {match["kind"]: match["text"] for match in _BLOCK.finditer(rest)}
        assert set(blocks) <= {"python", "text", "fixed", "fixed unsafe"}, f"{file.name}: {heading}: {set(blocks)}"
        assert (kind == "finds") == ("text" in blocks), f"{file.name}: {heading}"
        fixed = blocks.get("fixed", blocks.get("fixed unsafe"))
        case = Case(
            code, title, kind == "finds", blocks["python"], blocks.get("text", ""), fixed, "fixed unsafe" in blocks
        )
        found.append(case)
    return found


def loaded(path: Path) -> ModuleType:
    """Import a file under a name of its own, as `python file.py` would, but for its `__name__`."""
    linecache.checkcache(str(path))
    name = f"case_{path.parent.name.replace('-', '_')}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def built(path: Path, seed: int = 0) -> Any:
    """Return the model that a file builds, from the same seed each time."""
    import keras  # noqa: PLC0415 - cases without a model do without it

    keras.utils.set_random_seed(seed)
    return loaded(path).build()
