"""Name the weights of a model as its checkpoints, Keras and the files of Keras do."""

from __future__ import annotations

import functools
from typing import Any

import keras

from keras_estimator.model.anatomy import automatic_name, weight_holdings
from keras_estimator.model.keras_private import all_layers, places_in_files
from keras_estimator.weight_matching import LAYERS, PLACE, SAVED, STATE, ModelNames, Weight, with_names_of_layers


def named_weights(model: Any) -> ModelNames:
    """Return the weights of a model with all the names that a file may call them by.

    They are those of its layers, trained or not, and raw variables in layers; not the optimizer, metrics and seeds.

    Args:
        model: A Keras model whose layers are built.
    """
    places, names_of_layers = places_in_files(model)
    saved = with_names_of_layers(places.values(), names_of_layers)
    weights = []
    for holding in weight_holdings(model):
        names = {STATE: holding.path}
        if not holding.is_raw:
            names[LAYERS] = holding.variable.path
        place = places.get(id(holding.storage))
        if place is not None:
            names |= {PLACE: place, SAVED: saved[place]}
        shape = tuple(holding.storage.shape)
        read = functools.partial(keras.ops.convert_to_numpy, holding.variable)
        weights.append(Weight(holding.path, shape, _name_of(holding.variable.dtype), read, names))
    layers = all_layers(model)
    models = [layer.name for layer in layers if hasattr(layer, "layers")]
    return ModelNames(weights, {automatic_name(type(layer)) for layer in layers}, models)


def _name_of(dtype: Any) -> str:
    """Return the name of a type: Keras has it as text, a raw variable as an object of the backend."""
    return dtype if isinstance(dtype, str) else str(dtype.name)
