"""A small run as users make them: trained, killed back, evaluated twice, exported, described."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

import keras_estimator as ke
from keras_estimator.run_description import write_description

LAYERS = ["InputLayer", "Dense", "BatchNormalization", "Dense", "Add", "Dropout", "Dense"]


def two_ways() -> keras.Model:
    """Return a compiled Functional model with a branch."""
    x = keras.Input((8,), name="x")
    hidden = keras.layers.Dense(8, activation="relu", name="first")(x)
    other = keras.layers.Dense(8, name="second")(keras.layers.BatchNormalization(name="normal")(hidden))
    both = keras.layers.Dropout(0.1)(keras.layers.Add(name="add")([hidden, other]))
    model = keras.Model(x, keras.layers.Dense(1, activation="sigmoid", name="answer")(both), name="two_ways")
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model


def train(model_dir: Path) -> ke.Estimator:
    """Train 60 steps in two calls, with an evaluation after each and a second one at the end; export; describe."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(320, 8)).astype("float32")
    y = (x.sum(axis=1, keepdims=True) > 0).astype("float32")
    config = ke.RunConfig(save_summary_steps=5, save_checkpoints_steps=20, progress="off", tf_random_seed=1)
    estimator = ke.model_to_estimator(keras_model=two_ways(), model_dir=model_dir, config=config)
    for last in (40, 60):
        estimator.train(ke.Arrays(x[:256], y[:256], batch_size=16), max_steps=last)
        estimator.evaluate((x[256:], y[256:]))
    estimator.evaluate((x[:32], y[:32]), name="seen")
    estimator.export_saved_model(model_dir / "export" / "best", verify=False)
    write_description(model_dir, estimator.model, estimator.config, {"width": 8, "note": "a <b>bold</b> try"})
    return estimator
