"""KE214 training-hardcoded: a layer is told whether the model trains by a constant, and not by who calls it.

What it finds:
    `self.dropout(x, training=True)` in a `call`; `Dropout(0.5)(x, training=True)` where a graph of layers is made.

Why it matters:
    `fit` calls a model with `training=True`, `predict` and `evaluate` with False. In a `call` the constant wins. In a
    graph of layers it is the other way round: Keras puts the value of the caller in the place of the constant.

If ignored:
    In a `call`: `predict` drops out, and answers otherwise each time. In a graph of layers: `model(x)` keeps the
    constant, `fit` and `predict` do not; a BatchNormalization that was to stay as it is moves in `fit`. An Estimator
    does as `fit` and `predict` do.

Example:
    return self.dropout(x, training=True)

Instead:
    return self.dropout(x, training=training)

Fix:
    Unsafe: the answer is another one, the one that is meant in most models. For random answers on purpose, write a
    layer that draws whatever `training` is.

Evidence:
    In a `call`: two answers of `predict` to one batch differ by 1.68. In a graph of layers: by 0.0 with
    `training=True`; `BatchNormalization()(x, training=False)` moved its mean from 0 to 0.035 in one step of `fit`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.names import kind_of_keras
from keras_estimator.doctor.rewriting import Change, add_parameter, replace
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
# Layers of Keras that compute otherwise in training.
_MODES = frozenset(
    """
    BatchNormalization Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout
    GaussianNoise
    """.split()
)


def in_source(source: Source) -> Iterator[Problem]:
    """Find constants given as `training`."""
    traced = {id(node) for one in source.traced for node in one.nodes}
    for one in source.traced:
        if one.name != "call" or one.role not in ("layer", "model"):
            continue
        parameter: list[Change] = []
        for node in one.nodes:
            constant = _constant(node)
            called = source.code(node.func) if isinstance(node, ast.Call) else ""
            # A subclass of Dropout that draws whatever `training` is does so on purpose.
            if constant is not None and constant.value is True and not called.startswith("super("):
                message = f"{called} runs as in training whenever the model answers"
                yield Problem(node, message, fix=_fix(one.node, constant, parameter))
    for call in source.calls:
        constant = _constant(call) if isinstance(call.func, ast.Call) and id(call) not in traced else None
        name = source.dotted(call.func.func) if isinstance(call.func, ast.Call) else ""
        is_mode = kind_of_keras(name) == "layer" and name.rpartition(".")[2] in _MODES
        if constant is not None and is_mode and _makes_a_graph(source, call):
            yield Problem(call, _overruled(constant.value, name.rpartition(".")[2]), fix=_advice(constant.value))


def _makes_a_graph(source: Source, call: ast.Call) -> bool:
    """Tell whether the function that a call is in also makes inputs: a layer may be called on an array, too."""
    scope = source.function_of(call) or source.tree
    made = (source.dotted(node.func) for node in ast.walk(scope) if isinstance(node, ast.Call))
    return any(name in ("keras.Input", "keras.layers.Input", "keras.layers.InputLayer") for name in made)


def _constant(node: ast.AST) -> ast.Constant | None:
    """Return the constant True or False that a call is given as `training`."""
    words = node.keywords if isinstance(node, ast.Call) else []
    values = (word.value for word in words if word.arg == "training")
    return next((one for one in values if isinstance(one, ast.Constant) and isinstance(one.value, bool)), None)


def _overruled(value: Any, name: str) -> str:
    return f"training={value} is not kept: {'predict' if value else 'fit'} calls {name} with training={not value}"


def _advice(value: Any) -> Fix:
    title = "draw in a layer of your own, whatever training is" if value else "freeze the layer: trainable = False"
    return Fix(title, Applicability.DISPLAY)


def _fix(call: Any, constant: ast.Constant, parameter: list[Change]) -> Fix:
    title = "pass training on: training=training"
    if not isinstance(call, ast.FunctionDef):
        return Fix(title, Applicability.DISPLAY)
    given = {one.arg for one in (*call.args.args, *call.args.kwonlyargs)}
    if "training" not in given and not parameter:
        parameter.append(add_parameter(call, "training=None"))
    return Fix(title, Applicability.UNSAFE, (replace(constant, "training"), *parameter))


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find layers of Keras that draw or adapt when the model answers, and constants in graphs of layers."""
    found: set[object] = set()
    for captured, operation in live.inference.writes() if live.inference else ():
        layer, held = live.layers.get(operation.layer), captured.holding
        is_mode = layer is not None and type(layer).__name__ in _MODES and live.place_of(type(layer)) is None
        where = (operation.place, operation.layer)
        if held is not None and is_mode and where not in found:
            found.add(where)
            message = f"{type(layer).__name__} runs as in training whenever the model answers"
            evidence = f"the graph of the answer writes to `{held.path}`"
            yield Problem(operation.place, message, layer=operation.layer, evidence=evidence)
    for path, graph in live.layers_of("keras.models.Functional", "keras.Model"):
        for name, value in _constants_of_graph(graph):
            inner = graph.get_layer(name)
            if _has_modes(inner, value):
                message = _overruled(value, f"`{name}`")
                yield Problem(None, message, layer=f"{path}/{name}".strip("/"), fix=_advice(value))


def _constants_of_graph(graph: Any) -> Iterator[tuple[str, bool]]:
    """Yield the layers of a graph that were given a constant as `training`."""
    try:
        layers = graph.get_config().get("layers", ()) if hasattr(graph, "operations") else ()
    except Exception:  # noqa: BLE001 - of a layer of the user that has no config
        return
    for layer in layers:
        for node in layer.get("inbound_nodes", ()):
            value = node.get("kwargs", {}).get("training") if isinstance(node, dict) else None
            if isinstance(value, bool):
                yield layer["name"], value


def _has_modes(layer: Any, value: Any) -> bool:
    """Tell whether a layer computes otherwise in training; one that is frozen need not be told so."""
    given = inspect.signature(type(layer).call).parameters.get("training")
    if given is None or given.default is value:
        return False  # Keras notes the default as if it had been given
    inside = [layer, *getattr(layer, "layers", ())]
    return any(type(one).__name__ in _MODES and (value or one.trainable) for one in inside)
