"""KE116 var-keyword-name: Keras looks for `**kwargs` by this name; under another one, names of layers are lost.

What it finds:
    An `__init__` of a layer or model that collects keyword arguments as `**kw`, `**options`, ..., in a class that
    leaves its config to Keras.

Why it matters:
    Where a class has no `get_config`, Keras makes the config from the arguments of `__init__`. It leaves the name out
    if there is neither an argument `name` nor one that is called `kwargs`.

If ignored:
    After `load_model`, `clone_model` and `copy.deepcopy` of Keras the layer has another name: `get_layer("mine")`
    fails, and what is restored by names does not fit. An Estimator keeps names as they are.

Example:
    def __init__(self, units=3, **kw):
        super().__init__(**kw)

Instead:
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)

Fix:
    Safe: the parameter is renamed wherever the function uses it. For display if that is not plain.

Evidence:
    Rows 19, 26 and 36 of the zoo; `A(2, name="mine")` with `**kw` is called `a` in Keras 3.15 after `clone_model`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.names import ROOTS
from keras_estimator.doctor.rewriting import Change, replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import KerasClass, Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_NAME = "kwargs"


def in_source(source: Source) -> Iterator[Problem]:
    """Find the parameter in classes whose config Keras makes."""
    for one in source.classes:
        init = one.methods.get("__init__")
        if not isinstance(init, ast.FunctionDef) or not _is_left_to_keras(one):
            continue
        collects, named = init.args.kwarg, (*init.args.args, *init.args.kwonlyargs)
        if collects is not None and collects.arg != _NAME and "name" not in (argument.arg for argument in named):
            yield Problem(init, _message(one.name, collects.arg), fix=_fix(init, collects.arg))


def _message(cls: str, parameter: str) -> str:
    return f"__init__ of {cls} calls its keyword arguments **{parameter}, so Keras loses the name of the layer"


def _is_left_to_keras(one: KerasClass) -> bool:
    # A class of another file, or a finished one of Keras, may have a `get_config` of its own.
    is_known = all(base in ROOTS for base in one.bases if base.startswith("keras.") or "." in base)
    return one.kind in ("layer", "model") and is_known and one.method("get_config") is None


def _fix(init: ast.FunctionDef, old: str) -> Fix:
    title = f"call it **{_NAME}"
    uses = [node for node in ast.walk(init) if isinstance(node, ast.Name) and node.id == old]
    inner = [node for node in ast.walk(init) if isinstance(node, ast.arg) and node.arg in (old, _NAME)]
    taken = any(isinstance(node, ast.Name) and node.id == _NAME for node in ast.walk(init))
    if len(inner) > 1 or taken or any(isinstance(node, ast.Global | ast.Nonlocal) for node in ast.walk(init)):
        return Fix(title, Applicability.DISPLAY)
    changes = [Change(init, _renamed), *(replace(node, _NAME) for node in uses)]
    return Fix(title, Applicability.SAFE, tuple(changes))


def _renamed(function: Any) -> Any:
    """Rename the parameter itself, of a function as libcst has it."""
    parameter = function.params.star_kwarg
    renamed = parameter.with_changes(name=parameter.name.with_changes(value=_NAME))
    return function.with_changes(params=function.params.with_changes(star_kwarg=renamed))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find layers whose config has no name, although `__init__` would take one."""
    for path, layer in live.layers_of_user:
        cls: Any = type(layer)
        given = inspect.signature(cls.__init__).parameters.values()
        collects = next((one.name for one in given if one.kind is inspect.Parameter.VAR_KEYWORD), _NAME)
        if collects == _NAME or "name" in (one.name for one in given) or not _is_made_by_keras(live, cls):
            continue
        evidence = f"there is no name in its config; it is called `{layer.name}`"
        yield Problem(live.place_of(cls.__init__), _message(cls.__name__, collects), layer=path, evidence=evidence)


def _is_made_by_keras(live: LiveModel, cls: type) -> bool:
    of_keras = (live.keras.Layer.get_config, live.keras.Model.get_config, live.keras.Operation.get_config)
    return getattr(cls, "get_config", None) in of_keras
