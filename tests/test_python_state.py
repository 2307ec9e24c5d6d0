"""Numbers and lists of Python that each trace of a model changes."""

from __future__ import annotations

from typing import Any

import keras

from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.python_state import changes_in_traces


class Changes(keras.layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n, self.seen, self.cache, self.flag = 0, [], {}, False

    def call(self, x: Any) -> Any:
        self.n += 1
        self.seen.append(self.n)
        self.cache["x"] = 1  # the same each time
        self.flag = True
        return x


class Fails(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        raise ValueError("no")

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def test_what_changes_in_each_trace_and_is_put_back() -> None:
    layer = Changes()
    live = LiveModel(keras.Sequential([keras.Input((4,)), layer]))
    before = (layer.n, len(layer.seen))
    found = changes_in_traces(live)
    assert {name for _, name in found} == {"n", "seen"}
    earlier, later = found["changes", "n"]
    assert later == earlier + 1
    assert (layer.n, len(layer.seen)) == before


def test_a_model_that_cannot_be_traced_has_none() -> None:
    assert changes_in_traces(LiveModel(keras.Sequential([keras.layers.Dense(1)]))) == {}
    assert changes_in_traces(LiveModel(keras.Sequential([keras.layers.Dense(1), keras.layers.Dense(1)]))) == {}
