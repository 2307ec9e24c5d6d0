"""The fresh process reads what it is asked and writes a trial."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import keras
import numpy as np

from keras_estimator.model import fresh_process
from keras_estimator.model.carrying.pickled_graph import write_graph
from keras_estimator.model.computation.trial import Trial, TrialInputs


def test_it_answers_for_the_model_that_it_was_given(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    x = np.ones((3, 2), "float32")
    asked, answered = tmp_path / "asked", tmp_path / "answered.json"
    asked.write_bytes(pickle.dumps((write_graph(model), TrialInputs((x, x), None, None), True)))
    fresh_process.main(str(asked), str(answered))
    trial = Trial.from_json(json.loads(answered.read_text()))
    np.testing.assert_array_equal(trial.answers["batch 0, output 0"], model.predict(x, verbose=0))
    assert trial.state.keys() == {"dense/kernel", "dense/bias"}
