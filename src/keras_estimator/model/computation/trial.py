"""Try a model out: what it holds, answers and learns, as plain values that two processes can compare."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from keras_estimator.errors import BlueprintError
from keras_estimator.model import half_built, keras_private, numpy_calls
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.computation.fingerprint import Fingerprint, take_fingerprints
from keras_estimator.model.computation.graph_hash import digest_of_array

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True)
class TrialInputs:
    """What a model is tried with; the same in both processes.

    Attributes:
        features: Two batches of what the model takes.
        data: A batch as `train_step` gets it; None: no step is taken.
        batch: The batch that the user gave, for the fingerprint; None if there is none.
    """

    features: tuple[Any, Any]
    data: Any
    batch: Any


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a model did.

    Attributes:
        state: Dtype, shape and hash of the bytes of each variable, by its path, as it was before.
        answers: The outputs of both batches, by names like `batch 0, output 1`.
        logs: What the train step reported.
        trained: Like `state`, after the train step.
        fingerprint: Its fingerprint; None if it cannot be traced.
        not_tried: What was not tried, and why.
        in_graphs: Whether its steps ran as graphs; one that is compared with it must run them alike, as operations
            called one by one round otherwise.
    """

    state: Mapping[str, str]
    answers: Arrays
    logs: Arrays
    trained: Mapping[str, str]
    fingerprint: Fingerprint | None
    not_tried: Mapping[str, str]
    in_graphs: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "state": dict(self.state),
            "answers": {name: _encoded(array) for name, array in self.answers.items()},
            "logs": {name: _encoded(array) for name, array in self.logs.items()},
            "trained": dict(self.trained),
            "fingerprint": self.fingerprint and self.fingerprint.to_json(),
            "not_tried": dict(self.not_tried),
            "in_graphs": self.in_graphs,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Trial:
        """Take what `to_json` returned."""
        arrays = {part: {name: decoded(one) for name, one in values[part].items()} for part in ("answers", "logs")}
        fingerprint = values["fingerprint"] and Fingerprint.from_json(values["fingerprint"])
        return cls(**(dict(values) | arrays | {"fingerprint": fingerprint}))


def try_out(
    model: Any,
    inputs: TrialInputs,
    fingerprint: Fingerprint | None = None,
    *,
    with_fingerprint: bool = True,
    in_graphs: bool = True,
) -> Trial:
    """Let a model answer two batches and take one step; it is not as it was afterwards.

    Args:
        model: A Keras model.
        inputs: What it is tried with.
        fingerprint: Its fingerprint, if it was taken already.
        with_fingerprint: Whether it is wanted at all.
        in_graphs: Whether to run its steps as graphs; a large model is traced for longer than it runs.

    Raises:
        Exception: Whatever the model raises when it answers.
    """
    numpy_calls.install()
    not_tried: dict[str, str] = {}
    state = _state(model)
    try:
        if with_fingerprint and fingerprint is None:
            fingerprint = take_fingerprints(model, inputs.batch)[0].fingerprint
    except BlueprintError as error:
        not_tried["fingerprint"] = f"{error.problem}: {error.found}"
    half_built.complete(model)
    answers = _answers(model, inputs, not_tried, in_graphs=in_graphs)
    logs: Arrays = {}
    trained: dict[str, str] = {}
    if inputs.data is None:
        not_tried["train step"] = "it is not compiled" if not model.compiled else "nobody knows its data: give a batch"
    else:
        if in_graphs and not keras_private.has_own(model, "train_step") and model.optimizer is not None:
            keras_private.build_for_training(model, None)  # or TensorFlow would trace the step twice
        logs = _named("log", _runs(model, model.train_step, in_graphs=in_graphs)(inputs.data))
        trained = _state(model)
    return Trial(state, answers, logs, trained, fingerprint, not_tried, in_graphs)


def _answers(model: Any, inputs: TrialInputs, not_tried: dict[str, str], *, in_graphs: bool) -> Arrays:
    answers: Arrays = {}
    predict = _runs(model, model.predict_step, in_graphs=in_graphs)
    for place, features in enumerate(inputs.features):
        try:
            answers |= _named(f"batch {place}, output", predict((features,)))
        except NotImplementedError:
            if keras_private.has_call(model):
                raise
            not_tried["answers"] = "the model has no call"
    return answers


def _runs(model: Any, step: Any, *, in_graphs: bool) -> Callable[[Any], Any]:
    """Return a step as a function of arrays; as a graph, it is traced once for batches of the same kind."""
    if model.run_eagerly:
        runs = step
    elif in_graphs:
        runs = tf.function(step, autograph=False)
    else:
        runs = numpy_calls.eager_too()(step)  # NumPy does to tensors what it does in a graph

    def run(data: Any) -> Any:
        with numpy_calls.explained():
            return runs(tf.nest.map_structure(tf.convert_to_tensor, data))

    return run


def _named(name: str, outputs: Any) -> Arrays:
    if isinstance(outputs, Mapping):
        leaves = keras.tree.flatten_with_path(outputs)
        return {f"{name} `{'/'.join(map(str, path))}`": _plain(value) for path, value in leaves}
    return {f"{name} {place}": _plain(value) for place, value in enumerate(tf.nest.flatten(outputs))}


def _plain(value: Any) -> np.ndarray[Any, Any]:
    """Return a value as an array of numbers or bytes, as it also comes out of JSON."""
    array = np.asarray(value)
    return array.astype("S") if array.dtype.hasobject else array


def _state(model: Any) -> dict[str, str]:
    return {held.path: digest_of_array(np.asarray(held.variable.numpy())) for held in holdings(model)}


def _encoded(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {
        "dtype": array.dtype.name if array.dtype.kind != "S" else array.dtype.str,
        "shape": array.shape,
        "bytes": base64.b64encode(array.tobytes()).decode(),
    }


def decoded(one: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return an array that `to_json` has written."""
    dtype = tf.bfloat16.as_numpy_dtype if one["dtype"] == "bfloat16" else np.dtype(one["dtype"])
    return np.frombuffer(base64.b64decode(one["bytes"]), dtype).reshape(one["shape"])


def arithmetic() -> dict[str, str]:
    """Return what lets another process round as this one; TensorFlow reads it once, `os.environ` may differ since."""
    return {"TF_ENABLE_ONEDNN_OPTS": str(int(_pywrap_util_port.IsMklEnabled()))}
