"""Look through a traced graph: who owns what it captures, what it writes, and where it calls Python.

The private part of TensorFlow that is touched here is `Graph._get_function` (tests/test_traced_graph.py).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_estimator.errors import ExportError
from keras_estimator.model.carrying.carried_parts import owner_of_handle
from keras_estimator.model.computation.function_graph import READS
from keras_estimator.model.computation.graph_hash import CALLS_OF_PYTHON
from keras_estimator.model.user_lines import UserLine

_HANDLES = (tf.resource, tf.variant)
_EXPORT = Path(__file__).with_name("export.py")
_PACKAGES = ("tensorflow", "keras", "optree", "wrapt", "numpy", "keras_estimator")


def refuse_callbacks(graph: Any) -> None:
    """Refuse a graph that calls Python, which a server does not have.

    Raises:
        ExportError: there is a `tf.numpy_function` or `tf.py_function` in it.
    """
    for operation, _ in operations(graph, {}):
        if operation.type in CALLS_OF_PYTHON:
            line = line_of_operation(operation)
            raise ExportError(
                "the model calls back into Python, and a server has none",
                found=f"{line}: {line.text}" if line else f"{operation.type} in {operation.name}",
                expected="operations of TensorFlow or keras.ops only",
                fix="call NumPy itself, np.sin(x), which becomes part of the graph; or use keras.ops",
                rule="KE501",
            )


def writes(graph: Any, owned: Mapping[str, Any]) -> list[str]:
    """Return, for each variable that the graph writes, its name and the line that does it.

    Args:
        graph: A traced graph.
        owned: Its variables and tables by name, as `owners` gives them.
    """
    names = {id(thing.handle): name for name, thing in owned.items() if isinstance(thing, tf.Variable)}
    found: dict[str, str] = {}
    for operation, handles in operations(graph, {inner.name: outer for outer, inner in graph.captures}):
        if operation.type in READS or _functions(operation):
            continue
        for handle in handles:
            name = names.get(id(handle))
            if name is not None and name not in found:
                line = line_of_operation(operation)
                found[name] = f"`{name}` ({line})" if line else f"`{name}`"
    return list(found.values())


def owners(graphs: Iterable[Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return by name every variable and table that the graphs use.

    Args:
        graphs: Traced graphs.
        variables: What is known to belong to the model, by path.

    Raises:
        ExportError: something that they use is gone, or is nothing that can be saved.
    """
    paths = {id(variable.handle): path for path, variable in variables.items()}
    handles = {id(outer): outer for graph in graphs for outer, _ in graph.captures if outer.dtype in _HANDLES}
    found: dict[str, Any] = {}
    for key, handle in handles.items():
        owner = owner_of_handle(handle)
        if owner is None:
            raise ExportError(
                "the model uses something that cannot be saved",
                found=_name_of(handle),
                expected="variables and lookup tables that live as long as the model",
                fix="make it once, outside of the function that uses it, and keep it in an attribute of a layer",
            )
        name = owner.name.partition(":")[0] if isinstance(owner, tf.Variable) else type(owner).__name__
        found[paths.get(key) or f"unreached/{len(found)}_{name}"] = owner
    return found


def _name_of(handle: Any) -> str:
    named = re.search(r'name="([^"]+)"', str(handle))
    return f"{named[1]}, whose Python object is gone" if named else str(handle)


def operations(graph: Any, captured: Mapping[str, Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Yield every operation, those inside of functions too, with the captured resources that it gets."""
    for operation in graph.get_operations():
        yield operation, [captured[tensor.name] for tensor in operation.inputs if tensor.name in captured]
        for name in _functions(operation):
            inner = graph._get_function(name).graph  # noqa: SLF001 - the line of an inner operation is nowhere else
            # What a call passes on comes last: a branch gets its index first, a loop has as many in as out.
            given = list(operation.inputs)[len(operation.inputs) - len(inner.inputs) :]
            passed = zip(given, inner.inputs, strict=True)
            known = {own.name: captured[outer.name] for outer, own in passed if outer.name in captured}
            yield from operations(inner, known)


def _functions(operation: Any) -> list[str]:
    attributes = operation.node_def.attr.values()
    return [
        *(attribute.func.name for attribute in attributes if attribute.HasField("func")),
        *(function.name for attribute in attributes for function in attribute.list.func),
    ]


def line_of_operation(operation: Any, outermost: Path = _EXPORT) -> UserLine | None:
    """Return the innermost line of the user's model that made the operation.

    Args:
        operation: Of a traced graph.
        outermost: The file of ours that traced it; what called that is not the model.
    """
    homes = {Path(file).parent for name in _PACKAGES if (file := getattr(sys.modules.get(name), "__file__", None))}
    for entry in reversed(operation.traceback or ()):  # what is inside of a loaded function has none
        file = Path(entry.filename)
        if file == outermost:
            return None  # from here on outwards it is who asked, not the model
        if homes.isdisjoint(file.parents):
            return UserLine(entry.filename, entry.lineno)
    return None
