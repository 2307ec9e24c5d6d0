"""The fingerprint of a model: hashes of what it computes, equal in every process that would train it alike.

What is hashed are traced graphs (`graph_hash.py`), never code, configs or pickles. The gradients of a graph
follow from its operations, so a train step of Keras's own is hashed as the loss and the optimizer's
update, unless an operation has a gradient of its own; a train step of the user is hashed whole.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_estimator.errors import BlueprintError
from keras_estimator.model import half_built, keras_private, numpy_calls
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.carrying.object_graph import no_garbage_collection
from keras_estimator.model.computation.graph_hash import Computation, GraphHash, digest
from keras_estimator.model.computation.sample import features_of, training_data_of
from keras_estimator.model.computation.traces import Tracer
from keras_estimator.model.computation.unchanged import unchanged
from keras_estimator.model.user_lines import located

UPDATE, TRAINED = "update of the weights", "choice of the weights to train"


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What a model computes, as hashes.

    Two fingerprints are equal if both models compute the same from the same variables. Values of
    variables, names of layers that Keras numbers, the process and the machine do not matter.

    Attributes:
        inference: What the model answers.
        training: What one train step does; of a model that is not compiled, what it answers in training.
        variables: Dtype and shape of each variable, by its path.
    """

    inference: Computation
    training: Computation
    variables: Mapping[str, str]

    @property
    def hash(self) -> str:
        """32 hexadecimal digits for all of it."""
        listed = (f"{path} {what}" for path, what in sorted(self.variables.items()))
        return digest(self.inference.hash, self.training.hash, *listed)

    def __str__(self) -> str:
        return self.hash

    def differences(self, other: Fingerprint) -> list[str]:
        """Say what differs.

        Args:
            other: The fingerprint of the other model.

        Returns:
            One line for each layer, variable or whole that differs, the inner ones first; empty if they are equal.
        """
        found = [
            f"variable `{path}`: {one or 'missing'} and {two or 'missing'}"
            for path, one, two in _unequal(self.variables, other.variables)
        ]
        for mode in ("inference", "training"):
            one, two = getattr(self, mode), getattr(other, mode)
            parts = [f"{mode}: {_in_words(path)}" for path, *_ in _unequal(one.parts, two.parts)]
            found += parts or ([f"{mode}: how the layers are connected"] if one.hash != two.hash else [])
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fingerprint:
        """Take what `to_json` returned."""
        inference, training = (Computation(**values[mode]) for mode in ("inference", "training"))
        return cls(inference, training, values["variables"])


