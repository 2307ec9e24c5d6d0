"""Find out whether a row of a model's output depends on other rows: then a split batch gives other answers.

Two probes. The output of a batch is compared with the outputs of its parts, which finds every kind of
dependence in inference. And the derivatives of one row of a layer's output with respect to the other rows of
its input are looked at, in inference and in training, which also names the layer.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.errors import BlueprintError
from keras_estimator.model import keras_private, numpy_calls
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.computation.unchanged import unchanged, wrap_calls

# Sums over rows of another number round otherwise.
_TOLERANCE = 1e-4
_SPLITS = (2, 3)  # a part of one row is a case of its own for much code


@dataclasses.dataclass(frozen=True)
class Separability:
    """Whether the rows of a batch are computed each by itself.

    Attributes:
        largest_difference: Between the answer to a batch and the answers to its parts, over the largest
            number in it; 0 if the rows are separate. None if that tells nothing: the model states the size of
            its batches, or one batch gets another answer each time, by random numbers for example.
        inference: The layers in which a row depends on others when the model answers. If any, replicas that
            share a batch answer otherwise than one that has all of it.
        training: The same while the model trains, as in batch normalization: replicas that share a batch then
            train otherwise.
    """

    largest_difference: float | None
    inference: tuple[str, ...]
    training: tuple[str, ...]

    @property
    def is_separable(self) -> bool:
        """Whether a split batch gives the same answers."""
        return not self.inference and (self.largest_difference or 0.0) <= _TOLERANCE


def separability_of(model: Any, features: Any) -> Separability:
    """Probe a model; it is left as it was.

    Args:
        model: A Keras model that was built.
        features: Arrays as the model takes them, of a few rows each.

    Raises:
        BlueprintError: The model holds something that cannot be copied, or has no `call`.
    """
    numpy_calls.install()
    features = tf.nest.map_structure(tf.convert_to_tensor, features)
    try:
        with numpy_calls.explained():
            difference = _largest_difference(model, features)
            inference, training = (_coupled(model, features, training=mode) for mode in (False, True))
    except NotImplementedError as error:
        if keras_private.has_call(model):
            raise
        raise BlueprintError(
            f"nobody can tell whether the rows of `{model.name}` are separate",
            found="a model that answers nothing",
            expected="a model with a `call`",
            fix="give it a method call(self, x)",
        ) from error
    return Separability(difference, inference, training)


def _answer(model: Any, features: Any, *, other_seeds: bool = False) -> list[Any]:
    """Return the outputs of a model; each time from the state that it has now, or from that with other seeds."""
    with unchanged(model, values=True):
        shift_seeds(model, 1 if other_seeds else 0)
        return list(tf.nest.flatten(model.predict_step((features,))))


def shift_seeds(model: Any, shift: int) -> None:
    """Let a model draw other random numbers from here on."""
    for held in holdings(model):
        if isinstance(held.owner, keras.random.SeedGenerator):
            held.variable.assign(held.variable + shift)


def _largest_difference(model: Any, features: Any) -> float | None:
    rows = int(tf.nest.flatten(features)[0].shape[0])
    if any(tensor.shape[0] is not None for tensor in getattr(model, "inputs", None) or ()):
        return None
    whole = _answer(model, features)
    again = _answer(model, features, other_seeds=True)  # each part would draw the numbers of the first rows
    if any(_difference(one, [other], rows) > _TOLERANCE for one, other in zip(whole, again, strict=True)):
        return None
    largest = 0.0
    for split in _SPLITS:
        if not 0 < split < rows:
            continue
        parts = [_answer(model, _rows(features, part)) for part in (slice(0, split), slice(split, None))]
        for together, *apart in zip(whole, *parts, strict=True):
            largest = max(largest, _difference(together, apart, rows))
    return largest


def _rows(features: Any, part: slice) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor[part], features)


def _difference(together: Any, apart: list[Any], rows: int) -> float:
    if any(tensor.shape.rank == 0 for tensor in apart) or int(together.shape[0]) != rows:
        return 1.0  # an answer without rows is one about all of them
    one, other = np.asarray(together), np.concatenate([np.asarray(tensor) for tensor in apart])
    if one.shape != other.shape:
        return 1.0
    if one.dtype.kind not in "fc" and one.dtype.name != "bfloat16":
        return float((one != other).any())
    one, other = one.astype("float64"), other.astype("float64")
    return float(np.max(np.abs(one - other), initial=0.0) / (np.max(np.abs(one), initial=0.0) + 1e-12))


def _coupled(model: Any, features: Any, *, training: bool) -> tuple[str, ...]:
    """Return the layers in whose own code the first row depends on others, the inner ones first.

    The derivatives of each layer end at its inputs and at the outputs of the layers in it: those are looked at by
    themselves, so that all layers together cost as much as one pass backwards.
    """
    calls: list[tuple[str, Any, Any]] = []
    with unchanged(model, values=True), tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        wrap_calls(model, functools.partial(_watched, tape=tape, calls=calls, inner=[[]]))
        keras_private.answer(model, features, training=training)
    found = {path: None for path, inputs, outputs in calls if _depends_on_others(tape, inputs, outputs)}
    return tuple(path or "the model" for path in found)


def _watched(
    call: Callable[..., Any], path: str, tape: Any, calls: list[Any], inner: list[list[Any]]
) -> Callable[..., Any]:
    """Wrap the call of a layer.

    Args:
        call: It.
        path: Of the layer.
        tape: Records what is computed.
        calls: Gets the path, the tensors that this layer starts from, and those that it gives.
        inner: For each layer that is running, what the layers in it have given; the innermost last.
    """

    @functools.wraps(call)
    def watched(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _cut((args, kwargs), tape)
        inner.append([])
        try:
            outputs = call(*args, **kwargs)
        finally:
            starts = inner.pop()
        calls.append((path, [*_floats((args, kwargs)), *starts], list(_floats(outputs))))
        outputs = _cut(outputs, tape)
        inner[-1].extend(_floats(outputs))
        return outputs

    return watched


def _cut(structure: Any, tape: Any) -> Any:
    """Return a structure with other tensors of the same values, at which derivatives end."""

    def cut(leaf: Any) -> Any:
        if not any(True for _ in _floats(leaf)):
            return leaf
        start = tf.stop_gradient(leaf)
        tape.watch(start)
        return start

    return keras.tree.map_structure(cut, structure)


def _floats(structure: Any) -> Iterator[Any]:
    for leaf in keras.tree.flatten(structure):
        if isinstance(leaf, tf.Tensor) and hasattr(leaf, "numpy") and leaf.dtype.is_floating and leaf.shape.rank:
            yield leaf


def _depends_on_others(tape: Any, inputs: list[Any], outputs: list[Any]) -> bool:
    for output in outputs:
        first_row = tf.concat([tf.ones_like(output[:1]), tf.zeros_like(output[1:])], axis=0)
        try:
            gradients = tape.gradient(output, inputs, output_gradients=first_row)
        except tf.errors.OpError:
            continue  # a tf.py_function knows its derivatives only once; the parts of a batch tell enough
        for gradient in gradients:
            if gradient is None:
                continue
            by_row = (
                np.abs(np.asarray(tf.convert_to_tensor(gradient), "float64")).reshape(len(gradient), -1).max(axis=1)
            )
            if by_row[1:].max(initial=0.0) > 1e-6 * max(by_row[0], 1e-30):
                return True
    return False
