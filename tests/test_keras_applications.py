"""Every family of keras.applications has copies with its state and its answer that share nothing with it."""

from __future__ import annotations

import gc
import inspect
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from keras_estimator import Blueprint
from keras_estimator.model import anatomy

# The smallest images that they take; the others take 32 pixels.
PIXELS = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
# One of each family: the others differ from it in numbers only.
FAMILIES = """
    ConvNeXtTiny DenseNet121 EfficientNetB0 EfficientNetV2B0 InceptionResNetV2 InceptionV3 MobileNet MobileNetV2
    MobileNetV3Small NASNetMobile ResNet50 ResNet50V2 VGG16 Xception
""".split()


@pytest.fixture(autouse=True)
def memory_is_given_back() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=True)
    gc.collect()


def made(name: str) -> tuple[keras.Model, Any]:
    """Return a model and an image for it."""
    shape = (PIXELS.get(name, 32),) * 2 + (3,)
    model = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", input_shape=shape)
    return model, np.random.default_rng(1).uniform(size=(1, *shape)).astype("float32")


def check(model: keras.Model, twin: keras.Model, answer: Any, image: Any) -> None:
    """Compare variable by variable, so that no second copy of all of them is made."""
    ours, theirs = anatomy.holdings(model), anatomy.holdings(twin)
    assert [held.path for held in ours] == [held.path for held in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.variable is not other.variable
        assert one.variable.value is not other.variable.value
        assert one.variable.numpy().tobytes() == other.variable.numpy().tobytes(), one.path
    assert twin(image, training=False).numpy().tobytes() == answer


def test_no_family_is_left_out() -> None:
    architectures = {name for name, made in vars(keras.applications).items() if inspect.isfunction(made)}
    families = {re.match(r"[A-Za-z]+?(?=\d|Tiny|Small|Mobile$|$)", name)[0] for name in FAMILIES}  # type: ignore[index]  # all match
    assert architectures >= set(FAMILIES)
    assert [name for name in architectures if not name.startswith(tuple(families))] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_an_architecture_has_exact_copies(name: str) -> None:
    model, image = made(name)
    answer = model(image, training=False).numpy().tobytes()
    blueprint = Blueprint.of(model)
    assert blueprint.remarks == ()
    check(model, blueprint.build(), answer, image)
    check(model, Blueprint.from_bytes(blueprint.to_bytes()).build(), answer, image)
