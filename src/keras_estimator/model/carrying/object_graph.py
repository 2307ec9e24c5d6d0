"""Walk the live objects of a model and make a flat list of records, one for each object that a copy makes anew.

The walk goes breadth first over a queue, never by recursion: a graph of a thousand layers is no deeper
than one of two, and the first way found to an object is the shortest, which is the one that errors name.
"""

from __future__ import annotations

import contextlib
import gc
import re
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import keras

from keras_estimator.errors import BlueprintError
from keras_estimator.model.carrying import carried_parts, tensorflow_parts
from keras_estimator.model.carrying.shells import Derived, NotCarriedError, Part, Record, Target
from keras_estimator.model.carrying.taking_apart import take_apart
from keras_estimator.model.source_lines import where_assigned

# The smallest integer that is taken for an id; smaller ones are numbers of the user.
_SMALLEST_ID = 1 << 20
_OF_VARIABLES = frozenset({"variable", "inside a saved model"})
_WAITS = (
    "waits for the values that a restored tf.train.Checkpoint has for {}, and a copy does not; build the model and "
    "its optimizer before you restore, or restore the checkpoint into the copy"
)


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Wait with the collection of cycles: tens of thousands of new objects, none of them garbage, double the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class ObjectGraph:
    """What a copy of an object has to make anew.

    Args:
        to: Where the copy is made.

    Attributes:
        records: One for each object that is made anew, in the order in which they were found.
    """

    def __init__(self, to: Target) -> None:
        self.records: list[Record] = []
        self._to = to
        self._taken: dict[int, Record | None] = {}
        self._parts: dict[int, Part] = {}  # by id
        self._things: list[Any] = []  # an id is only unique while its object lives
        self._found_from: dict[int, tuple[Any, str, Any]] = {}
        self._inside: dict[int, tuple[Any, Record]] = {}
        self._variables: dict[str, Any] = {}  # by unique id

    @property
    def things(self) -> list[Any]:
        """Every object that the walk has seen, those that are shared as they are, too."""
        return [thing for thing in self._things if type(thing) is not Record]

    def reaches(self, thing: Any) -> bool:
        """Tell whether a copy makes an object anew that holds state."""
        return self._taken.get(id(thing)) is not None

    def number_of(self, thing: Any) -> int | None:
        """Return the number of the record of an object; None if it has none."""
        part = self._parts.get(id(thing))
        return None if part is None else part.number

    def waiting(self) -> list[tuple[str, str]]:
        """Say which objects wait for values of a `tf.train.Checkpoint`, which their copies do not.

        Returns:
            The path of each and what to say about it.
        """
        may_wait = carried_parts.may_wait
        found = [
            (thing, names)
            for thing in self._things
            if may_wait(type(thing)) and (names := carried_parts.waits_for(thing))
        ]
        return [(self.path_of(thing), _WAITS.format(", ".join(names))) for thing, names in found]

    def path_of(self, thing: Any) -> str:
        """Return the path to an object, as Python from `model` on."""
        return self._way_to(thing)[0]

    def add(self, root: Any) -> int | None:
        """Walk over everything that an object holds.

        Args:
            root: The object.

        Returns:
            The number of its record; None if it is shared as it is.

        Raises:
            BlueprintError: Something in it cannot be carried.
        """
        found = self.explore(root)
        new = self._that_are_made_anew(found)
        first = len(self.records)
        for thing in found:
            if id(thing) in new:
                self._parts[id(thing)] = Part(len(self.records))
                record = self._taken[id(thing)]
                assert record is not None
                self.records.append(record)
                if record.kind in _OF_VARIABLES and tensorflow_parts.kind_of(type(thing)) == "variable":
                    self._variables[carried_parts.unique_id_of(thing)] = thing
        for record in self.records[first:]:
            self._number_parts(record)
        return self.number_of(root)

    def explore(self, root: Any) -> list[Any]:
        """Take apart everything that can be reached and was not yet, without numbers for the records.

        Args:
            root: The object.

        Returns:
            What has a record, in order.

        Raises:
            BlueprintError: Something in it cannot be carried.
        """
        while True:
            first, known = len(self._things), len(self._inside)
            found, refused = self._walk(root)
            if len(self._inside) == known:
                if refused:
                    raise refused
                return found
            # Something may have been taken, or refused, for itself before it was known to be inside another object.
            for thing in self._things[first:]:
                self._taken.pop(id(thing), None)
                self._found_from.pop(id(thing), None)
            del self._things[first:]

    def _walk(self, root: Any) -> tuple[list[Any], BlueprintError | None]:
        """Return what has a record, in order, and the first refusal."""
        found: list[Any] = []
        refused = None
        queue = deque([root])
        while queue:
            thing = queue.popleft()
            if id(thing) in self._taken:
                continue
            self._things.append(thing)
            try:
                record = self._taken[id(thing)] = self._take(thing)
            except BlueprintError as error:
                self._taken[id(thing)] = None
                refused = refused or error
                continue
            if record is None:
                continue
            found.append(thing)
            for part, how in record.inside:
                self._inside.setdefault(id(part), (part, how))
                self._found_from.setdefault(id(part), (thing, "attribute", ".".join(how.source)))
                queue.append(part)
            for way, name, part in record.parts():
                of = part.of if type(part) is Derived else part
                if type(of) is not str and id(of) not in self._found_from and id(of) not in self._taken:
                    self._found_from[id(of)] = (thing, way, name)
                    queue.append(of)
        return found, refused

    def _take(self, thing: Any) -> Record | None:
        if type(thing) is Record:
            return thing  # an attribute that was taken apart with its owner
        if id(thing) in self._inside:
            return self._inside[id(thing)][1]
        try:
            return take_apart(thing, self._to)
        except NotCarriedError as refusal:
            raise self._error(thing, str(refusal)) from refusal

    def _that_are_made_anew(self, found: list[Any]) -> set[int]:
        """Return the ids of what is made anew: state, and whatever immutable holds some."""
        holders: dict[int, list[int]] = {}
        spreading: list[int] = []
        for thing in found:
            record = self._taken[id(thing)]
            assert record is not None
            spreading += [id(part) for part in record.written] if record.written else ()
            if record.always_new:
                spreading.append(id(thing))
                continue
            for _, _, part in record.parts():
                holders.setdefault(id(part), []).append(id(thing))
                if id(part) in self._parts:
                    spreading.append(id(part))
        new: set[int] = set()
        while spreading:
            key = spreading.pop()
            if key not in new:
                new.add(key)
                spreading.extend(holders.get(key, ()))
        return new

    def _number_parts(self, record: Record) -> None:
        for name, part in record.attributes.items():
            if id(part) in self._parts:
                record.attributes[name] = self._parts[id(part)]
        if record.slots:
            record.slots = [(cls, name, self._part(part)) for cls, name, part in record.slots]
        if record.items:
            as_item = self._key if record.kind == "set" else self._part
            record.items = [as_item(part) for part in record.items]
        if record.pairs:
            record.pairs = [(self._key(key), self._part(part)) for key, part in record.pairs]

    def _part(self, thing: Any) -> Any:
        return self._parts.get(id(thing), thing)

    def _key(self, thing: Any) -> Any:
        """Return a key of a dict or an element of a set; an id is written as the object that it is the id of."""
        if type(thing) is Derived and type(thing.of) is str:  # a text that may be the unique id of a variable
            variable = self._variables.get(thing.of)
            return thing.of if variable is None else Derived(thing.how, self._part(variable))
        if type(thing) is Derived:
            return Derived(thing.how, self._part(thing.of), thing.place)
        if type(thing) is int and thing > _SMALLEST_ID and thing in self._parts:
            return Derived("id", self._parts[thing])
        return self._part(thing)

    def _error(self, thing: Any, instead: str) -> BlueprintError:
        path, owner, attribute = self._way_to(thing)
        line = where_assigned(owner, attribute) if attribute else ""
        found = f"{type(thing).__module__}.{type(thing).__qualname__}"
        return BlueprintError(
            f"{path} cannot be carried into a copy of the model",
            found=f"{found}, assigned at {line}" if line else found,
            expected="values, arrays, variables, layers, and objects made of them",
            fix=f"{instead}; or take it away first: {_removal(path)}",
            rule="KE120",
        )

    def _way_to(self, thing: Any) -> tuple[str, Any, str]:
        """Return the path to an object as Python, the object whose attribute it is in, and that attribute."""
        steps: list[str] = []
        owner, attribute = None, ""
        while id(thing) in self._found_from:
            holder, way, name = self._found_from[id(thing)]
            if not attribute and (way == "attribute" or isinstance(holder, types.FunctionType)):
                owner, attribute = holder, _name_in(holder, way, name)
            steps.append(_step(holder, way, name))
            thing = holder
            if name == carried_parts.LAYERS_OF_MODEL and isinstance(holder, keras.Model) and len(steps) > 1:
                steps[-2:] = [self._place_among_layers(holder, steps[-2])]
        return "model" + "".join(reversed(steps)), owner, attribute

    def _place_among_layers(self, model: Any, step: str) -> str:
        inside = vars(model)[carried_parts.LAYERS_OF_MODEL][int(step.strip("[]"))]
        places = [place for place, layer in enumerate(model.layers) if layer is inside]
        return f".layers[{places[0]}]" if places else f".{carried_parts.LAYERS_OF_MODEL}{step}"


def _name_in(holder: Any, way: str, name: Any) -> str:
    """Return the name of what a function holds: of a default, of a variable of its closure, of a global."""
    if not isinstance(holder, types.FunctionType) or way != "item":
        return str(name)
    defaults = len(holder.__defaults__ or ())
    code = holder.__code__
    arguments = code.co_varnames[: code.co_argcount]
    found: str = arguments[name - defaults] if name < defaults else code.co_freevars[name - defaults]
    return found


def _step(holder: Any, way: str, name: Any) -> str:
    if isinstance(holder, types.FunctionType):
        kind = {"attribute": ".", "item": " closure or default ", "value": " global "}.get(way, " ")
        return f"{kind}{_name_in(holder, way, name)}"
    if isinstance(holder, types.CellType | types.MethodType):
        return ""
    if way == "attribute":
        return f".{name}"
    return f" key {name!r}" if way == "key" else f"[{name!r}]"


def _removal(path: str) -> str:
    return f"{path} = None" if re.fullmatch(r"[\w.]+(\[\w+\][\w.]*)*", path) else f"replace {path} by None"
