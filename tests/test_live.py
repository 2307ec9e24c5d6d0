"""A live model as rules see it: left as it was, its parts found, its code located."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.doctor.live import LiveModel

L = keras.layers


class Scaled(L.Layer):
    def __init__(self, scale: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.seen = tf.Variable(0.0, trainable=False)

    def call(self, x: Any) -> Any:
        self.seen.assign_add(1.0)
        return np.sin(x) * self.scale


class Broken(L.Layer):
    def call(self, x: Any) -> Any:
        return x + undefined_name  # noqa: F821 - the subject of a test


def model(*layers: Any, compiled: bool = True) -> keras.Model:
    made = keras.Sequential([keras.Input((3,)), *(layers or (Scaled(name="scaled"), L.Dropout(0.5), L.Dense(1)))])
    if compiled:
        made.compile("sgd", "mse")
    return made


def test_a_model_is_as_it_was_after_all_probes():
    probed = model()
    before = [np.asarray(variable) for variable in probed.variables]
    live = LiveModel(probed)
    seeds = [np.asarray(held.variable) for held in live.holdings]
    assert live.inference is not None
    assert live.step is not None
    assert live.separability is not None
    assert live.purity is not None
    assert live.routes
    assert all(np.array_equal(one, np.asarray(other)) for one, other in zip(before, probed.variables, strict=True))
    assert all(np.array_equal(one, np.asarray(h.variable)) for one, h in zip(seeds, live.holdings, strict=True))
    assert float(probed.layers[0].seen) == 0.0
    assert live.failures == []


def test_numpy_calls_are_heard_with_their_lines():
    live = LiveModel(model())
    ((line, name),) = live.numpy_calls
    assert (name, line.text) == ("np.sin", "return np.sin(x) * self.scale")


def test_parts_are_found_where_they_are_written():
    live = LiveModel(model())
    layer = live.layers["scaled"]
    with open(__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for place, text in (
        (live.place_of(layer), "class Scaled(L.Layer):"),
        (live.place_of_layer(layer), "    def call(self, x: Any) -> Any:"),
        (live.place_of_attribute(layer, "scale"), "        self.scale = scale"),
        (live.place_of_attribute(layer, "nowhere"), "class Scaled(L.Layer):"),
    ):
        assert place is not None
        assert (place.file, lines[place.line - 1]) == (__file__, text)
    assert live.place_of(live.layers["dense"]) is None
    assert live.files == [__file__]
    assert live.layer_named("variable scaled/seen of it") == "scaled"
    assert live.layer_named("unscaled/seen") == ""


def test_what_a_model_cannot_do_is_a_failure_and_no_error():
    broken = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    broken._layers.append(Broken())  # noqa: SLF001 - Keras would refuse it at once
    broken._functional = None  # noqa: SLF001 - the same
    live = LiveModel(broken, np.ones((4, 3), "float32"))
    assert live.inference is None
    assert live.separability is None
    assert live.routes == {}
    assert any("undefined_name" in failure.text for failure in live.failures)


def test_a_model_that_does_not_say_what_it_takes_is_told_to_need_a_batch():
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    assert any("give a batch" in text for text in LiveModel(Net()).not_looked_at)
    live = LiveModel(Net(), np.ones((4, 3), "float32"))
    assert live.inference is not None


def test_what_compile_was_given_is_seen():
    assert LiveModel(model()).compiled_parts["loss"] == "mse"
    assert LiveModel(model(compiled=False)).compiled_parts == {}


def test_a_copy_is_compared_only_if_it_is_asked_for_and_meanwhile_the_probes_go_on():
    live = LiveModel(model())
    assert live.not_looked_at == []
    assert not {"verification", "_verification_begun"} & vars(live).keys()
    live.begin_verification()
    begun = vars(live)["_verification_begun"]
    assert not begun.done()
    assert live.separability is not None
    assert live.verification is begun.result()
    assert live.verification.passed
