"""The same seed and data in the same order: `train` gives the numbers of `fit`, step by step, for each kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import zoo

import keras_estimator as ke
from keras_estimator.model import anatomy

SEED, EPOCHS = 3, 2
# What a quick run of the tests tries; the others are slow, being many.
QUICK = (
    "mlp dropout batch_normalization convolution regularizers custom_layer_add_loss_hidden_state sample_weights "
    "class_weights two_outputs_by_name two_inputs_by_name string_lookup masked_sequences own_train_step two_optimizers "
    "clipping_decay_average accumulated_gradients mixed_precision eager deferred endpoint"
).split()


class Losses(keras.callbacks.Callback):
    """Notes the logs of every step and every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[tuple[int, int], float] = {}  # by epoch and batch
        self.epochs: list[dict[str, float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps[len(self.epochs), batch] = float(logs.get("loss", next(iter(logs.values()))))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(dict(logs))


def built(build: Callable[[], keras.Model]) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    return build()


def assert_close(ours: Mapping[str, Any], theirs: Mapping[str, Any], tolerance: float = 1e-6) -> None:
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=tolerance, atol=1e-6, err_msg=key)


@contextlib.contextmanager
def kept(model: keras.Model) -> Iterator[None]:
    """Put back what Keras changes while it evaluates and predicts, as we do."""
    before = [(held.variable, held.variable.numpy()) for held in anatomy.holdings(model)]
    yield
    for variable, value in before:
        variable.assign(value)


def without(logs: Mapping[str, Any], kind: zoo.Kind) -> dict[str, Any]:
    return {key: value for key, value in logs.items() if key != "loss" or kind.must("loss_of_a_pass")}


@pytest.mark.parametrize("name", zoo.under_contract(quick=QUICK))
def test_training_evaluation_and_prediction_equal_keras(name: str, tmp_path: Path) -> None:
    kind = zoo.KINDS[name]
    if not kind.must("fits"):
        pytest.skip(kind.exceptions["fits"])
    reference, by_fit = built(kind.reference or kind.build), Losses()
    reference.fit(
        kind.data(), epochs=EPOCHS, callbacks=[by_fit], verbose=0, shuffle=False, class_weight=kind.class_weight
    )
    with kept(reference):
        wanted = reference.evaluate(kind.data(), verbose=0, return_dict=True) if kind.must("evaluates") else {}
    with kept(reference):
        expected = reference.predict(kind.data(), verbose=0) if kind.must("predicts") else {}

    ours, by_train = built(kind.build), Losses()
    estimator = ke.model_to_estimator(ours, model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    with zoo.heard(kind, "trains"):
        for _ in range(EPOCHS):
            estimator.train(kind.data, callbacks=[by_train], class_weight=kind.class_weight)

    last = len(kind.data()) - 1
    assert len(by_train.steps) == EPOCHS * (last + 1)
    # `fit` may make several steps before it calls back.
    ours_then = {(epoch, batch): by_train.steps[epoch, min(batch, last)] for epoch, batch in by_fit.steps}
    assert ours_then == pytest.approx(by_fit.steps, rel=1e-6, abs=1e-6)
    for ours_logs, fit_logs in zip(by_train.epochs, by_fit.epochs, strict=True):
        assert_close(without(ours_logs, kind), without(fit_logs, kind), 1e-5)

    if kind.must("evaluates"):
        found = estimator.evaluate(kind.data)
        assert found.pop("global_step") == len(by_train.steps)
        assert_close(found, wanted)
    if kind.must("predicts"):
        predicted = list(estimator.predict(kind.data, yield_single_examples=False))
        named = (
            expected if isinstance(expected, dict) else dict(zip(predicted[0], tf.nest.flatten(expected), strict=True))
        )
        assert named.keys() == predicted[0].keys()
        for key, array in named.items():
            got = np.concatenate([batch[key] for batch in predicted])
            np.testing.assert_allclose(got, array, rtol=1e-6, atol=1e-6)
