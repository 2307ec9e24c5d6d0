"""A batch is put into the structure of a model, and classes weigh as told."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.tensorflow.batches import Ports, with_class_weight

L = keras.layers


def two_by_two(*, as_dict: bool = False) -> keras.Model:
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    p, q = L.Dense(1, name="p")(a), L.Dense(2, name="q")(b)
    return keras.Model({"a": a, "b": b} if as_dict else [a, b], {"p": p, "q": q} if as_dict else [p, q])


A, B = tf.zeros((4, 2)), tf.ones((4, 3))
P, Q = tf.zeros((4, 1)), tf.ones((4, 2))


def test_a_dict_is_put_into_the_order_of_the_model() -> None:
    x, y = Ports(two_by_two()).fit(({"b": B, "a": A, "more": P}, {"q": Q, "p": P}))
    assert (x[0] is A, x[1] is B, y[0] is P, y[1] is Q) == (True,) * 4
    x, y = Ports(two_by_two(as_dict=True)).fit(({"b": B, "a": A, "more": P}, {"q": Q, "p": P}))
    assert (list(x), list(y)) == (["a", "b"], ["p", "q"])


def test_a_subclassed_model_gets_what_there_is() -> None:
    class Free(keras.Model):
        def call(self, x):
            return x["a"]

    ports = Ports(Free())
    assert ports.inputs is None
    assert ports.fit(({"a": A},)) == ({"a": A},)


def test_names_shapes_and_numbers_that_do_not_fit_are_named() -> None:
    ports = Ports(two_by_two())
    with pytest.raises(ke.InputError, match="inputs of the model") as caught:
        ports.fit(({"a": A, "c": B},))
    assert (caught.value.found, caught.value.expected) == ("a, c", "a, b")
    with pytest.raises(ke.InputError, match="input `b` has another shape") as caught:
        ports.fit(((A, A),))
    assert "(None, 3)" in caught.value.expected
    with pytest.raises(ke.InputError, match="another number of inputs"):
        ports.fit((A,))
    with pytest.raises(ke.InputError, match="too many parts"):
        ports.fit((A, B, P, Q))


def test_what_keras_widens_by_itself_is_let_through() -> None:
    model = keras.Sequential([L.Input((1,)), L.Dense(1)])
    Ports(model).fit((tf.zeros((4,)),))
    words = keras.Input((), dtype="string")
    Ports(keras.Model(words, L.StringLookup(vocabulary=["a"])(words))).fit((tf.constant([["a"]]),))


class OwnStep(keras.Model):
    def train_step(self, data):
        raise NotImplementedError


def test_a_step_of_the_user_gets_the_dicts_that_fit_would_give_it() -> None:
    first, second = keras.Input((3,), name="z"), keras.Input((2,), name="a")
    outputs = [L.Dense(1, name="q")(first), L.Dense(2, name="p")(second)]
    for cls, kept in ((OwnStep, True), (keras.Model, False)):
        ports = Ports(cls([first, second], outputs))
        x, y = ports.fit(({"a": A, "more": A, "z": B}, {"p": Q, "q": P}))
        assert isinstance(x, dict) is isinstance(y, dict) is kept
        assert (
            [part.shape[1] for part in (x["z"], x["a"])] == [3, 2] if kept else [part.shape[1] for part in x] == [3, 2]
        )
        with pytest.raises(ke.InputError, match="`z`"):
            ports.fit(({"a": A, "z": A}, {"p": Q, "q": P}))


def test_the_shapes_of_a_dict_are_checked_by_name() -> None:
    given = {"z": keras.Input((3,), name="z"), "a": keras.Input((2,), name="a")}
    ports = Ports(keras.Model(given, L.Concatenate()([given["z"], given["a"]])))
    assert list(ports.fit(({"a": A, "z": B},))[0]) == ["z", "a"]
    with pytest.raises(ke.InputError, match="`z`"):
        ports.fit(({"a": A, "z": A},))


def test_classes_weigh_as_they_are_told() -> None:
    weights = {0: 1.0, 2: 5.0}
    for labels in (tf.constant([0, 1, 2]), tf.constant([[0], [1], [2]]), tf.one_hot([0, 1, 2], 3)):
        *_, found = with_class_weight((A[:3], labels), weights, None)
        np.testing.assert_array_equal(found.numpy(), [1.0, 1.0, 5.0])
    *_, found = with_class_weight((A[:3], tf.constant([0, 1, 2]), tf.constant([2.0, 2.0, 2.0])), weights, None)
    np.testing.assert_array_equal(found.numpy(), [2.0, 2.0, 10.0])


def test_classes_of_several_outputs_weigh_by_name() -> None:
    labels = [tf.constant([0, 1]), tf.constant([1, 1])]
    *_, found = with_class_weight((A[:2], labels), {"q": {1: 3.0}}, ["p", "q"])
    np.testing.assert_array_equal(found[0].numpy(), [1.0, 1.0])
    np.testing.assert_array_equal(found[1].numpy(), [3.0, 3.0])
    *_, found = with_class_weight((A[:2], {"p": labels[0], "q": labels[1]}), {"p": {0: 2.0}}, ["p", "q"])
    np.testing.assert_array_equal(found["p"].numpy(), [2.0, 1.0])


@pytest.mark.parametrize(
    ("batch", "weights"),
    [((A,), {0: 1.0}), ((A, [P, Q]), {0: 1.0}), ((A, {"p": P, "q": Q}), {"r": {0: 1.0}})],
)
def test_class_weights_that_fit_no_label_are_refused(batch, weights) -> None:
    with pytest.raises(ke.ConfigError):
        with_class_weight(batch, weights, ["p", "q"])
