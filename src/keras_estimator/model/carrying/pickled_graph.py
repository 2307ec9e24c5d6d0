"""Write the object graph of a model as bytes for another process, and put the model together from them.

Reading runs code: classes and functions of the user travel by value, through cloudpickle. Every object that
has a record is written as a number wherever it is mentioned, in a closure, a class or a global, too.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import threading
import types
from collections.abc import Iterator
from typing import Any

from keras_estimator.errors import BlueprintError
from keras_estimator.model.anatomy import names_in
from keras_estimator.model.carrying import bytes_head, tensorflow_parts
from keras_estimator.model.carrying.installed_code import is_library, modules_of_the_user
from keras_estimator.model.carrying.object_graph import ObjectGraph, no_garbage_collection
from keras_estimator.model.carrying.put_together import Assembly
from keras_estimator.model.carrying.shells import Derived, Part, Record, Strategy, Target
from keras_estimator.model.carrying.taking_apart import take_apart

# They hold numbers and no code, so each is written on its own and given free at once.
_HEAVY = frozenset({"variable", "array", "tensor", "table", "copied", "saved model"})
# What pickle writes itself wherever it is mentioned, if it has no record.
_WRITTEN_BY_PICKLE = frozenset(
    "list dict set frozenset tuple deque array objects copied function cell method partial exception".split()
) | {"own method", "built-in method", "view", "cached function", "weak reference"}
# Immutable objects cannot be mentioned by number before they are whole.
_NEVER_BY_NUMBER = frozenset(
    {"tuple", "frozenset", "method", "own method", "built-in method", "view", "cached function", "weak reference"}
    | {"inside a saved model"}
)
_NO_RECORD = frozenset(
    {type(None), bool, int, float, str, bytes, type, tuple, types.CodeType, pickle.PickleBuffer}
    | {Part, Derived, Strategy}
)
_BUILT_IN_CONTAINERS = frozenset({list, dict, set, frozenset})
_BY_VALUE = threading.RLock()


def write_graph(root: Any) -> bytes:
    """Write an object and everything that it holds.

    Args:
        root: The model.

    Returns:
        Bytes for `read_graph`; not the same ones each time.

    Raises:
        BlueprintError: Something in it cannot be carried.
    """
    file = io.BytesIO()
    bytes_head.begin(file)
    with _by_value(), no_garbage_collection():
        graph = ObjectGraph(Target.ANOTHER_PROCESS)
        graph.add(root)
        try:
            _Writer(graph, file).write()
        except (TypeError, pickle.PicklingError, AttributeError, RecursionError) as error:
            raise BlueprintError(
                "code of the model cannot be carried to another process",
                found=f"{type(error).__name__}: {error}",
                expected="functions and classes whose globals, defaults and class attributes can be pickled",
                fix="make that object inside the function that uses it",
                rule="KE120",
            ) from error
    return bytes_head.finish(file)


def read_graph(data: bytes) -> Any:
    """Put together what `write_graph` wrote, in the current scope; this runs code from the bytes.

    Args:
        data: What `write_graph` returned, from a source that you trust.

    Returns:
        A new object on each call.

    Raises:
        BlueprintError: The bytes are something else, or damaged, or this process lacks what they name.
    """
    file = bytes_head.body_of(data)
    records: dict[int, Record] = {}
    assembly = Assembly(records)
    try:
        with no_garbage_collection():
            _read_records(file, records, assembly)
            return assembly.put_together()
    except (ImportError, AttributeError, LookupError, EOFError, pickle.UnpicklingError) as error:
        raise BlueprintError(
            "a model cannot be put together from the bytes of a blueprint",
            found=f"{type(error).__name__}: {error}",
            expected="the packages of the process that made the bytes, in the same versions",
            fix="install them here, or make the bytes anew: Blueprint.of(model).to_bytes()",
        ) from error


def _read_records(file: io.BytesIO, records: dict[int, Record], assembly: Assembly) -> None:
    for _ in range(pickle.load(file)):
        number, kind, source = pickle.load(file)
        records[number] = Record(kind, source)
        del source
        assembly.shell(number)
    reader = _reader(file, records, assembly)
    while (entry := reader.load()) is not None:
        number, kind, source, *parts = entry
        if kind == "module":
            vars(source).update(parts[0])
            continue
        record = records.setdefault(number, Record(kind, source))
        record.attributes, record.slots, record.items, record.pairs = parts


def _reader(file: io.BytesIO, records: dict[int, Record], assembly: Assembly) -> pickle.Unpickler:
    class Reader(pickle.Unpickler):
        def persistent_load(self, mention: Any) -> Any:
            number, kind, source, cells = mention
            if number not in records:
                records[number] = Record(kind, source)
                if kind == "function":
                    for cell in cells:
                        records.setdefault(cell, Record("cell", None))
                    records[number].items = [*(source.__defaults__ or ()), *(Part(cell) for cell in cells)]
            return assembly.shell(number)

    return Reader(file)


@contextlib.contextmanager
def _by_value() -> Iterator[None]:
    """Let cloudpickle write the modules of the user by value, for as long as this lasts."""
    import cloudpickle  # noqa: PLC0415 - needed between processes only

    with _BY_VALUE:
        there = cloudpickle.list_registry_pickle_by_value()
        added = [module for module in modules_of_the_user() if module.__name__ not in there]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


class _Writer:
    """Writes the records of a graph, which grows while code is found that mentions more objects."""

    def __init__(self, graph: ObjectGraph, file: io.BytesIO) -> None:
        self._graph = graph
        self._file = file
        self._written_heavy: set[int] = set()
        self._forms: dict[int, tuple[Any, ...]] = {}
        self._patterns: dict[Any, types.FunctionType] = {}
        self._ids_of_patterns: set[int] = set()
        self._names: set[str] = set()
        self._modules: dict[str, tuple[types.ModuleType, set[str]]] = {}
        self._now: Any = None  # what is written as it is, although it has a record

    def write(self) -> None:
        records = self._graph.records
        heavy = [number for number, record in enumerate(records) if record.kind in _HEAVY]
        pickle.dump(len(heavy), self._file)
        for number in heavy:
            self._write_heavy(number)
        pickler = self._pickler()
        number = 0
        while number < len(records):
            record = records[number]
            kind, source, _ = self._form(number)
            self._now = source
            pickler.dump((number, kind, source, record.attributes, record.slots, record.items, record.pairs))
            number += 1
            if number == len(records):
                for module, attributes in self._read_of_modules():
                    pickler.dump((-1, "module", module, attributes))
        pickler.dump(None)

    def _write_heavy(self, number: int) -> None:
        import cloudpickle  # noqa: PLC0415 - needed between processes only

        kind, source, _ = _form(self._graph.records[number])
        cloudpickle.CloudPickler(self._file).dump((number, kind, source))
        self._written_heavy.add(number)

    def _form(self, number: int) -> tuple[Any, ...]:
        if number in self._written_heavy:
            return ("given", None, ())
        if number not in self._forms:
            kind, source, cells = _form(self._graph.records[number])
            if kind == "function":
                # Keras makes two of the same functions for each layer: one pattern does for all of them.
                source = self._patterns.setdefault(_same_pattern(source), source)
                count = len(source.__defaults__ or ())
                cells = tuple(part.number for part in self._graph.records[number].items[count:])
                self._ids_of_patterns.add(id(source))
                self._names.update(names_in(source.__code__))
            self._forms[number] = kind, source, cells
        return self._forms[number]

    def _read_of_modules(self) -> Iterator[tuple[types.ModuleType, dict[str, Any]]]:
        """Yield what the code that was written reads of the user's modules, until there is nothing new."""
        for module, given in list(self._modules.values()):
            new = {name for name in self._names & vars(module).keys() if not name.startswith("__")} - given
            if new:
                given |= new
                yield module, {name: vars(module)[name] for name in new}

    def _mention(self, thing: Any) -> Any:
        """Return how an object is mentioned; None if pickle writes it where it is."""
        cls = type(thing)
        if cls in _NO_RECORD or thing is self._now or id(thing) in self._ids_of_patterns:
            return None
        number = self._graph.number_of(thing)
        if number is None:
            if not _needs_a_record(thing):
                return None
            number = self._graph.add(thing)
        if number is None or self._graph.records[number].kind in _NEVER_BY_NUMBER:
            return None
        return (number, *self._form(number))

    def _pickler(self) -> Any:
        import cloudpickle  # noqa: PLC0415 - needed between processes only

        writer = self

        class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc] # cloudpickle has no types
            # What it reads of `writer` is private because only the two of them use it.
            def persistent_id(self, thing: Any) -> Any:
                return writer._mention(thing)

            def reducer_override(self, thing: Any) -> Any:
                if isinstance(thing, types.ModuleType) and not is_library(thing.__name__):
                    writer._modules.setdefault(thing.__name__, (thing, set()))
                    return types.ModuleType, (thing.__name__,)
                if isinstance(thing, types.FunctionType):
                    writer._names.update(names_in(thing.__code__))
                reduced = super().reducer_override(thing)
                return _with_slots(thing, reduced) if isinstance(thing, type) else reduced

        return Pickler(self._file, protocol=pickle.HIGHEST_PROTOCOL)


