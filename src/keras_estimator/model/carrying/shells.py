"""The flat form of an object graph: one record for each object that is made anew, its parts by number."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from typing import Any

# Most parts of a model are such values: they hold nothing, and are shared.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type})


class Target(enum.Enum):
    """Where a copy is made."""

    THIS_PROCESS = "this process"
    ANOTHER_PROCESS = "another process"


class NotCarriedError(Exception):
    """An object belongs to this process; the text is what to do instead."""


@dataclasses.dataclass(slots=True)
class Record:
    """One object, taken apart.

    While the graph is walked the parts are the original objects; afterwards those that are made anew
    are `Part`s and everything else is shared as it is.

    Attributes:
        kind: How it is put together again; `put_together.py` lists the kinds.
        source: What its shell is made of, such as its class.
        attributes: What its `__dict__` holds.
        slots: Class, name and value of each filled slot.
        items: What it holds in an order.
        pairs: What it holds by keys.
        always_new: Whether it is made anew even if nothing in it is.
        written: Parts that are state although they do not look it: variables that a function assigns.
        inside: Objects that come into being together with it, each with the record that finds it in the copy.
    """

    kind: str
    source: Any
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    slots: list[tuple[Any, str, Any]] = dataclasses.field(default_factory=list)
    items: list[Any] = dataclasses.field(default_factory=list)
    pairs: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    always_new: bool = True
    written: list[Any] = dataclasses.field(default_factory=list)
    inside: list[tuple[Any, Record]] = dataclasses.field(default_factory=list)

    def parts(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield each part that may hold others: the way to it, its name there, itself.

        The way is `"attribute"`, `"item"`, `"key"` or `"value"`.
        """
        plain = _PLAIN
        for name, part in self.attributes.items():
            if type(part) not in plain:
                yield "attribute", name, part
        for _, name, part in self.slots:
            if type(part) not in plain:
                yield "attribute", name, part
        for place, part in enumerate(self.items):
            if type(part) not in plain:
                yield "item", place, part
        for key, part in self.pairs:
            if type(key) not in plain:
                yield "key", key, key
            if type(part) not in plain:
                yield "value", key, part


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """The object of a record, by the record's number."""

    number: int

    def __reduce__(self) -> tuple[Any, ...]:
        return Part, (self.number,)  # there are tens of thousands; the way of a dataclass is slow


@dataclasses.dataclass(frozen=True, slots=True)
class Derived:
    """A key that is computed from an object: its id, a variable's unique id, the text of a node.

    Attributes:
        how: `"id"`, `"unique id"` or `"node"`.
        of: The object; a `Part` in a finished graph. Before, also a text that is a unique id of a variable if
            there is one by it, and is itself if there is none.
        place: For a node, which of the calls of the layer it is.
    """

    how: str
    of: Any
    place: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Strategy:
    """The `tf.distribute.Strategy` that is in force when the object is made.

    Attributes:
        none_for_default: Whether the default strategy is written as None.
    """

    none_for_default: bool = False
