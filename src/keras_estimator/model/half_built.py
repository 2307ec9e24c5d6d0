"""Build a Sequential that Keras left half built.

`Sequential.build` gives up without a word when a layer raises NotImplementedError, as NumPy on a tensor
without values does: the model says `built=True`, but the layers after that one have no weights, and
`save`, `count_params` and `export` take it for whole.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_estimator.errors import ModelError
from keras_estimator.model.keras_private import all_layers, shape_of_half_built
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
    for part in reversed(all_layers(model)):  # from the inside out
        shape = shape_of_half_built(part) if isinstance(part, keras.Sequential) else None
        if shape is None:
            continue
        with explained():
            part.built = False
            part.build(shape)
        if shape_of_half_built(part) is not None:
            raise ModelError(
                f"the model `{part.name}` cannot be built",
                found=", ".join(f"{layer.name}: {'built' if layer.built else 'not built'}" for layer in part.layers),
                expected="layers whose output shape can be found without data",
                fix=f"give the layer `{_gave_up(part)}` a compute_output_shape method, or a Lambda its output_shape=",
            )
        completed.append(part.name)
    return completed


def _gave_up(part: keras.Sequential) -> str:
    unbuilt = [place for place, layer in enumerate(part.layers) if not layer.built]
    return str(part.layers[max(unbuilt[0] - 1, 0)].name)
