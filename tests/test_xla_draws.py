"""What XLA draws from a seed is what TensorFlow draws from it, number by number."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow.xla import obstacle_in
from keras_estimator.engines.tensorflow.xla_draws import drawing_alike

L, R = keras.layers, keras.random
DRAWS: dict[str, Any] = {
    "uniform": lambda seed: tf.random.stateless_uniform([7, 99], seed),
    "uniform of doubles": lambda seed: tf.random.stateless_uniform([7, 3], seed, dtype=tf.float64),
    "uniform of halves": lambda seed: tf.random.stateless_uniform([1001], seed, dtype=tf.float16),
    "uniform of bfloats": lambda seed: tf.random.stateless_uniform([1001], seed, dtype=tf.bfloat16),
    "uniform by philox": lambda seed: tf.random.stateless_uniform([99], seed, alg="philox"),
    "one": lambda seed: tf.random.stateless_uniform([], seed),
    "whole numbers": lambda seed: tf.random.stateless_uniform([999], seed, 3, 50, dtype=tf.int32),
    "long whole numbers": lambda seed: tf.random.stateless_uniform([99], seed, -3, 2**40, dtype=tf.int64),
    "all whole numbers": lambda seed: tf.random.stateless_uniform([99], seed, None, None, dtype=tf.int32),
    "split": lambda seed: tf.random.split(seed, 3),
    "folded in": lambda seed: tf.random.fold_in(seed, 9),
}
ROUNDED: dict[str, Any] = {
    "uniform between": lambda seed: tf.random.stateless_uniform([99], seed, -2.0, 5.0),
    "normal": lambda seed: tf.random.stateless_normal([7, 99], seed),
    "one normal": lambda seed: tf.random.stateless_normal([], seed),
    "normal of doubles": lambda seed: tf.random.stateless_normal([33], seed, dtype=tf.float64),
    "normal of bfloats": lambda seed: tf.random.stateless_normal([99], seed, dtype=tf.bfloat16),
    "normal of halves": lambda seed: tf.random.stateless_normal([99], seed, dtype=tf.float16),
}


def both(draw: Any, given: Any) -> tuple[Any, Any]:
    """Return what is drawn without and with XLA; the seed is no constant, or it would be drawn before XLA begins."""
    alike = tf.function(drawing_alike(draw), jit_compile=True, autograph=False)
    return tf.function(draw, autograph=False)(given).numpy(), alike(given).numpy()


@pytest.mark.parametrize("seed", [[1, 2], [253454710, 0]])
@pytest.mark.parametrize("name", DRAWS)
def test_the_same_numbers(name: str, seed: list[int]) -> None:
    np.testing.assert_array_equal(*both(DRAWS[name], tf.constant(seed)))


@pytest.mark.parametrize("name", ROUNDED)
def test_the_same_numbers_but_for_rounding(name: str) -> None:
    plain, by_xla = both(ROUNDED[name], tf.constant([5, 6]))
    np.testing.assert_allclose(
        plain.astype("float64"), by_xla.astype("float64"), rtol=2e-2 if "f" in name.split()[-1] else 1e-5, atol=1e-5
    )


def test_by_itself_xla_makes_other_numbers() -> None:
    """If this fails, nothing of this is needed any more."""
    for draw in (DRAWS["uniform"], ROUNDED["normal"]):
        seed = tf.constant([1, 2])
        assert not np.allclose(tf.function(draw, jit_compile=True, autograph=False)(seed), draw(seed))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.Dropout(0.3),
        lambda: L.SpatialDropout1D(0.5),
        lambda: L.GaussianDropout(0.3),
        lambda: L.GaussianNoise(0.2),
        lambda: L.AlphaDropout(0.3),
        lambda: L.MultiHeadAttention(2, 4, dropout=0.4),
        lambda: L.LSTM(4, dropout=0.3, recurrent_dropout=0.3),
    ],
)
def test_layers_that_draw(layer: Any) -> None:
    found = []
    for wrap in (lambda call: call, drawing_alike):
        keras.utils.set_random_seed(8)
        made = layer()
        takes_two = isinstance(made, L.MultiHeadAttention)

        def call(x: Any, made: Any = made, takes_two: bool = takes_two) -> Any:
            return made(x, x, training=True) if takes_two else made(x, training=True)

        x = tf.ones([4, 6, 8])
        call(x)
        step = tf.function(wrap(call), jit_compile=wrap is drawing_alike or None, autograph=False)
        found.append([step(x).numpy() for _ in range(3)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(found[0][0], found[0][1])


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda seed: tf.random.uniform([4], seed=3) + tf.cast(seed[0], tf.float32), "RandomUniform"),
        (lambda seed: tf.random.stateless_truncated_normal([4], seed), "StatelessTruncatedNormalV2"),
        (lambda seed: tf.random.stateless_categorical(tf.math.log([[0.3, 0.7]]), 9, seed), "StatelessMultinomial"),
    ],
)
def test_what_xla_would_draw_otherwise_is_not_for_it(draw: Any, name: str) -> None:
    graph = tf.function(drawing_alike(draw)).get_concrete_function(tf.TensorSpec((2,), tf.int32)).graph
    assert obstacle_in(graph) == f"XLA draws other numbers by {name}"
