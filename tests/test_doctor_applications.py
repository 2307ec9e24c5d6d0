"""The doctor on keras.applications: no error and no warning about what each architecture is made of."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import keras
import pytest

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.rule import all_rules

# One of each family, and the smallest images that it takes.
FAMILIES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "Xception": 71,
}


@pytest.fixture(autouse=True)
def memory_is_given_back() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=True)
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_an_architecture_gets_no_error_and_no_warning(name: str) -> None:
    shape = (FAMILIES[name],) * 2 + (3,)
    model = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", input_shape=shape)
    live = LiveModel(model)
    # Its layers do in a graph what they do in test_doctor_layers.py; to trace all of these takes minutes.
    vars(live)["traced"] = []
    found = [one for rule in all_rules() for one in rule.in_model(live)]
    assert [f"{one} ({one.layer})" for one in found if one.severity is not Severity.INFO] == []
    assert live.failures == []
    assert len(live.layers) > 15
