"""The steps of a model as loops take them: a model and a batch of the user's data in, metrics by name out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_estimator.engines.tensorflow.added_metrics import Witness
from keras_estimator.engines.tensorflow.batches import Ports, with_class_weight
from keras_estimator.engines.tensorflow.loops import named_tensors
from keras_estimator.model.keras_private import has_own
from keras_estimator.outputs import by_name

Step = Callable[[Any, Any], Any]


def train_step(class_weight: Mapping[Any, Any] | None) -> Step:
    """Return the step of training, with weights by class if there are any."""

    def train(model: Any, batch: Any) -> Any:
        ports = Ports(model)
        fitted = ports.fit(batch)
        if class_weight:
            fitted = with_class_weight(fitted, class_weight, ports.outputs)
        return model.train_step(_as_given(fitted, batch))

    return train


def test_step(model: Any, batch: Any) -> Any:
    """Measure a batch."""
    return model.test_step(_as_given(Ports(model).fit(batch), batch))


def measured_step(answer: Callable[[Any], Any]) -> Step:
    """Return a step that gives the metrics of a batch, and what `predict` gives for it.

    Args:
        answer: Gives the outputs for the features of a batch, for a model whose steps are the user's own.
    """

    def measure(model: Any, batch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        ports = Ports(model)
        fitted = _as_given(ports.fit(batch), batch)
        if has_own_evaluation(model):
            outputs = answer(features(batch))
            logs = named_tensors(model.test_step)(fitted)
        else:
            witness = Witness(model)
            logs = named_tensors(lambda given: keras.Model.test_step(witness, given))(fitted)
            outputs = witness.answer
        return logs, by_name(outputs, ports.outputs)

    return measure


def has_own_evaluation(model: Any) -> bool:
    """Tell whether what `predict` gives may not be what is measured."""
    return has_own(model, "test_step", "predict_step")


def features(batch: Any) -> Any:
    """Return what a batch, or its spec, has for the model alone."""
    return batch[0] if isinstance(batch, tuple | list) else batch


def _as_given(fitted: tuple[Any, ...], batch: Any) -> Any:
    """Return a batch in the form it came in, because a train_step of the user's unpacks that."""
    if isinstance(batch, tuple | list) or len(fitted) > 1 or isinstance(fitted[0], tuple | list):
        return fitted  # several inputs in a list of their own would be taken for inputs and labels
    return fitted[0]
