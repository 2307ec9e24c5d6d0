"""The same seed and the same data in the same order: `train` gives the numbers of `fit`, step by step."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import zoo

import keras_estimator as ke

SEED, EPOCHS = 3, 2


class Losses(keras.callbacks.Callback):
    """Notes the logs of every step and every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []
        self.epochs: list[dict[str, float]] = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))


def built(kind: zoo.Kind) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    return kind.build()


# Their steps report a loss without updating Keras's tracker of it: `fit` and Keras's `evaluate` then answer 0.0
# without a word where we give the last batch's value.
WITHOUT_TRACKER_IN_TRAINING = {"own_train_step"}
WITHOUT_TRACKER_IN_EVALUATION = {"two_optimizers"}


@pytest.mark.parametrize("name", zoo.KINDS)
def test_training_evaluation_and_prediction_equal_keras(name: str, tmp_path: Path) -> None:
    kind = zoo.KINDS[name]
    reference, by_fit = built(kind), Losses()
    reference.fit(
        kind.data(), epochs=EPOCHS, callbacks=[by_fit], verbose=0, shuffle=False, class_weight=kind.class_weight
    )

    ours, by_train = built(kind), Losses()
    estimator = ke.model_to_estimator(ours, model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    for _ in range(EPOCHS):
        estimator.train(kind.data, callbacks=[by_train], class_weight=kind.class_weight)

    np.testing.assert_allclose(by_train.steps, by_fit.steps, rtol=1e-6, atol=1e-6)
    for ours_logs, fit_logs in zip(by_train.epochs, by_fit.epochs, strict=True):
        assert set(ours_logs) == set(fit_logs)
        for key, value in fit_logs.items():
            if key == "loss" and name in WITHOUT_TRACKER_IN_TRAINING:
                continue
            assert ours_logs[key] == pytest.approx(float(value), rel=1e-5, abs=1e-6), key

    found = estimator.evaluate(kind.data)
    assert found.pop("global_step") == len(by_fit.steps)
    wanted = reference.evaluate(kind.data(), verbose=0, return_dict=True)
    assert set(found) == set(wanted)
    if name not in WITHOUT_TRACKER_IN_EVALUATION:
        assert found == pytest.approx({key: float(value) for key, value in wanted.items()}, rel=1e-6, abs=1e-6)

    predicted = list(estimator.predict(kind.data, yield_single_examples=False))
    # Keras counts calls on while it evaluates and predicts; ours leaves the model as it was trained.
    if name == "custom_layer_add_loss_hidden_state":
        return
    expected = reference.predict(kind.data(), verbose=0)
    for key, array in (expected if isinstance(expected, dict) else {next(iter(predicted[0])): expected}).items():
        np.testing.assert_allclose(np.concatenate([batch[key] for batch in predicted]), array, rtol=1e-6, atol=1e-6)