def _with_slots(cls: type, reduced: Any) -> Any:
    """Give a class that is written by value its slots; cloudpickle makes attributes in a dict of them."""
    if "__slots__" not in vars(cls) or not isinstance(reduced, tuple):
        return reduced
    make, (metaclass, name, bases, namespace, *identity), (attributes, slots), *rest = reduced
    own = {name for name, member in vars(cls).items() if isinstance(member, types.MemberDescriptorType)}
    also = {"__dict__", "__weakref__"} & vars(cls).keys()
    namespace = namespace | {"__slots__": tuple(sorted(own | also))}
    attributes = {name: value for name, value in attributes.items() if name not in own}
    return make, (metaclass, name, bases, namespace, *identity), (attributes, slots), *rest


def _needs_a_record(thing: Any) -> bool:
    cls = type(thing)
    if cls in _BUILT_IN_CONTAINERS or isinstance(thing, type | types.ModuleType | types.FunctionType):
        return False
    if is_library(cls.__module__) and vars(object)["__reduce__"] is not cls.__reduce__ and not _is_state(cls):
        return False  # its library knows how to pickle it
    try:
        record = take_apart(thing, Target.ANOTHER_PROCESS)
    except Exception:  # noqa: BLE001 - the graph makes an error with a path of it
        return True
    return record is not None and record.kind not in _WRITTEN_BY_PICKLE


