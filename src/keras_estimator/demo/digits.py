"""A user's program: train a model of handwritten digits and export it, or `fit` the same to compare.

The model holds what `model_to_estimator` of old refused: a layer without a config, NumPy in a Lambda
layer, and a layer with a state in a plain tf.Variable. `show.py` starts this program, and kills it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_estimator as ke

SEED, BATCH_SIZE, EPOCHS = 1, 32, 30
STEPS = EPOCHS * 45  # 1,437 digits are 44 batches and a smaller one.
SAVE_EVERY, NOTE_EVERY = 250, 10


class Swish(keras.layers.Layer):  # type: ignore[misc]  # Keras has no stubs
    """A custom layer without a config."""

    def call(self, x: Any) -> Any:
        """Return x * sigmoid(x)."""
        return x * keras.ops.sigmoid(x)


class WarmUp(keras.layers.Layer):  # type: ignore[misc]  # Keras has no stubs
    """A layer with a state that Keras does not know: what it lets through grows with the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = tf.Variable(0.0, trainable=False)

    def call(self, x: Any, *, training: bool = False) -> Any:
        """Return x times a number that goes from one half to one."""
        if training:
            self.steps.assign_add(1.0)
        return x * (1.0 - 0.5 / (1.0 + 0.01 * self.steps))


def bend(x: Any) -> Any:
    """Bend values towards one, with NumPy in the middle of the model."""
    return np.tanh(x) + 0.1 * x


def build_model() -> keras.Model:
    """Return the model, compiled; the same each time."""
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(16, 3, padding="same"),
            Swish(),
            keras.layers.Conv2D(16, 3),
            keras.layers.Lambda(bend),
            WarmUp(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, name="digit"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


@dataclasses.dataclass(frozen=True)
class Digits:
    """Images of shape (rows, 8, 8, 1) between 0 and 1, and the digits they show."""

    train_x: np.ndarray[Any, Any]
    train_y: np.ndarray[Any, Any]
    test_x: np.ndarray[Any, Any]
    test_y: np.ndarray[Any, Any]


def read_digits() -> Digits:
    """Return the 1,797 handwritten digits that scikit-learn ships, always in one order; 360 are for testing."""
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    train_x, test_x, train_y, test_y = train_test_split(images, digits, test_size=360, random_state=SEED)
    return Digits(train_x, train_y, test_x, test_y)


class LossNotes(ke.Hook):
    """Notes the loss in a file of JSON lines, which outlives a kill."""

    cadence = ke.Cadence(every_steps=NOTE_EVERY)

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, run: ke.Run) -> None:
        """Note where this process begins."""
        self.note(begins_at=run.step)

    def after_steps(self, run: ke.Run) -> None:
        """Note the mean loss since the last note."""
        self.note(step=run.step, loss=run.metrics["loss"])

    def note(self, **values: float) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def train(folder: Path) -> ke.Estimator:
    """Train from wherever the files of the run stand, then measure the model on the test digits."""
    digits = read_digits()
    config = ke.RunConfig(save_checkpoints_steps=SAVE_EVERY, log_step_count_steps=NOTE_EVERY)
    estimator = ke.model_to_estimator(build_model, model_dir=folder / "run", config=config)

    batches = ke.Arrays(digits.train_x, digits.train_y, batch_size=BATCH_SIZE, shuffle=False)
    estimator.train(batches, hooks=[LossNotes(folder / "losses.jsonl")], max_steps=STEPS)

    metrics = estimator.evaluate((digits.test_x, digits.test_y))
    _write_result(folder, estimator.model, metrics["accuracy"], estimator.predictor()(digits.test_x), digits)
    return estimator


def train_and_export(folder: Path) -> None:
    """Train from wherever the files of the run stand, and write the model for serving."""
    train(folder).export_saved_model(folder / "export")


def fit(folder: Path) -> None:
    """Train the same model by `fit`, on the same batches in the same order."""
    digits = read_digits()
    ke.numpy_on_tensors()  # Keras alone cannot build this model.
    model = build_model()
    model.fit(
        digits.train_x,
        digits.train_y,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=_say)],
    )
    accuracy = model.evaluate(digits.test_x, digits.test_y, verbose=0, return_dict=True)["accuracy"]
    _write_result(folder, model, accuracy, model.predict(digits.test_x, verbose=0), digits)


def _say(epoch: int, logs: dict[str, float]) -> None:
    if (epoch + 1) % 10 == 0:
        sys.stderr.write(f"epoch {epoch + 1}/{EPOCHS}, loss {logs['loss']:.4g}, accuracy {logs['accuracy']:.4g}\n")


def _write_result(folder: Path, model: keras.Model, accuracy: float, predicted: Any, digits: Digits) -> None:
    weights = {f"weight_{place}": weight for place, weight in enumerate(model.get_weights())}
    np.savez(
        folder / "result.npz",
        accuracy=accuracy,
        predicted=predicted,
        test_x=digits.test_x,
        test_y=digits.test_y,
        **weights,
    )


if __name__ == "__main__":
    _, part, where = sys.argv
    {"train": train, "train_and_export": train_and_export, "fit": fit}[part](Path(where))
