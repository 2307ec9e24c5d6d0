"""Remember what is found out about a class, for as long as the class lives."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

_Found = TypeVar("_Found")


def by_class(function: Callable[[type], _Found]) -> Callable[[type], _Found]:
    """Ask a function once for each class; one of a notebook cell can go, with all that its methods hold.

    Args:
        function: Of a class; its answer does not hold the class.

    Returns:
        The same function, faster.
    """
    found: dict[int, _Found] = {}
    kept: dict[int, Any] = {}

    def forget(number: int, gone: Any) -> None:
        del found[number], kept[number]

    @functools.wraps(function)
    def remembered(cls: type) -> _Found:
        number = id(cls)
        if number not in found:
            found[number] = function(cls)
            kept[number] = weakref.ref(cls, functools.partial(forget, number))
        return found[number]

    return remembered
