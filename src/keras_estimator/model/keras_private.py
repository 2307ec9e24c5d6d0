"""The private parts of Keras that we touch, each in one function; tests/test_keras_private.py notices changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib


def storage_of(variable: keras.Variable) -> Any:
    """Return the backend's variable behind a Keras variable; None while Keras has only declared it."""
    return variable._value


def all_layers(model: Any) -> list[Any]:
    """Return `model` and every layer in it, the outermost first."""
    return list(model._flatten_layers())


def compiled_as(model: Any) -> Any:
    """Return an object that `compile` makes anew each time."""
    return model._loss_tracker


def compile_arguments(model: Any) -> dict[str, Any]:
    """Return what `compile` was given, as live objects, by the names of its arguments; empty if it was not called."""
    config = getattr(model, "_compile_config", None)
    return dict(getattr(config, "config", None) or {})


def has_own(model: Any, *steps: str) -> bool:
    """Return whether the user has written one of these steps (`"train_step"`, ...) of a model, on a class or on it."""
    return any(getattr(type(model), step) is not getattr(keras.Model, step) or step in vars(model) for step in steps)


def has_call(model: Any) -> bool:
    """Return whether a model has a `call`; some GANs have two networks and a `train_step` only."""
    return type(model).call is not keras.Model.call


def takes_training(model: Any) -> bool:
    """Return whether the `call` of a model has an argument `training`."""
    return bool(model._call_has_training_arg)


def answer(model: Any, x: Any, *, training: bool) -> Any:
    """Call a model as the steps of Keras do."""
    return model(x, training=training) if takes_training(model) else model(x)


def loss_of(model: Any, **parts: Any) -> Any:
    """Return the loss of a batch as `train_step` gets it: also from a `compute_loss` without `training`."""
    return model._compute_loss(**parts)


def build_for_training(model: Any, labels: Any) -> None:
    """Make what Keras's own `train_step` makes when it is first called: slots of the optimizer, and metrics.

    TensorFlow traces a function that makes variables twice. What cannot be made without a batch is left to it.

    Args:
        model: A compiled model whose layers are built, with the `train_step` of Keras.
        labels: The `keras.KerasTensor` of its labels, or a structure of them; None without labels.
    """
    if not model.optimizer.built and model.trainable_variables:
        model.optimizer.build(model.trainable_variables)
    metrics, outputs = model._compile_metrics, getattr(model, "outputs", None) or []
    if metrics is None or metrics.built or has_own(model, "compute_metrics") or len(outputs) != 1:
        return
    output = outputs[0] if isinstance(model, keras.Sequential) else model.output  # which may be a dict or a list
    both = [part for part in (labels, output) if isinstance(part, keras.KerasTensor)]
    # By rank and last dimension, "accuracy" is found to mean this one or that.
    if len(both) == 2 and all(part.shape and part.shape[-1] is not None for part in both):
        metrics.build(*both)


def is_decayed(optimizer: Any, variable: Any) -> bool:
    """Return whether an optimizer's weight decay applies to a variable."""
    return bool(optimizer._use_weight_decay(variable))


def tracks_loss(model: Any) -> bool:
    """Return whether the steps of a compiled model since the last reset have updated Keras's tracker of the loss."""
    return bool(np.any(model._loss_tracker.count))


def shape_of_half_built(model: keras.Sequential) -> Sequence[int | None] | None:
    """Return the batch shape of a Sequential whose build gave up; None if it is whole, or not begun."""
    first = next(iter(model._layers), None)
    if not isinstance(first, keras.layers.InputLayer) or not model.built or model._functional is not None:
        return None
    shape: Sequence[int | None] = first.batch_shape
    return shape


def own_as_weight(owner: keras.Layer, raw: Any, name: str) -> None:
    """Let a layer own a raw trainable variable of the backend as a weight; nothing is copied."""
    placeholder = np.zeros(raw.shape, raw.dtype.as_numpy_dtype)
    weight = keras.Variable(initializer=placeholder, dtype=raw.dtype.name, trainable=True, name=name)
    weight._value = raw
    owner._tracker.unlock()
    owner._track_variable(weight)
    if owner.built:
        owner._lock_state()


def taking_settings_of_thread() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return a context in which another thread has the settings that this one has now, such as the dtype policy."""
    settings = {
        name: value.copy() if isinstance(value, list | dict) else value for name, value in _settings_of_thread().items()
    }

    @contextlib.contextmanager
    def taking() -> Iterator[None]:
        of_thread = _settings_of_thread()
        before = of_thread.copy()
        of_thread.update(settings)
        try:
            yield
        finally:
            of_thread.clear()
            of_thread.update(before)

    return taking


def places_in_files(model: Any) -> tuple[dict[int, str], dict[str, str]]:
    """Return where Keras would put the variables of a model in a `.keras` or `.weights.h5` file; none is written.

    Returns:
        By the id of the backend's variable the place, such as `layers/dense_1/vars/0`; and by the place of a layer,
        `layers/dense_1`, what it is called.
    """
    noting = _Noting()
    saving_lib._save_state(model, weights_store=noting, assets_store=None, inner_path="", visited_saveables=set())
    return noting.places, noting.names_of_layers


class _Noting(saving_lib.H5IOStore):  # type: ignore[misc]  # Keras has no types
    """Stands for a file, and notes what would be written to which place."""

    def __init__(self) -> None:
        self.places: dict[int, str] = {}
        self.names_of_layers: dict[str, str] = {}
        self._path = ""

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: dict[str, Any] | None = None) -> _Noting:
        self._path = path
        if metadata and "name" in metadata:
            self.names_of_layers[path] = metadata["name"]
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        place = f"{self._path}/vars/{key}" if self._path else f"vars/{key}"
        self.places.setdefault(id(getattr(value, "_value", value)), place)


def _settings_of_thread() -> dict[str, Any]:
    # Looked up each time: `keras.utils.clear_session()` puts another object in its place.
    of_thread: dict[str, Any] = vars(global_state.GLOBAL_STATE_TRACKER)
    return of_thread
