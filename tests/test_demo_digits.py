"""The program of the demo: its data and its model are what the demo says they are."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn")

import keras_estimator as ke
from keras_estimator.demo import digits


def test_the_digits_are_the_same_each_time_and_none_is_on_both_sides() -> None:
    one, other = digits.read_digits(), digits.read_digits()
    assert one.train_x.shape == (1437, 8, 8, 1)
    assert one.test_x.shape == (360, 8, 8, 1)
    np.testing.assert_array_equal(one.train_x, other.train_x)
    np.testing.assert_array_equal(one.test_y, other.test_y)
    rows = {image.tobytes() for image in one.train_x}
    assert not rows & {image.tobytes() for image in one.test_x}


def test_the_model_holds_what_no_config_can_carry(tmp_path: Path) -> None:
    data = digits.read_digits()
    estimator = ke.model_to_estimator(digits.build_model, model_dir=tmp_path, config=ke.RunConfig(progress="off"))
    with pytest.raises(TypeError, match="Swish"):
        keras.Sequential.from_config(estimator.model.get_config())
    (warm_up,) = (layer for layer in estimator.model.layers if isinstance(layer, digits.WarmUp))
    assert warm_up.variables == []  # Keras does not know of its state ...

    estimator.train((data.train_x, data.train_y), steps=3, hooks=[digits.LossNotes(tmp_path / "losses.jsonl")])
    assert warm_up.steps.numpy() == 3
    assert sum(name.endswith("steps") for name in estimator.get_variable_names()) == 1  # ... and we do.
    assert (tmp_path / "losses.jsonl").read_text() == '{"begins_at": 0}\n'
