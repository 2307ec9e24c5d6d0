"""The doctor on live models with the layers of Keras: no false error, and each warning is true for a written reason."""

from __future__ import annotations

import random
import tempfile
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
    "StringLookup": {"KE004": "Keras 3.12 saves one with `tf_idf`, and does not load it"},
    "TFSMLayer": {"KE004": "Keras refuses to load it: a SavedModel is code"},
    "Wrapper": {"KE004": "`Wraps`, a class of this test, is not registered"},
}
# Found only if the installed Keras does not load them.
NOT_LOADED_BY_SOME = {"RandomShear", "StringLookup"}
ALONE = JUDGED.keys() & classes().keys()
# They take the longest to trace.
RECURRENT = {"Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN"}


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


def kind_of(name: str) -> str:
    return "recurrent" if name in RECURRENT else "trained" if model_of(name).trainable_variables else "without weights"


@pytest.mark.parametrize("kind", ["recurrent", "trained", "without weights"])
def test_layers_of_keras_get_no_error_and_no_warning(kind: str) -> None:
    """Together with a copy in a fresh process, and one that Keras has saved and loaded."""
    # Each model has an InputLayer.
    names = sorted(ROWS.keys() & classes().keys() - ALONE - {"InputLayer"})
    model = together(name for name in names if kind_of(name) == kind)
    if kind == "trained":
        model.compile("sgd", "mse", jit_compile=False)
    live = LiveModel(model)
    found = examine_model(live, Settings())
    assert bad(found) == []
    assert live.failures == []
    assert (live.step is not None) == model.compiled
    assert live.verification is not None
    assert live.routes["save"].is_lossless
    # It has looked.
    expected = {"recurrent": {"KE305", "KE407"}, "trained": {"KE305", "KE402"}, "without weights": {"KE305", "KE505"}}
    assert expected[kind] <= {one.code for one in found}


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_warning_about_a_layer_of_keras_is_true(name: str) -> None:
    model = model_of(name)
    expected = set() if name in NOT_LOADED_BY_SOME and _is_loaded(model) else set(JUDGED[name]) - {"KE003"}
    if model.compiled:
        model.compile("sgd", "mse", jit_compile=False)
    batch = None if getattr(model, "inputs", None) else (ROWS[name].given[0],)
    live = LiveModel(model, batch)
    # A copy of each in a fresh process is compared in test_keras_layers.py.
    found = examine_model(live, Settings(ignore=("KE003",)))
    assert codes(found) == expected, bad(found)
    assert live.failures == []


def _is_loaded(model: keras.Model) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        try:
            keras.models.load_model(f"{folder}/model.keras")
        except (TypeError, ValueError):
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
