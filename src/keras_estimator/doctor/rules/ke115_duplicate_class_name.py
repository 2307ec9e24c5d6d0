"""KE115 duplicate-class-name: Keras finds another class under the name of this one, and takes that in its place.

What it finds:
    A class of which the model has an object, and another class that Keras knows under the same name: by its key in
    the registry, `Custom>Block`, or as a name of the same module. One class that was defined twice is not found.

Why it matters:
    A `.keras` file holds names of classes. The class that was defined last has the name, wherever the object came
    from: from an older run of a cell in a notebook, or from another file that registers the same name in the same
    package, which is `Custom` for all who do not say one.

If ignored:
    Plain Keras loads, copies and revives the model with the other class: it computes something else without a word.
    An Estimator carries each class itself.

Example:
    @keras.saving.register_keras_serializable()  # as in another file
    class Block(keras.layers.Layer):

Instead:
    @keras.saving.register_keras_serializable(package="my_encoder")
    class Block(keras.layers.Layer):

Fix:
    For display: give one of them another package or name; in a notebook, build the model anew from the new class.

Evidence:
    Row 51 of the zoo. Two layers `Custom>Block`, times 2 and times 3, one after the other: 6 here, 9 after `save` and
    `load_model` and after `copy.deepcopy`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.findings import Place
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_FIX = Fix(
    "give one of them another name or package, or build the model anew from the new class", Applicability.DISPLAY
)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Ask Keras which class it finds under the name of each class of the user."""
    paths: dict[type, list[str]] = {}
    for path, layer in live.layers.items():
        paths.setdefault(type(layer), []).append(path)
    for part in live.keras.tree.flatten(list(live.compiled_parts.values())):
        paths.setdefault(type(part), [])
    told: set[frozenset[type]] = set()
    for cls, where in paths.items():
        if live.place_of(cls) is None:
            continue
        name = live.keras.saving.get_registered_name(cls)
        other = _found_as(live, name, cls)
        if other is None and ">" not in name:  # two of one name that Keras finds nowhere: both are given by hand
            other = next((one for one in paths if one is not cls and _key(one) == _key(cls)), None)
        if other is None or frozenset((cls, other)) in told or _is_same(cls, other):
            continue
        told.add(frozenset((cls, other)))
        there = _place(live, other)
        evidence = f"the other class stands at {there}" if there else f"the other class is of {other.__module__}"
        message = f"class {cls.__name__} is not the one that Keras finds as `{name}`"
        yield Problem(_place(live, cls), message, layer=", ".join(filter(None, where)), evidence=evidence, fix=_FIX)


def _key(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__name__


def _found_as(live: LiveModel, name: str, cls: type) -> type | None:
    """Return the class that Keras finds by a name of the registry, or else in the module of a class."""
    if ">" in name:
        found = live.keras.saving.get_registered_object(name)
    else:
        found = vars(sys.modules.get(cls.__module__, types)).get(cls.__name__)
    return found if isinstance(found, type) and found is not cls and found.__name__ == cls.__name__ else None


def _is_same(cls: type, other: type) -> bool:
    """Tell whether two classes are one that was defined twice: a file may have been imported under two names."""
    return _content(cls) == _content(other)


def _content(cls: type) -> dict[str, Any]:
    """Return what a class is made of, as values that can be compared."""
    return {name: _value(value) for name, value in vars(cls).items() if not name.startswith("__") or callable(value)}


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_value(one) for one in value]
    if not isinstance(value, types.FunctionType):
        return value if isinstance(value, str | int | float) else type(value)
    cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
    # `super()` holds the class itself, and a cell may still be empty.
    held = [_value(_content_of(cell)) for name, cell in cells.items() if name != "__class__"]
    return _body(value.__code__), held, _value(value.__defaults__ or ())


def _content_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _body(code: types.CodeType) -> tuple[Any, ...]:
    inner = [_body(one) if isinstance(one, types.CodeType) else one for one in code.co_consts]
    return code.co_code, code.co_names, inner


def _place(live: LiveModel, cls: type) -> Place | None:
    """Return where a class is written, by its methods: Python finds classes by name, and so the wrong one of two."""
    methods = (value for value in vars(cls).values() if isinstance(value, types.FunctionType))
    places = [place for method in methods if (place := live.place_of(method))]
    return min(places, default=None) or live.place_of(cls)
