"""Fit a batch of the user's data to a model: names, labels, class weights; in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_estimator.errors import ConfigError, InputError, NotCompiledError
from keras_estimator.inputs import match_names
from keras_estimator.model.keras_private import has_own


class Ports:
    """The named inputs and outputs of a model.

    Attributes:
        inputs: Names in the model's order; None for a subclassed model, which takes what it is given.
        outputs: The same for outputs.
        takes_dict: Whether the model's input is a dict.
        gives_dict: Whether its output is one.
    """

    def __init__(self, model: Any) -> None:
        tensors = _graph_inputs(model)
        # A Sequential has one input and one output; a Functional model may have a dict of them.
        is_functional = bool(tensors) and not isinstance(model, keras.Sequential)
        given, made = (model.input, model.output) if is_functional else (None, None)
        self.takes_dict = isinstance(given, Mapping)
        self.gives_dict = isinstance(made, Mapping)
        self.inputs = (list(given) if isinstance(given, Mapping) else [t.name for t in tensors]) if tensors else None
        self.outputs = (list(made) if isinstance(made, Mapping) else _output_names(model)) if tensors else None
        declared = list(given.values()) if isinstance(given, Mapping) else tensors
        self._shapes = [t.shape for t in (declared if all(hasattr(t, "shape") for t in declared) else tensors)]
        # A step of the user's may take what it is given apart by name; Keras finds the inputs by name, too.
        self._has_own_step = has_own(model, "train_step", "test_step", "predict_step")

    def fit(self, batch: Any) -> tuple[Any, ...]:
        """Return `(x[, y[, sample_weight]])` of a batch in the model's own structure.

        Raises:
            InputError: names or shapes do not fit; or the batch has more than three parts.
        """
        parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        if not 1 <= len(parts) <= 3:
            raise InputError(
                "a batch has too many parts",
                found=f"a {type(batch).__name__} of {len(parts)}",
                expected="(x,), (x, y) or (x, y, sample_weight)",
                fix="put several inputs into one dict or tuple: ((x1, x2), y)",
            )
        x = self._matched(parts[0], self.inputs, "inputs", keeps_dict=self.takes_dict)
        self._check_shapes(x)
        labels = (self._matched(part, self.outputs, "outputs", keeps_dict=self.gives_dict) for part in parts[1:])
        return (x, *labels)

    def _matched(self, given: Any, names: list[str] | None, what: str, *, keeps_dict: bool) -> Any:
        """Put what the data have into the model's structure; a step of the user's gets their dict, as from `fit`."""
        for_own_step = self._has_own_step and isinstance(given, Mapping) and set(names or ()) <= set(given)
        return match_names(given, names, what=what, keeps_dict=keeps_dict or for_own_step)

    def _check_shapes(self, x: Any) -> None:
        in_order = isinstance(x, Mapping) and x.keys() == set(self.inputs or ())
        flat = [x[name] for name in self.inputs or ()] if in_order else tf.nest.flatten(x)
        if len(flat) != len(self._shapes):
            if self._shapes:
                raise InputError(
                    "the data have another number of inputs than the model",
                    found=f"{len(flat)} input{'s' if len(flat) > 1 else ''}",
                    expected=f"{len(self._shapes)}: {', '.join(self.inputs or [])}",
                    fix="give a dict with these names, or a tuple in this order: ((x1, x2), y)",
                )
            return
        for name, array, shape in zip(self.inputs or [], flat, self._shapes, strict=True):
            # Built by a batch, a model has the size of that batch in its shape; it takes any.
            given, wanted = array.shape, tf.TensorShape([None, *shape[1:]])
            if given.rank is None or given.is_compatible_with(wanted) or _is_widened(given, wanted):
                continue
            raise InputError(
                f"the input `{name}` has another shape than the model takes",
                found=f"a batch of shape {tuple(given)}",
                expected=f"{tuple(wanted)}, the first dimension being the batch",
                fix="reshape the data, or pass batches instead of single rows (dataset.batch(32))",
            )


def _is_widened(given: tf.TensorShape, wanted: tf.TensorShape) -> bool:
    """Say whether Keras adds or drops a last axis of size one by itself."""
    longer, shorter = (given, wanted) if given.rank > (wanted.rank or 0) else (wanted, given)
    return longer.rank - shorter.rank == 1 and longer[-1] in (1, None) and longer[:-1].is_compatible_with(shorter)


def _graph_inputs(model: Any) -> list[Any]:
    try:
        return list(model.inputs or [])
    except (AttributeError, ValueError):
        return []  # a subclassed model has no graph of layers


def _output_names(model: Any) -> list[str]:
    names = getattr(model, "output_names", None)
    if names:
        return list(names)
    return [layer.name for layer in model.layers[-1:]]


def check_compiled(model: Any, verb: str) -> None:
    """Check that a model has what it needs to train or evaluate.

    Raises:
        NotCompiledError: it has no loss.
    """
    if not model.compiled:
        raise NotCompiledError(
            f"the model has to be compiled before it can {verb}",
            found=f"`{model.name}` without compile()",
            expected="an optimizer and a loss",
            fix=f'estimator.model.compile(optimizer="adam", loss="mse"), then {verb} again',
        )


def check_labels(model: Any, spec: Any) -> None:
    """Check that there are labels for the loss, if it is Keras that computes it.

    Args:
        model: A compiled model.
        spec: One batch as a nest of `tf.TypeSpec`.

    Raises:
        InputError: the batches have no `y`.
    """
    own = any(
        getattr(type(model), name) is not getattr(keras.Model, name)
        for name in ("train_step", "test_step", "compute_loss")
    )
    if model.loss is None or own or (isinstance(spec, tuple | list) and len(spec) > 1):
        return
    raise InputError(
        "the loss needs labels",
        found="batches without y",
        expected="batches (x, y) or (x, y, sample_weight)",
        fix="give (x, y); to predict what was put in, give (x, x)",
    )


def with_class_weight(batch: tuple[Any, ...], class_weight: Mapping[Any, Any], outputs: list[str] | None) -> Any:
    """Return `(x, y, sample_weight)` where each example counts as its class does.

    Args:
        batch: `(x, y)` or `(x, y, sample_weight)`; the weights are multiplied.
        class_weight: Class number to weight, or output name to such a dict.
        outputs: Names of the model's outputs, if it has names.

    Raises:
        ConfigError: the labels have several parts and `class_weight` does not name them, or there are none.
    """
    x, y, given = (*batch, None, None)[:3]
    if y is None:
        raise ConfigError(
            "class weights need labels",
            found="batches without y",
            expected="batches (x, y)",
            fix="drop class_weight=, or give labels",
        )
    by_output = all(isinstance(value, Mapping) for value in class_weight.values())
    if not by_output:
        if tf.nest.is_nested(y):
            raise ConfigError(
                "one set of class weights for several outputs",
                found=f"class_weight={dict(class_weight)}",
                expected=f"a dict by output: {', '.join(outputs or ['output name'])}",
                fix="pass class_weight={'output name': {0: 1.0, 1: 2.0}, ...}",
            )
        return x, y, _weights(y, class_weight, given)
    names = list(y) if isinstance(y, Mapping) else (outputs or [])
    labels = y if isinstance(y, Mapping) else dict(zip(names, tf.nest.flatten(y), strict=True))
    unknown = set(class_weight) - set(labels)
    if unknown:
        raise ConfigError(
            "class weights for an output that the model does not have",
            found=", ".join(sorted(map(str, unknown))),
            expected=", ".join(labels),
            fix="rename the keys of class_weight",
        )
    factors = {name: given.get(name) if isinstance(given, Mapping) else None for name in labels}
    if given is not None and not isinstance(given, Mapping):
        several = isinstance(given, list | tuple)
        factors = {name: given[place] if several else given for place, name in enumerate(labels)}
    weights = {
        name: _weights(label, class_weight[name], factors[name])
        if name in class_weight
        else _ones_like(label, factors[name])
        for name, label in labels.items()
    }
    return x, y, weights if isinstance(y, Mapping) else tf.nest.pack_sequence_as(y, list(weights.values()))


def _ones_like(label: Any, factor: Any) -> Any:
    return tf.ones(tf.shape(label)[:1], keras.config.floatx()) if factor is None else factor


def _weights(label: tf.Tensor, class_weight: Mapping[int, float], factor: Any) -> tf.Tensor:
    if label.shape.rank is not None and label.shape.rank > 1:
        label = tf.squeeze(label, -1) if label.shape[-1] == 1 else tf.argmax(label, -1)
    classes = tf.cast(tf.round(label) if label.dtype.is_floating else label, tf.int64)
    weights = tf.ones_like(classes, keras.config.floatx())
    for number, weight in class_weight.items():
        weights = tf.where(classes == int(number), tf.cast(weight, weights.dtype), weights)
    return weights if factor is None else weights * tf.cast(factor, weights.dtype)
