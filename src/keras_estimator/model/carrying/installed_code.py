"""Tell code that every installation has (Python's own, packages in site-packages) from code of the user."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

_OURS = __name__.partition(".")[0]
_FOLDERS = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_INSTALLED_UNDER = tuple(f"{Path(folder).resolve()}{os.sep}" for folder in sorted(_FOLDERS))


@functools.cache
def _is_installed(root: str) -> bool:
    if root == _OURS or root in sys.builtin_module_names or root in sys.stdlib_module_names:
        return True
    module = sys.modules.get(root)
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(str(Path(place).resolve()).startswith(_INSTALLED_UNDER) for place in places if place)


def is_library(name: str | None) -> bool:
    """Tell whether the module of a name is Python's own or an installed package, which another process has, too.

    Args:
        name: The name of a module; None if there is none.

    Returns:
        False for `__main__`, notebooks, and modules beside the user's script.
    """
    return name is not None and name != "__main__" and _is_installed(name.partition(".")[0])


def is_importable_from_a_library(thing: Any) -> bool:
    """Tell whether a function or class is found in a library under its own name.

    Args:
        thing: A function or class.

    Returns:
        False for what was made inside another function, and for code of the user.
    """
    module = getattr(thing, "__module__", None)
    if not is_library(module):
        return False
    found: Any = sys.modules.get(module or "")
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


def modules_of_the_user() -> list[ModuleType]:
    """Return the imported modules that another process may not have.

    Returns:
        Modules without `__main__`, which is never found in another process.
    """
    named: list[tuple[str, Any]] = [pair for pair in list(sys.modules.items()) if not is_library(pair[0])]
    modules = [(name, module) for name, module in named if name != "__main__" and isinstance(module, ModuleType)]
    return [module for name, module in modules if module.__name__ == name]
