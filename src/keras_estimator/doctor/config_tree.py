"""Which layers of a live model Keras makes from configs of their own, and which the `__init__` of others makes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel


def made_by_config(live: LiveModel) -> dict[str, Any]:
    """Return the layers that have configs of their own in that of the model, by their paths.

    The config of a graph or a Sequential has those of its layers. A layer of the user has its arguments only: what it
    holds is made anew by its `__init__`, with whatever that does to it.

    Args:
        live: The model.
    """
    closed = [
        f"{path}/" if path else "" for path, layer in live.layers_of_user if not _has_layers_in_config(live, layer)
    ]
    return {path: one for path, one in live.layers.items() if not any(_is_below(path, outer) for outer in closed)}


def _is_below(path: str, outer: str) -> bool:
    return path != "" and path.startswith(outer)


def _has_layers_in_config(live: LiveModel, layer: Any) -> bool:
    if live.is_a(layer, "keras.Sequential"):
        return True
    if not hasattr(type(layer), "operations"):
        return False
    # A class that makes its graph itself is made from its arguments, too.
    kinds = {one.kind for one in inspect.signature(type(layer).__init__).parameters.values()}
    return inspect.Parameter.VAR_POSITIONAL in kinds or type(layer).__init__ is live.keras.Model.__init__
