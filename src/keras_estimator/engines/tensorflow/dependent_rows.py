"""Before replicas share a batch: find the layers, or the loss, in which a row of it depends on the others.

Each replica would compute them over its own rows, and so train another model than one that has all rows.
A layer that asks for sums over all replicas itself, by `tf.distribute`, is one that knows.
"""

from __future__ import annotations

import logging
import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.engines.tensorflow.batches import Ports
from keras_estimator.engines.tensorflow.replicas import Replica, Replicas
from keras_estimator.engines.tensorflow.shared_steps import Share, asking_for_sums
from keras_estimator.errors import BlueprintError, EstimatorWarning, ModelError
from keras_estimator.model import numpy_calls
from keras_estimator.model.anatomy import layers_by_path
from keras_estimator.model.blueprint import Blueprint
from keras_estimator.model.computation.sample import batches_of, values_for
from keras_estimator.model.computation.separability import Separability, separability_of, shift_seeds
from keras_estimator.model.computation.unchanged import unchanged
from keras_estimator.model.keras_private import answer, has_own, loss_of
from keras_estimator.model.source_lines import where_defined
from keras_estimator.model.user_lines import running_line

_LOG = logging.getLogger("keras_estimator")


def check_any_size(model: Any) -> None:
    """Check that a model takes batches of any size, as each replica gets some of the rows.

    Raises:
        ModelError: it does not.
    """
    for path, layer in layers_by_path(model).items():
        if getattr(layer, "stateful", False) is True:
            raise ModelError(
                "the model takes batches of one size only, so replicas cannot share them",
                found=f"`{path}` keeps a state for each row of the batch (stateful=True)",
                expected="layers that take any number of rows",
                fix="train it on one device, or with stateful=False",
                rule="KE506",
            )
    sizes = [tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if tensor.shape[0] is not None]
    if sizes:
        raise ModelError(
            "the model takes batches of one size only, so replicas cannot share them",
            found=f"an input with {sizes[0]} rows",
            expected="inputs with any number of rows",
            fix="keras.Input(shape) without batch_size or batch_shape",
            rule="KE506",
        )


def check_rows(model: Any, spec: Any, *, refuses: bool) -> None:
    """Probe a built model with made-up rows; it is left as it was.

    Args:
        model: The model.
        spec: A batch of its data as a nest of `tf.TypeSpec`; None: its loss is not looked at.
        refuses: Whether dependent rows are an error, or a warning.

    Raises:
        ModelError: rows depend on each other.
    """
    with asking_for_sums() as knowing:
        try:
            found = separability_of(model, batches_of(model, None)[0])
        except BlueprintError as error:
            text = f"nobody can tell whether rows of a batch depend on each other in `{model.name}`: {error.problem}"
            running_line().warn(EstimatorWarning(text))
            return
    layers = layers_by_path(model)
    by_process = [path for path in found.training if _normalizes_by_process(layers.get(path))]
    if by_process:
        text = (
            f"{', '.join(by_process)}: normalizes by the rows of each replica, and its moving statistics become the "
            "mean over the replicas. To normalize by all rows: BatchNormalization(synchronized=True)"
        )
        running_line().warn(EstimatorWarning(text, rule="KE402"))
    paths = dict.fromkeys((*found.inference, *found.training))
    dependent = [path for path in paths if path not in by_process and id(layers.get(path)) not in knowing]
    if not dependent and not found.is_separable and not knowing:
        dependent = ["the model"]
    where = [f"`{path}`{_line(layers.get(path))}" for path in dependent]
    rule = _rule_about(dependent, found)
    if not where and _loss_depends(model, spec):
        where = ["its losses"]
    if not where:
        return
    if not refuses:
        text = f"{', '.join(where)}: rows of a batch depend on each other, and each replica has only its own"
        running_line().warn(EstimatorWarning(text, rule=rule))
        return
    raise ModelError(
        "rows of a batch depend on each other, so replicas that share it would train another model",
        found=f"a reduction over the batch in {', '.join(where)}",
        expected="each row computed by itself, or over the rows of all replicas",
        fix="reduce within the row: tf.reduce_mean(x, axis=-1, keepdims=True); or over all rows: "
        "context = tf.distribute.get_replica_context(); total, count = context.all_reduce('SUM', "
        "[tf.reduce_sum(x), tf.cast(tf.size(x), x.dtype)]); total / count; or, to let each replica reduce over its "
        'own rows: RunConfig(dependent_rows="share")',
        rule=rule,
    )


def _rule_about(dependent: list[str], found: Separability) -> str:
    """Return the rule about rows that depend on each other in some layers; empty if they do in the loss alone."""
    only_trains = set(found.training) - set(found.inference)
    return "" if not dependent else "KE402" if only_trains.issuperset(dependent) else "KE401"


def _loss_depends(model: Any, spec: Any) -> bool:
    """Tell whether the loss of a batch is another than what its two halves make of it, each as a replica's share.

    It is the loss as in inference, without dropout. What a train_step of the user's computes is not looked at.
    """
    if has_own(model, "train_step"):
        _LOG.info(
            "`%s` has its own train_step: if that reduces over a batch, each replica does over its rows", model.name
        )
        return False
    if spec is None:
        return False
    try:
        batch = tf.nest.map_structure(tf.convert_to_tensor, values_for(spec))
        both = [model, Blueprint.of(model).build()]  # a model keeps the added losses of its last call only
        whole, again, halves = (_loss(of, batch, shift) for of, shift in (([model], 0), ([model], 1), (both, 0)))
    except Exception as error:  # noqa: BLE001 - code of the user's meets values that are made up
        _LOG.info("whether rows depend on each other in the loss of `%s` is not known: %s", model.name, error)
        return False
    return not np.isclose(whole, halves, 1e-4, 1e-6) and bool(np.isclose(whole, again, 1e-6, 0))


def _loss(models: list[Any], batch: Any, shift: int) -> float:
    """Return the loss of a batch that is shared by some models which are equal."""

    def of_share(place: int, replica: Replica) -> Any:
        model, share = models[place], Share(replica, batch, (place, len(models)))
        with share.used():
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(Ports(model).fit(share.rows))
            parts = {"x": x, "y": y, "y_pred": answer(model, x, training=False), "sample_weight": sample_weight}
            return share.weighed(loss_of(model, **parts, training=False))

    with unchanged(models, values=True), numpy_calls.explained():
        shift_seeds(models[0], shift)
        return float(sum(Replicas(["/cpu:0"] * len(models), None).run(of_share)))


def _normalizes_by_process(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized


def _line(layer: Any) -> str:
    function = layer.function if isinstance(layer, keras.layers.Lambda) else getattr(type(layer), "call", None)
    is_of_user = isinstance(function, types.FunctionType) and not str(function.__module__).startswith("keras.")
    return f" at {where_defined(function)}" if is_of_user else ""  # type: ignore[arg-type]  # it is a function
