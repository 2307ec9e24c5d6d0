"""Before processes share a batch: find the layers in which a row of it depends on the others.

Each process would compute them over its own rows, and so train another model than one process that has all rows.
A layer that asks for sums over all processes itself, by `tf.distribute`, is one that knows.
"""

from __future__ import annotations

import types
import warnings
from typing import Any

import keras

from keras_estimator.engines.tensorflow.shared_steps import asking_for_sums
from keras_estimator.errors import BlueprintError, EstimatorWarning, ModelError
from keras_estimator.model.anatomy import layers_by_path
from keras_estimator.model.computation.sample import batches_of
from keras_estimator.model.computation.separability import separability_of
from keras_estimator.model.source_lines import where_defined


def check_rows(model: Any, *, refuses: bool) -> None:
    """Probe a built model with made-up rows; it is left as it was.

    Args:
        model: The model.
        refuses: Whether dependent rows are an error, or a warning.

    Raises:
        ModelError: rows depend on each other.
    """
    with asking_for_sums() as knowing:
        try:
            found = separability_of(model, batches_of(model, None)[0])
        except BlueprintError as error:
            _warn(f"nobody can tell whether rows of a batch depend on each other in `{model.name}`: {error.problem}")
            return
    layers = layers_by_path(model)
    by_process = [path for path in found.training if _normalizes_by_process(layers.get(path))]
    if by_process:
        _warn(
            f"{', '.join(by_process)}: normalizes by the rows of each process, and its moving statistics become the "
            "mean over the processes. To normalize by all rows: BatchNormalization(synchronized=True)"
        )
    paths = dict.fromkeys((*found.inference, *found.training))
    dependent = [path for path in paths if path not in by_process and id(layers.get(path)) not in knowing]
    if not dependent and not found.is_separable and not knowing:
        dependent = ["the model"]
    if not dependent:
        return
    where = ", ".join(f"`{path}`{_line(layers.get(path))}" for path in dependent)
    if not refuses:
        _warn(f"{where}: rows of a batch depend on each other, and each process has only its own")
        return
    raise ModelError(
        "rows of a batch depend on each other, so processes that share it would train another model",
        found=f"a reduction over the batch in {where}",
        expected="each row computed by itself, or over the rows of all processes",
        fix="reduce within the row: tf.reduce_mean(x, axis=-1, keepdims=True); or over all rows: "
        "context = tf.distribute.get_replica_context(); total, count = context.all_reduce('SUM', "
        "[tf.reduce_sum(x), tf.cast(tf.size(x), x.dtype)]); total / count; or, to let each process reduce over its "
        'own rows: RunConfig(dependent_rows="share")',
    )


def _normalizes_by_process(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized


def _line(layer: Any) -> str:
    function = layer.function if isinstance(layer, keras.layers.Lambda) else getattr(type(layer), "call", None)
    is_of_user = isinstance(function, types.FunctionType) and not str(function.__module__).startswith("keras.")
    return f" at {where_defined(function)}" if is_of_user else ""  # type: ignore[arg-type]  # it is a function


def _warn(text: str) -> None:
    warnings.warn(text, EstimatorWarning, stacklevel=2)
