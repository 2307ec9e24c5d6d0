"""Find out what a model takes and is trained with: from a batch of the user, or from the model itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.errors import BlueprintError

ROWS = 8
# The size of a dimension that nobody states, such as the length of a text.
_UNSTATED = 8
_MOST_OUTPUTS_COMBINED = 3


def features_of(model: Any, batch: Any) -> Any:
    """Return the specs of what a model takes, for batches of any size.

    Args:
        model: A Keras model.
        batch: A batch as `train_step` gets it; None: take what the model was built with.

    Raises:
        BlueprintError: Nothing says what the model takes.
    """
    if batch is not None:
        return specs_of(keras.utils.unpack_x_y_sample_weight(batch)[0], model)
    if getattr(model, "inputs", None):
        declared = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        return tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), declared)
    shapes = (model.get_build_config() or {}) if model.built else {}
    if "shapes_dict" in shapes and len(shapes["shapes_dict"]) == 1:
        shapes = {"input_shape": next(iter(shapes["shapes_dict"].values()))}
    if shapes.get("input_shape") is None:
        raise BlueprintError(
            f"nothing says what `{model.name}` takes",
            found="a model that was never called" if not model.built else "a model that takes several arguments",
            expected="a model that was built, or a batch of its data",
            fix="ke.Blueprint.of(model, batch=(x, y)) with a few rows of the data that it is trained with",
            rule="" if model.built else "KE502",
        )
    return _of_shapes(shapes["input_shape"], model.input_dtype)


def _of_shapes(shapes: Any, dtype: str) -> Any:
    if isinstance(shapes, dict):
        return {name: _of_shapes(shape, dtype) for name, shape in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return tf.TensorSpec([None, *shapes[1:]], dtype)
    return type(shapes)(_of_shapes(shape, dtype) for shape in shapes)


def specs_of(arrays: Any, model: Any) -> Any:
    """Return the specs of arrays for batches of any size, unless the model states one.

    Args:
        arrays: A structure of arrays with rows along their first axis.
        model: The Keras model that takes them.
    """
    sizes = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or ()}
    size = sizes.pop() if len(sizes) == 1 else None

    def spec(array: Any) -> Any:
        array = tf.convert_to_tensor(array)
        return tf.TensorSpec([size, *array.shape[1:]] if array.shape.rank else [], array.dtype)

    return tf.nest.map_structure(spec, arrays)


def training_data_of(model: Any, batch: Any, features: Any, outputs: Any) -> Iterator[Any]:
    """Yield the specs of what `train_step` may get, the likeliest first.

    Args:
        model: A compiled model.
        batch: A batch as `train_step` gets it; None: labels that fit the outputs are thought out.
        features: The specs of what the model takes.
        outputs: The specs of what it answers; None if it has no `call`.

    Yields:
        A structure of `tf.TensorSpec`.
    """
    if batch is not None:
        yield specs_of(batch, model)
        return
    by_itself = [(features,), features]
    labelled = [(features, labels) for labels in _labels(outputs, classes_first=_takes_classes(model))]
    yield from (*by_itself[:1], *labelled, features) if _has_no_loss(model) else (*labelled, *by_itself)


def _has_no_loss(model: Any) -> bool:
    return not getattr(model, "loss", None)


def _takes_classes(model: Any) -> bool:
    """Guess from the name of its losses whether labels are numbers of classes; a wrong guess costs a trace."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    return any("sparse" in str(getattr(loss, "name", getattr(loss, "__name__", loss))).lower() for loss in losses)


def _labels(outputs: Any, *, classes_first: bool) -> Iterator[Any]:
    """Yield specs of labels: numbers like the outputs, or the numbers of classes."""
    leaves = tf.nest.flatten(tf.TensorSpec([None, 1]) if outputs is None else outputs)
    choices = [(tf.TensorSpec(leaf.shape, "float32"), tf.TensorSpec(leaf.shape[:-1], "int64")) for leaf in leaves]
    choices = [choice[::-1] if classes_first else choice for choice in choices]
    rows: Any = itertools.product(*choices) if len(leaves) <= _MOST_OUTPUTS_COMBINED else zip(*choices, strict=True)
    for labels in rows:
        yield labels[0] if outputs is None else tf.nest.pack_sequence_as(outputs, list(labels))


def batches_of(model: Any, batch: Any) -> tuple[Any, Any]:
    """Return two batches of what a model takes.

    Args:
        model: A Keras model.
        batch: A batch as `train_step` gets it: its features, and the same in reverse order. None: both are made up.

    Raises:
        BlueprintError: Nothing says what the model takes.
    """
    if batch is None:
        specs = features_of(model, None)
        return values_for(specs, seed=1), values_for(specs, seed=2)
    features = keras.utils.unpack_x_y_sample_weight(batch)[0]
    arrays = tf.nest.map_structure(np.asarray, features)
    return arrays, tf.nest.map_structure(lambda array: array[::-1].copy(), arrays)


def values_for(specs: Any, *, seed: int = 0) -> Any:
    """Make up a batch.

    Args:
        specs: A structure of `tf.TensorSpec`.
        seed: Another seed gives other numbers.

    Returns:
        Arrays of `ROWS` rows, or as many as the specs state: floats between 0 and 1, 0 or 1 for integers, and
        letters for texts.
    """
    generator = np.random.default_rng(seed)

    def values(spec: Any) -> Any:
        shape = [_UNSTATED if size is None else size for size in spec.shape]
        if shape and spec.shape[0] is None:
            shape[0] = ROWS
        if spec.dtype == tf.string:
            return generator.choice(np.array([b"a", b"b"], object), size=shape)
        if spec.dtype.is_floating:
            return generator.uniform(size=shape).astype(spec.dtype.as_numpy_dtype)
        return generator.integers(0, 2, size=shape).astype(spec.dtype.as_numpy_dtype)

    return tf.nest.map_structure(values, specs)
