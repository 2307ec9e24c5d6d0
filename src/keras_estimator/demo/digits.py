"""A user's program: train a model of handwritten digits and export it, or `fit` the same model to compare.

The model holds what stops others from converting it: layers without a config, NumPy in a Lambda
layer, and a layer that counts its batches in a variable that Keras does not know of.
"""

from __future__ import annotations

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

SEED, BATCH_SIZE, EPOCHS = 7, 32, 40


class Swish(keras.layers.Layer):
    """An activation of one's own."""

    def call(self, x: Any) -> Any:
        """Return x where it is large, 0 where it is very negative."""
        return x * keras.ops.sigmoid(x)


class FadingNoise(keras.layers.Layer):
    """Adds noise in training, less with every batch; it counts them in a plain tf.Variable."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = tf.Variable(0.0, trainable=False)
        self.seeds = keras.random.SeedGenerator(SEED)

    def call(self, x: Any, *, training: bool = False) -> Any:
        """Return x with noise when training, else x."""
        if not training:
            return x
        self.batches.assign_add(1.0)
        noise = keras.random.normal(keras.ops.shape(x), seed=self.seeds)
        return x + noise * 100 / (100 + self.batches)


def waves(x: Any) -> Any:
    """Return a layer's output through a function of NumPy."""
    return np.sin(x)


def build_model() -> keras.Model:
    """Return the compiled model: an 8x8 image to ten logits."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(16, 3, padding="same"),
            Swish(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64),
            FadingNoise(),
            keras.layers.Lambda(waves),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, name="digit"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.0005), loss=loss, metrics=["accuracy"])
    return model


def read_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images and digits to train with, and those to test with: always the same ones."""
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    x, x_test, y, y_test = train_test_split(images, digits, test_size=0.2, random_state=SEED, stratify=digits)
    return x, y, x_test, y_test


class LossFile(ke.Hook):
    """Appends the loss to a file, one line of JSON at a time, so that it outlives a kill."""

    cadence = ke.Cadence(every_steps=10)

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, run: ke.Run) -> None:
        """Note where this process begins."""
        self.append(begins_at=run.step)

    def after_steps(self, run: ke.Run) -> None:
        """Note the mean loss of the last ten steps."""
        self.append(step=run.step, loss=run.metrics["loss"])

    def append(self, **entry: float) -> None:
        """Write one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def train(folder: Path) -> ke.Estimator:
    """Train, from the beginning or from where a process before was killed."""
    x, y, x_test, y_test = read_digits()
    keras.utils.set_random_seed(SEED)
    config = ke.RunConfig(save_checkpoints_steps=100, log_step_count_steps=10)
    estimator = ke.model_to_estimator(build_model, model_dir=folder / "model", config=config)

    data = ke.Arrays(x, y, batch_size=BATCH_SIZE, shuffle=False, epochs=EPOCHS)
    estimator.train(data, hooks=[LossFile(folder / "losses.jsonl")])

    metrics = estimator.evaluate((x_test, y_test))
    predictions = [row["digit"] for row in estimator.predict(x_test)]
    _write_result(folder, estimator.model, metrics, np.stack(predictions))
    return estimator
