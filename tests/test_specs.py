"""Specs say what cannot be used as soon as they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import keras_estimator as ke
from keras_estimator.errors import ConfigError

DATA = (np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32"))


def test_the_arguments_of_the_original_in_their_order():
    def data() -> Any:
        return DATA

    hook, exporter = ke.Hook(), ke.LatestExporter("latest")
    train = ke.TrainSpec(data, 100, [hook], [])
    assert (train.input_fn, train.max_steps, train.hooks, train.saving_listeners) == (data, 100, [hook], [])
    spec = ke.EvalSpec(data, 10, "valid", [hook], exporter, 5, 6)
    assert (spec.steps, spec.name, spec.hooks, spec.exporters) == (10, "valid", [hook], (exporter,))
    assert (spec.start_delay_secs, spec.throttle_secs) == (5, 6)
    plain = ke.EvalSpec(data)
    assert (plain.steps, plain.exporters, plain.start_delay_secs, plain.throttle_secs) == (100, (), 120, 600)
    assert plain.follows_checkpoints
    assert not ke.EvalSpec(data, every_epochs=1).follows_checkpoints


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"input_fn": None}, "no data"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"max_steps": 2.5}, "max_steps=2.5"),
        ({"max_steps": True}, "max_steps=True"),
        ({"hooks": ke.Hook()}, "hooks=Hook"),
        ({"callbacks": "abc"}, "callbacks=str"),
    ],
)
def test_a_train_spec_that_cannot_be_used(options: dict[str, Any], what: str):
    with pytest.raises(ConfigError, match=what):
        ke.TrainSpec(**{"input_fn": DATA, **options})


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"input_fn": None}, "no data"),
        ({"steps": -1}, "steps=-1"),
        ({"name": "a/b"}, "a/b"),
        ({"name": " "}, "name="),
        ({"throttle_secs": -1}, "throttle_secs=-1"),
        ({"throttle_secs": "soon"}, "throttle_secs='soon'"),
        ({"start_delay_secs": float("inf")}, "start_delay_secs=inf"),
        ({"every_steps": 0}, "every_steps=0"),
        ({"every_secs": 0}, "every_secs=0"),
        ({"every_secs": True}, "every_secs=True"),
        ({"every_steps": 5, "every_epochs": 1}, "every_steps=5, every_epochs=1"),
        ({"exporters": ["best"]}, "builtins.str"),
        ({"exporters": [ke.LatestExporter("a"), ke.FinalExporter("a")]}, "differ"),
    ],
)
def test_an_eval_spec_that_cannot_be_used(options: dict[str, Any], what: str):
    with pytest.raises(ConfigError, match=what):
        ke.EvalSpec(**{"input_fn": DATA, **options})
