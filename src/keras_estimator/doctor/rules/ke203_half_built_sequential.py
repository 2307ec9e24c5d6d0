"""KE203 half-built-sequential: a Sequential says that it is built, and some of its layers have no weights.

What it finds:
    A `keras.Sequential`, also inside of another model, that Keras gave up building half way.

Why it matters:
    `Sequential.build` ends without a word when a layer raises NotImplementedError, as NumPy and `.numpy()` do in a
    graph. The model says `built=True`; the layers behind that one have no weights.

If ignored:
    `count_params` and `summary` leave layers out, `save` writes a file without them, `export` says that there are no
    inputs, `fit` raises NotImplementedError. An Estimator builds the rest where it can.

Example:
    keras.layers.Lambda(lambda x: np.array(x) * 2)

Instead:
    keras.layers.Lambda(lambda x: x * 2)

Fix:
    None of its own: the line that gives up is named.

Evidence:
    Row 14 of the zoo: built [True, True, False], two weights instead of four, no warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.failure import Failure
from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.ERROR
_FIX = Fix(
    "mend that line, or state the shape: output_shape=... of a Lambda, compute_output_shape of any other layer",
    Applicability.DISPLAY,
)


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find Sequentials that were given up, and the line at which they were."""
    from keras_estimator.model.keras_private import shape_of_half_built  # noqa: PLC0415 - it starts Keras

    for path, part in live.layers_of("keras.Sequential"):
        shape = shape_of_half_built(part)
        if shape is None:
            continue
        layer, failure = _gives_up(live, part, shape)
        place = (failure.place if failure else None) or (live.place_of_layer(layer) if layer is not None else None)
        evidence = failure.line if failure else f"its batch shape is {tuple(shape)}"
        without = [one for one in part.layers if not one.built]
        if not without:
            message = "a Sequential says that it is built, and Keras could not connect its layers"
            yield Problem(place, message, layer=path, evidence=evidence, fix=_FIX, severity=Severity.WARNING)
            continue
        names = ", ".join(f"`{_path_of(live, one)}`" for one in without)
        message = f"a Sequential says that it is built, and has no weights for {names}"
        yield Problem(place, message, layer=path, evidence=evidence, fix=_FIX)


def _gives_up(live: LiveModel, part: Any, shape: Any) -> tuple[Any, Failure | None]:
    """Return the layer that cannot be built, and why; if all can be now, the last one that was."""
    with live.unchanged():
        tensor = live.keras.Input(batch_shape=shape, dtype=part.input_dtype)
        for layer in part.layers:
            try:
                tensor = layer(tensor)
            except Exception as error:  # noqa: BLE001 - whatever the code of the user raises
                return layer, Failure(error, "build").innermost
    built = [layer for layer in part.layers if layer.built]
    return (built[-1] if built else None), None


def _path_of(live: LiveModel, layer: Any) -> str:
    return next((path for path, one in live.layers.items() if one is layer), str(layer.name))
