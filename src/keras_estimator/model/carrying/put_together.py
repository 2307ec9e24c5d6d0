"""Put the records of an object graph together: allocate every shell first, then fill them.

Shells come from `object.__new__` and its like, never from a constructor of the user. What cannot be
changed once it is there (a tuple, a bound method) is made between the two, after what it holds.
"""

from __future__ import annotations

import collections
import copy
import functools
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_estimator.model.carrying import carried_parts, tensorflow_parts
from keras_estimator.model.carrying.shells import Derived, Part, Record, Strategy


class Assembly:
    """The copy that is being made.

    Args:
        records: What is made anew, by number; more may come until `put_together` is called.
    """

    def __init__(self, records: dict[int, Record]) -> None:
        self._records = records
        self._made: dict[int, Any] = {}
        self._namespaces: dict[int, dict[str, Any]] = {}

    def put_together(self) -> Any:
        """Return the object of the first record, made with everything that it holds.

        Returns:
            The copy.
        """
        records = sorted(self._records.items())
        for number, record in records:
            if record.kind not in _MADE_WHOLE:
                self.shell(number)
        for number, record in records:
            if record.kind in _MADE_WHOLE:
                self._make_whole(number)
        # A hash may need attributes, so these come before sets and keys.
        for number, record in records:
            self._fill_attributes(self._made[number], record)
        for late in (False, True):
            for number, record in records:
                fill = _FILL.get(record.kind)
                if fill is not None and (record.kind in _FILLED_LATE) == late:
                    fill(self, self._made[number], record)
        return self._made[0]

    def shell(self, number: int) -> Any:
        """Return the object of a record, which may not be filled yet."""
        if number not in self._made:
            record = self._records[number]
            if record.kind == "function":
                made = self._function_shell(record)
            elif record.kind == "variable":
                made = self._variable(record)
            else:
                made = _ALLOCATE[record.kind](record.source)
            self._made[number] = made
        return self._made[number]

    def part(self, part: Any) -> Any:
        """Return the object that a part stands for."""
        if type(part) is Part:
            return self._made[part.number]
        if type(part) is Derived:
            of = self.part(part.of)
            if part.how == "id":
                return id(of)
            return (
                carried_parts.unique_id_of(of) if part.how == "unique id" else carried_parts.node_text(of, part.place)
            )
        if type(part) is Strategy:
            return tensorflow_parts.current_strategy(none_for_default=part.none_for_default)
        return part

    def parts(self, items: Sequence[Any]) -> list[Any]:
        """Return the objects that parts stand for."""
        return [self.part(item) for item in items]

    def _make_whole(self, number: int) -> None:
        """Make an immutable object, after the immutable ones that it holds."""
        waiting = [number]
        while waiting:
            record = self._records[waiting[-1]]
            missing = [p.number for p in record.items if type(p) is Part and p.number not in self._made]
            if missing:
                waiting.extend(missing)
                continue
            made = waiting.pop()
            if made not in self._made:
                self._made[made] = _MADE_WHOLE[record.kind](record.source, self.parts(record.items))

    def _function_shell(self, record: Record) -> types.FunctionType:
        pattern = record.source
        defaults = len(pattern.__defaults__ or ())
        cells = [self.shell(cell.number) if type(cell) is Part else cell for cell in record.items[defaults:]]
        namespace = pattern.__globals__
        if any(type(value) is Part for _, value in record.pairs):
            # What the function reads by a global name is made anew, so it gets a copy of the namespace.
            namespace = self._namespaces.setdefault(id(namespace), dict(namespace))
        function = types.FunctionType(pattern.__code__, namespace, pattern.__name__, None, tuple(cells))
        function.__qualname__, function.__module__ = pattern.__qualname__, pattern.__module__
        function.__doc__, function.__annotations__ = pattern.__doc__, dict(pattern.__annotations__)
        return function

    def _variable(self, record: Record) -> Any:
        source = record.source
        if not isinstance(source, tuple):
            value = tensorflow_parts.value_of_variable(source, as_array=False)
            return tensorflow_parts.make_variable(value, tensorflow_parts.take_variable(source))
        record.source = None  # so that its array is given free before the next variable is made
        return tensorflow_parts.make_variable(*source)

    def _fill_attributes(self, made: Any, record: Record) -> None:
        if record.kind == "function":
            made.__kwdefaults__ = {name: self.part(part) for _, name, part in record.slots} or None
        elif record.kind != "variable":
            for cls, name, part in record.slots:
                cls.__dict__[name].__set__(made, self.part(part))
        if record.attributes:
            held = object.__getattribute__(made, "__dict__")
            for name, part in record.attributes.items():
                held[name] = self.part(part)


def _fill_function(assembly: Assembly, made: Any, record: Record) -> None:
    pattern = record.source
    count = len(pattern.__defaults__ or ())
    made.__defaults__ = tuple(assembly.parts(record.items[:count])) or None
    for name, part in record.pairs:
        if type(part) is Part:
            made.__globals__[name] = assembly.part(part)


def _fill_partial(assembly: Assembly, made: Any, record: Record) -> None:
    function, *arguments = assembly.parts(record.items)
    keywords = {name: assembly.part(part) for name, part in record.pairs}
    made.__setstate__((function, tuple(arguments), keywords, dict(made.__dict__)))