def _is_state(cls: type) -> bool:
    """Tell whether objects of a class of a library hold state, which Keras and TensorFlow lose when they pickle."""
    return cls.__module__.partition(".")[0] == "keras" or tensorflow_parts.kind_of(cls) not in {"", "description"}


def _form(record: Record) -> tuple[str, Any, tuple[int, ...]]:
    """Return the kind and the source of a record as another process can read them."""
    kind, source = record.kind, record.source
    if kind == "variable":
        value = tensorflow_parts.value_of_variable(source, as_array=True)
        return kind, (value, tensorflow_parts.take_variable(source)), ()
    if kind == "tensor":
        return kind, tensorflow_parts.take_tensor(source), ()
    if kind == "table":
        return kind, tensorflow_parts.take_table(source), ()
    if kind == "saved model":
        return kind, tensorflow_parts.take_saved_model(source), ()
    if kind in {"array", "copied"}:
        return "given", source, ()
    if kind == "function":
        return kind, _pattern(source), ()
    return kind, source, ()


def _pattern(function: types.FunctionType) -> types.FunctionType:
    """Return a function with the code of another one, and nothing of what it holds."""
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    defaults = (None,) * len(function.__defaults__ or ())
    pattern = types.FunctionType(function.__code__, function.__globals__, function.__name__, defaults, cells)
    pattern.__qualname__, pattern.__module__ = function.__qualname__, function.__module__
    pattern.__doc__, pattern.__annotations__ = function.__doc__, dict(function.__annotations__)
    return pattern


def _same_pattern(pattern: types.FunctionType) -> tuple[Any, ...]:
    """Return what two patterns have in common if one can stand for the other."""
    names = (pattern.__name__, pattern.__qualname__, pattern.__module__, pattern.__doc__)
    annotations = tuple((name, id(value)) for name, value in pattern.__annotations__.items())
    counts = (len(pattern.__defaults__ or ()), len(pattern.__closure__ or ()))
    return (id(pattern.__code__), id(pattern.__globals__), names, annotations, counts)
