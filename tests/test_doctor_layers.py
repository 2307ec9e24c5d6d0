"""The doctor on live models with the layers of Keras: no false error, and each warning is true for a written reason."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import keras
import pytest
import tensorflow as tf
from layers_of_keras import ROWS, classes, given_as, model_of

from keras_estimator.doctor.examine import examine_model
from keras_estimator.doctor.findings import Finding, Severity
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# Errors and warnings about a model with one of these, and why each is true.
JUDGED: dict[str, dict[str, str]] = {
    "AugMix": {
        "KE003": "Python's dice choose what it does to an image while it is traced: each process does something else",
        "KE410": "the same",
    },
    "Equalization": {
        "KE102": "`Holds`, the model of this test around it, takes no further arguments",
        "KE106": "`Holds` has no config with its layer",
        "KE004": "the same",
    },
    "Lambda": {"KE108": "it is a Python lambda, which Keras refuses to load", "KE004": "the same"},
    "Layer": {"KE004": "`Own`, a class of this test, is not registered"},
    "RandomShear": {"KE004": "Keras refuses the numbers below zero that it has written into the config itself"},
    "TFSMLayer": {"KE004": "Keras refuses to load it: a SavedModel is code"},
    "Wrapper": {"KE004": "`Wraps`, a class of this test, is not registered"},
}
ALONE = JUDGED.keys() & classes().keys()
TOGETHER = sorted((ROWS.keys() & classes().keys()) - ALONE - {"InputLayer"})  # each model has an InputLayer
# Their steps take the longest to trace, and have the parts of those of SimpleRNN.
RECURRENT = {"Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN"}
# Rules that look at the train step.
OF_STEPS = ("KE210", "KE212", "KE213", "KE304", "KE307", "KE309", "KE405", "KE505", "KE6")


def together(names: Iterable[str]) -> keras.Model:
    """Return one model with many layers beside one another; arrays that several take are one input."""
    inputs: dict[int, Any] = {}
    outputs: list[Any] = []
    for name in names:
        row = ROWS[name]
        given = [inputs.setdefault(id(array), given_as(array)) for array in row.given]
        outputs += keras.tree.flatten(row.call(row.make(), *given))
    return keras.Model(list(inputs.values()), outputs)


def bad(found: Iterable[Finding]) -> list[str]:
    return [f"{one} ({one.layer}: {one.evidence})" for one in found if one.severity is not Severity.INFO]


def codes(found: Iterable[Finding]) -> set[str]:
    return {one.code for one in found if one.severity is not Severity.INFO}


def test_layers_of_keras_get_no_error_and_no_warning() -> None:
    """With a copy in a fresh process, and one that Keras has saved and loaded."""
    live = LiveModel(together(TOGETHER))
    found = examine_model(live, Settings())
    assert bad(found) == []
    assert live.failures == []
    assert live.verification is not None
    assert set(live.verification.not_checked) == {"train step"}
    assert live.routes["save"].is_lossless
    assert {"KE305", "KE402", "KE505"} <= {one.code for one in found}  # it has looked


def test_layers_of_keras_that_are_trained_get_no_error_and_no_warning() -> None:
    weighted = [name for name in TOGETHER if name not in RECURRENT and model_of(name).trainable_variables]
    assert len(weighted) >= 30
    model = together(weighted)
    model.compile("sgd", "mse", jit_compile=False)
    live = LiveModel(model)
    assert bad(examine_model(live, Settings(select=OF_STEPS))) == []
    assert live.step is not None
    assert live.failures == []


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_warning_about_a_layer_of_keras_is_true(name: str) -> None:
    expected = set(JUDGED[name]) - {"KE003"}
    if name == "RandomShear" and _is_made_again(keras.layers.RandomShear(0.2, 0.2)):
        expected = set()
    model = model_of(name)
    if model.compiled:
        model.compile("sgd", "mse", jit_compile=False)
    batch = None if getattr(model, "inputs", None) else (ROWS[name].given[0],)
    live = LiveModel(model, batch)
    # A copy of each in a fresh process is compared in test_keras_layers.py.
    found = examine_model(live, Settings(ignore=("KE003",)))
    assert codes(found) == expected, bad(found)
    assert live.failures == []


def _is_made_again(layer: Any) -> bool:
    try:
        type(layer).from_config(layer.get_config())
    except TypeError:
        return False
    return True


def test_aug_mix_is_another_layer_in_each_trace() -> None:
    model, spec = model_of("AugMix"), tf.TensorSpec([None, 8, 8, 3])
    kinds = []
    for seed in (1, 2):
        random.seed(seed)
        graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(spec).graph
        kinds.append([operation.type for operation in graph.get_operations()])
    assert kinds[0] != kinds[1]