def _fill_dict(assembly: Assembly, made: Any, record: Record) -> None:
    if record.items:
        made.default_factory = assembly.part(record.items[0])
    insert = collections.OrderedDict.__setitem__ if isinstance(made, collections.OrderedDict) else dict.__setitem__
    for key, value in record.pairs:
        insert(made, assembly.part(key), assembly.part(value))


def _fill_cell(assembly: Assembly, made: Any, record: Record) -> None:
    if record.items:
        made.cell_contents = assembly.part(record.items[0])


def _fill_objects(assembly: Assembly, made: Any, record: Record) -> None:
    for place, part in enumerate(record.items):
        made.flat[place] = assembly.part(part)


def _fill_variable(assembly: Assembly, made: Any, record: Record) -> None:
    constraint = assembly.part(record.slots[0][2])
    if constraint is not None:
        carried_parts.set_constraint(made, constraint)


def _fill_pairs(assembly: Assembly, made: Any, record: Record) -> None:
    for key, value in record.pairs:
        made[assembly.part(key)] = assembly.part(value)


def _fill_tf_function(assembly: Assembly, made: Any, record: Record) -> None:
    tensorflow_parts.fill_function(made, assembly.part(record.items[0]), record.source[1])


def _fill_exception(assembly: Assembly, made: Any, record: Record) -> None:
    made.args = tuple(assembly.parts(record.items))


def _fill_with(method: Callable[[Any, Any], Any]) -> Callable[[Assembly, Any, Record], None]:
    def fill(assembly: Assembly, made: Any, record: Record) -> None:
        method(made, assembly.parts(record.items))

    return fill


def _shell_of_deque(source: tuple[type, int | None]) -> Any:
    cls, longest = source
    shell: collections.deque[Any] = collections.deque.__new__(cls)
    collections.deque.__init__(shell, (), longest)
    return shell


def _shell_of_dict(cls: type) -> Any:
    for base in (collections.OrderedDict, collections.defaultdict):
        if issubclass(cls, base):
            return base.__new__(cls)
    return dict.__new__(cls)


def _own_method(name: str, items: list[Any]) -> types.MethodType:
    of = items[0]
    return types.MethodType(next(vars(cls)[name] for cls in type(of).__mro__ if name in vars(cls)), of)


def _tuple(cls: type, items: list[Any]) -> Any:
    return tuple.__new__(cls, items)


_ALLOCATE: dict[str, Callable[[Any], Any]] = {
    "object": object.__new__,
    "exception": lambda cls: BaseException.__new__(cls),
    "list": list.__new__,
    "dict": _shell_of_dict,
    "set": set.__new__,
    "deque": _shell_of_deque,
    "array": lambda source: np.array(source, copy=True, subok=True),
    "given": lambda source: source,
    "namespace": types.SimpleNamespace.__new__,
    "objects": lambda source: np.empty(*source),
    "copied": copy.deepcopy,
    "cell": lambda source: types.CellType(),
    "partial": lambda cls: functools.partial.__new__(cls, print),
    "lock": lambda name: getattr(threading, name)(),
    "thread local": threading.local.__new__,
    "weak set": lambda cls: cls(),
    "weak dict": lambda cls: cls(),
    "wrapped dict": lambda source: source[0](_shell_of_dict(source[1])),
    "strategy": lambda source: tensorflow_parts.current_strategy(none_for_default=False),
    "tensor": lambda source: tensorflow_parts.make_tensor(*source),
    "table": lambda source: tensorflow_parts.make_table(
        source if isinstance(source, dict) else tensorflow_parts.take_table(source)
    ),
    "tf.function": lambda source: tensorflow_parts.shell_of_function(source[0]),
    "saved model": lambda source: tensorflow_parts.make_saved_model(
        source if isinstance(source, dict) else tensorflow_parts.take_saved_model(source)
    ),
}
_MADE_WHOLE: dict[str, Callable[[Any, list[Any]], Any]] = {
    "tuple": _tuple,
    "frozenset": lambda cls, items: frozenset.__new__(cls, items),
    "own method": _own_method,
    "method": lambda source, items: types.MethodType(*items),
    "built-in method": lambda name, items: getattr(items[0], name),
    "view": lambda name, items: getattr(items[0], name)(),
    "weak reference": lambda source, items: weakref.ref(items[0]),
    "cached function": lambda options, items: functools.lru_cache(**options)(items[0]),
    "wrapped tuple": lambda cls, items: cls(items[0]),
    "inside a saved model": lambda way, items: tensorflow_parts.part_of_saved_model(items[0], way),
}
_FILL: dict[str, Callable[[Assembly, Any, Record], None]] = {
    "list": _fill_with(list.extend),
    "deque": _fill_with(collections.deque.extend),
    "set": _fill_with(set.update),
    "dict": _fill_dict,
    "objects": _fill_objects,
    "cell": _fill_cell,
    "function": _fill_function,
    "partial": _fill_partial,
    "variable": _fill_variable,
    "exception": _fill_exception,
    "weak set": _fill_with(weakref.WeakSet.update),
    "weak dict": _fill_pairs,
    "wrapped dict": _fill_pairs,
    "tf.function": _fill_tf_function,
}
# These look at what they hold, so it has to be whole.
_FILLED_LATE = frozenset({"set", "dict", "weak set", "weak dict", "wrapped dict", "tf.function"})
