"""Build a Sequential that Keras left half built.

`Sequential.build` gives up without a word when a layer raises NotImplementedError, as NumPy on a tensor
without values does: the model says `built=True`, but the layers after that one have no weights, and
`save`, `count_params` and `export` take it for whole.

The private parts of Keras used here are `_layers` and `_functional` of a Sequential; tests/test_half_built.py
fails when they change.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_estimator.errors import ModelError
from keras_estimator.model.numpy_calls import explained, install


def complete(model: Any) -> list[str]:
    """Build every half-built Sequential in `model`; weights that are there keep their values.

    Args:
        model: A Keras model; the Sequential may be it, or anywhere inside.

    Returns:
        The names of the models that were completed.

    Raises:
        NumpyCallError: NumPy asks for the numbers of a tensor; the user's line is named.
        ModelError: a layer still gives up.
    """
    install()
    completed = []
    for part in reversed(model._flatten_layers()):  # noqa: SLF001 - from the inside out
        if not is_half_built(part):
            continue
        with explained():
            part.built = False
            part.build(part._layers[0].batch_shape)  # noqa: SLF001 - a half-built model has no `inputs`
        if part._functional is None:  # noqa: SLF001 - what tells that Keras gave up
            raise ModelError(
                f"the model `{part.name}` cannot be built",
                found=", ".join(f"{layer.name}: {'built' if layer.built else 'not built'}" for layer in part.layers),
                expected="layers whose output shape can be found without data",
                fix=f"give the first of these layers a compute_output_shape method, or output_shape=: "
                f"{_first_unbuilt(part)}",
            )
        part.built = True
        completed.append(part.name)
    return completed


def is_half_built(part: Any) -> bool:
    """Tell whether `part` is a Sequential with a known input that says `built` and is not."""
    return (
        isinstance(part, keras.Sequential)
        and part.built
        and part._functional is None  # noqa: SLF001 - see above
        and isinstance(next(iter(part._layers), None), keras.layers.InputLayer)  # noqa: SLF001 - see above
        and any(not layer.built for layer in part.layers)
    )


def _first_unbuilt(part: Any) -> str:
    places = [place for place, layer in enumerate(part.layers) if not layer.built]
    return str(part.layers[max(places[0] - 1, 0)].name)
