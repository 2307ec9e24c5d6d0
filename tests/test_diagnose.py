"""`ke.diagnose` tells what is wrong with a live model, from its source and from what it does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import keras_estimator as ke


class Scaled(keras.layers.Layer):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def call(self, x: Any) -> Any:
        return np.sin(x) * keras.ops.mean(x) * self.scale


def model() -> keras.Model:
    # Plain Keras leaves the layers behind NumPy half built, which is a finding of its own.
    return keras.Sequential([keras.Input((3,)), Scaled(2.0)])


def test_source_and_model_tell_of_one_line_together():
    report = ke.diagnose(model(), select=["KE201", "KE102", "KE401"])
    found = {one.code: one for one in report.findings}
    assert set(found) == {"KE201", "KE102", "KE401"}
    numpy = found["KE201"]
    assert numpy.place is not None
    assert (numpy.place.file, numpy.place.column) == (__file__, 16)
    assert "while the model was traced" in numpy.evidence
    assert numpy.fix is not None
    assert numpy.fix.is_applicable
    assert found["KE401"].layer == "scaled"
    assert report.model is not None


def test_a_sound_model_is_healthy():
    sound = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
    sound.compile("adam", "mse")
    report = ke.diagnose(sound, (np.ones((8, 3), "float32"), np.ones((8, 1), "float32")))
    assert report.findings == ()
    assert report.not_looked_at == ()
    assert "nothing was found" in str(report)


def test_an_error_that_names_a_rule_is_a_finding_of_that_rule_alone():
    class Late(keras.layers.Layer):
        is_ready = False

        def call(self, x: Any) -> Any:
            if not self.is_ready:
                raise NotImplementedError("not yet")
            return keras.ops.reshape(x, (7, 7, 7))

    late = Late()
    half = keras.Sequential([keras.Input((3,)), late, keras.layers.Dense(1)])
    late.is_ready = True
    found = ke.diagnose(half, select=["KE002", "KE203"]).findings
    assert [(one.code, one.place.line if one.place else 0) for one in found] == [
        ("KE203", Late.call.__code__.co_firstlineno + 3)
    ]


def test_what_is_no_model_is_refused():
    with pytest.raises(ke.ModelError, match="Keras models"):
        ke.diagnose("model")
    with pytest.raises(ke.ConfigError, match="no rule"):
        ke.diagnose(model(), select=["KE9"])
