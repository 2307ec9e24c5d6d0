"""KE102 init-takes-no-kwargs: `__init__` has no `**kwargs`, so Keras cannot make the object from its config.

What it finds:
    A layer, loss, metric or other class of Keras whose `__init__` takes neither `**kwargs` nor the arguments that
    its base class puts into the config: `name`, `trainable`, `dtype`.

Why it matters:
    `get_config` of the base class gives `trainable` and `dtype`, and `from_config` hands both to `__init__`.

If ignored:
    Keras saves the model and cannot load it: "unexpected keyword argument 'trainable'", even with `custom_objects`;
    `clone_model` and `copy.deepcopy` fail alike. An Estimator does not call `__init__` and carries it as it is.

Example:
    def __init__(self):
        super().__init__()

Instead:
    def __init__(self, **kwargs):
        super().__init__(**kwargs)

Fix:
    Safe: whoever calls it now calls it as before.

Evidence:
    Rows 03, 17, 38 and 40 of the zoo: an error on every way of Keras but `export`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rewriting import add_argument, add_parameter
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source

SEVERITY = Severity.WARNING
# What the base class of each kind puts into a config.
_GIVEN = {
    "layer": {"name", "trainable", "dtype"},
    "model": {"name", "trainable", "dtype"},
    "loss": {"name", "reduction"},
    "metric": {"name", "dtype"},
}


def in_source(source: Source) -> Iterator[Problem]:
    """Find `__init__`s that cannot take what the config has."""
    for one in source.classes:
        init = one.methods.get("__init__")
        needed = _GIVEN.get(one.kind)
        if init is None or needed is None or init.args.kwarg is not None or not isinstance(init, ast.FunctionDef):
            continue
        has_own_config = one.method("from_config") or one.method("get_config")
        if not _takes(init) >= needed and not has_own_config:
            message = f"__init__ of {one.name} takes no **kwargs, such as {_first_of(needed)}"
            yield Problem(init, message, fix=_fix(source, one, init))


def _takes(init: ast.FunctionDef) -> set[str]:
    return {one.arg for one in (*init.args.args, *init.args.kwonlyargs)}


def _first_of(needed: set[str]) -> str:
    return "trainable" if "trainable" in needed else sorted(needed)[0]


def _fix(source: Source, one: KerasClass, init: ast.FunctionDef) -> Fix:
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Call) and _is_super_init(node)]
    title = "take **kwargs and hand them to super().__init__"
    # What is given there already would be given twice.
    if len(calls) != 1 or any(word.arg in _GIVEN[one.kind] for word in calls[0].keywords):
        return Fix(title, Applicability.DISPLAY)
    changes = (add_parameter(init, "**kwargs"), add_argument(calls[0], "**kwargs"))
    return Fix(title, Applicability.SAFE, changes)


def _is_super_init(call: ast.Call) -> bool:
    function = call.func
    is_init = isinstance(function, ast.Attribute) and function.attr == "__init__"
    return is_init and isinstance(function.value, ast.Call) and ast.unparse(function.value.func) == "super"  # type: ignore[attr-defined]  # it is an Attribute