def _unequal(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in sorted(one.keys() | other.keys(), key=lambda key: (not key, -key.count("/"), key)):
        if one.get(key) != other.get(key):
            yield key, one.get(key, ""), other.get(key, "")


def _in_words(path: str) -> str:
    return f"`{path}`" if path and path not in (UPDATE, TRAINED) else path or "the model, outside of its layers"


@dataclasses.dataclass(frozen=True)
class Traced:
    """What was found out while a fingerprint was taken.

    Attributes:
        fingerprint: The fingerprint.
        data: The specs of what the train step was traced with; of a model that is not compiled, of its features.
        calls_python: Whether it calls Python while it runs, where nobody sees what it computes.
        needs_graph: Whether it may do something else, or take long, if it is run outside of a graph.
    """

    fingerprint: Fingerprint
    data: Any
    calls_python: bool
    needs_graph: bool


def take_fingerprints(model: Any, batch: Any, times: int = 1) -> list[Traced]:
    """Trace what a model computes, more than once if wanted; the model is left as it was.

    Args:
        model: A Keras model, compiled or not.
        batch: A batch as `train_step` gets it; None if the model was built.
        times: How often all is traced; the fingerprints of several times differ if the model is not pure.

    Raises:
        BlueprintError: The model cannot be traced, or nothing says what it takes.
    """
    numpy_calls.install()
    features = features_of(model, batch)
    failures: list[Exception] = []
    while True:
        with no_garbage_collection(), unchanged(model, values=False):
            half_built.complete(model)
            tracer = Tracer(model)
            inferences = [_trace_inference(tracer, model, features)]
            data = _next_data(model, batch, features, inferences[0].outputs, failures)
            try:
                inferences += [_trace_inference(tracer, model, features) for _ in range(times - 1)]
                trainings = [_trace_training(tracer, model, data) for _ in range(times)]
            except Exception as error:  # noqa: BLE001 - whatever it is, other labels may fit
                failures.append(error)
                continue
            variables = _variables(model)
        return [
            Traced(
                Fingerprint(inference.computation, training.computation, variables),
                data,
                calls_python=inference.calls_python or training.calls_python,
                needs_graph=inference.needs_graph or training.needs_graph,
            )
            for inference, training in zip(inferences, trainings, strict=True)
        ]


@dataclasses.dataclass(frozen=True)
class _Mode:
    computation: Computation
    outputs: Any
    calls_python: bool = False
    needs_graph: bool = False


def _mode(traced: tuple[GraphHash, Any]) -> _Mode:
    hashes, outputs = traced
    return _Mode(hashes.computation(), outputs, hashes.calls_python, hashes.needs_graph)


def _trace_inference(tracer: Tracer, model: Any, features: Any) -> _Mode:
    try:
        return _mode(tracer.trace(model.predict_step, (features,)))
    except Exception as error:
        if isinstance(error, NotImplementedError) and not keras_private.has_call(model):
            return _Mode(Computation("", {}), None)
        raise _untraceable(model, error) from error


def _next_data(model: Any, batch: Any, features: Any, outputs: Any, failures: list[Exception]) -> Any:
    """Return the specs that were not yet tried; the error of the first ones if there are none left."""
    if not model.compiled:
        tried: list[Any] = [(features,)]
    else:
        tried = list(training_data_of(model, batch, features, outputs))
    if len(failures) == len(tried):
        raise _untraceable(model, failures[0]) from failures[0]
    return tried[len(failures)]


def _untraceable(model: Any, error: Exception) -> BlueprintError:
    if isinstance(error, BlueprintError):
        return error
    return BlueprintError(
        f"what `{model.name}` computes cannot be traced",
        found=located(error),
        expected="a model whose call and train_step can be compiled, and data that fit it",
        fix="ke.Blueprint.of(model, batch=(x, y)) with a few rows of its data; or mend the line above",
    )


def _trace_training(tracer: Tracer, model: Any, data: Any) -> _Mode:
    if not model.compiled:
        return _mode(tracer.trace(lambda data: keras_private.answer(model, data[0], training=True), data))
    if keras_private.has_own(model, "train_step"):
        return _mode(tracer.trace(model.train_step, data))
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_weights)
    hashes, _ = tracer.trace(functools.partial(loss_and_gradients, model, with_gradients=False), data)
    if hashes.has_own_gradients:
        hashes, _ = tracer.trace(functools.partial(loss_and_gradients, model, with_gradients=True), data)
    loss, update = hashes.computation(), _update(tracer, model)
    whole = Computation(digest(loss.hash, *update.values()), {**loss.parts, **update})
    return _Mode(whole, None, hashes.calls_python, hashes.needs_graph)


def loss_and_gradients(model: Any, data: Any, *, with_gradients: bool) -> tuple[Any, list[Any], Any]:
    """Do what `train_step` of Keras does, up to the update of the weights.

    Args:
        model: A compiled model.
        data: A batch as `train_step` gets it, of tensors.
        with_gradients: Whether they are wanted.

    Returns:
        The loss; the gradients of the trainable weights, None where there is none, or nothing; what the metrics say.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        answer = keras_private.answer(model, x, training=True)
        given = {"x": x, "y": y, "y_pred": answer, "sample_weight": sample_weight}
        loss = keras_private.loss_of(model, **given, training=True)
        if model.optimizer is not None:
            loss = model.optimizer.scale_loss(loss)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_weights]) if with_gradients else []
    return loss, gradients, model.compute_metrics(**given)


def _update(tracer: Tracer, model: Any) -> dict[str, str]:
    """Hash what the optimizer does, with one variable of each sort that it may tell apart."""
    optimizer, weights = model.optimizer, model.trainable_weights
    if optimizer is None or not weights:
        return {}
    sorts: dict[Any, Any] = {}
    listed: list[str] = []
    paths = {id(held.variable): held.path for held in holdings(model)}
    for weight in weights:
        is_decayed = keras_private.is_decayed(optimizer, weight)
        sort = (len(weight.shape), weight.dtype, is_decayed, id(getattr(weight, "constraint", None)))
        sorts.setdefault(sort, weight)
        listed.append(f"{paths.get(id(weight), '?')} {is_decayed} {list(sorts).index(sort)}")
    try:
        update = _trace_update(tracer, optimizer, list(sorts.values()))
    except ValueError:  # a MultiOptimizer takes all of them or none
        update = _trace_update(tracer, optimizer, weights)
    return {UPDATE: update, TRAINED: digest(*sorted(listed))}


def _trace_update(tracer: Tracer, optimizer: Any, weights: list[Any]) -> str:
    specs = [tf.TensorSpec(weight.shape, weight.dtype) for weight in weights]
    return tracer.trace(lambda *gradients: optimizer.apply(list(gradients), weights), *specs)[0].computation().hash


def _variables(model: Any) -> dict[str, str]:
    return {
        held.path: f"{keras.backend.standardize_dtype(held.variable.dtype)} {tuple(held.variable.shape)}"
        for held in holdings(model)
    }
