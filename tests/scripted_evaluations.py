"""A model whose evaluations give what a test says, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_estimator as ke

X = np.random.RandomState(0).normal(size=(40, 2)).astype("float32")
Y = X[:, :1] * 2


def estimator(folder: Path, values: list[float] | None = None, **options: Any) -> ke.Estimator:
    """An Estimator whose evaluation at step n gives the loss values[n]; its one weight is n."""
    table = keras.ops.convert_to_tensor(np.array(values or [0.0] * 100, "float32"))

    class Scripted(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.at = self.add_weight(name="at", shape=(), initializer="zeros", trainable=False)

        def call(self, x: Any) -> Any:
            return keras.ops.take(table, keras.ops.cast(self.at, "int32")) + 0.0 * x[:, :1]

        def train_step(self, data: Any) -> dict[str, Any]:
            self.at.assign_add(1.0)
            return {"loss": self.at * 0.0}

    made = Scripted()
    made.compile("sgd", lambda y, predicted: predicted)
    options = {"save_checkpoints_steps": 5, "save_summary_steps": None, **options}
    return ke.model_to_estimator(made, model_dir=folder, config=ke.RunConfig(progress="off", **options))


def train(
    ours: ke.Estimator, *hooks: ke.Hook, every_steps: int = 1, max_steps: int = 20, name: str | None = None
) -> int:
    spec = ke.EvalSpec((X, Y), None, name=name, every_steps=every_steps)
    data = ke.Arrays(X, Y, batch_size=40, epochs=None)
    result, _ = ke.train_and_evaluate(ours, ke.TrainSpec(data, max_steps, list(hooks)), spec)
    return int(result["global_step"])
