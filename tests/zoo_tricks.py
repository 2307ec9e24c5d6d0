"""Kinds of layers with tricks of real life: tables, hashes, norms of weights, experts, codes, masks, own gradients."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo_parts import (
    IDS,
    IMAGES,
    SEQUENCE,
    SERVING_CHANGES,
    WORDS,
    Kind,
    L,
    batches,
    functional,
    kind,
    mlp,
    of_layer,
    sequential,
)


class HashEmbedding(L.Layer):
    """Words by two hashes, weighted, as in Svenstrup et al."""

    def __init__(self, buckets: int, size: int) -> None:
        super().__init__()
        self.hashes = [L.Hashing(buckets, salt=salt) for salt in (3, 4)]
        self.tables = [L.Embedding(buckets, size), L.Embedding(buckets, size)]
        self.weight = L.Embedding(buckets, 2)

    def call(self, words: Any) -> Any:
        found = tf.stack([table(of(words)) for of, table in zip(self.hashes, self.tables, strict=True)], -1)
        return tf.reduce_sum(found * self.weight(self.hashes[0](words))[:, None], -1)


class Blocks(L.Layer):
    """Layers in lists of lists."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.blocks = [[L.Dense(8, activation="relu"), L.BatchNormalization(), L.Dropout(0.1)] for _ in range(depth)]
        self.extra = [[], {"last": [L.Dense(8)]}]

    def call(self, x: Any, training: Any = None) -> Any:
        for dense, norm, drop in self.blocks:
            x = x + drop(norm(dense(x), training=training), training=training)
        return self.extra[1]["last"][0](x)


class Positions(L.Layer):
    """Holds a NumPy table that it computes once."""

    def __init__(self, length: int, size: int) -> None:
        super().__init__()
        rates = np.arange(length)[:, None] / 10000 ** (2 * (np.arange(size)[None] // 2) / size)
        self.table = np.where(np.arange(size) % 2, np.cos(rates), np.sin(rates)).astype("float32")

    def call(self, x: Any) -> Any:
        return x * math.sqrt(self.table.shape[-1]) + self.table[: x.shape[1]]


class WeightNorm(L.Wrapper):
    """Replaces the kernel of a layer by direction and length, each time it is called."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.direction = self.layer.kernel
        self.length = self.add_weight(shape=(self.direction.shape[-1],), initializer="ones", name="length")

    def call(self, x: Any) -> Any:
        kernel = tf.nn.l2_normalize(self.direction, axis=0) * self.length
        return self.layer.activation(x @ kernel + self.layer.bias)


class AlwaysDrops(L.Dropout):
    def call(self, x: Any, training: Any = False) -> Any:
        return super().call(x, training=True)


@tf.custom_gradient
def reversed_gradient(x: Any) -> Any:
    return tf.identity(x), lambda dy: -0.5 * dy


class Codes(L.Layer):
    """A vector quantizer: the nearest code, straight-through gradients, a loss of commitment."""

    def __init__(self, codes: int, size: int, beta: float = 0.25) -> None:
        super().__init__()
        self.size, self.beta = size, beta
        self.book = self.add_weight(shape=(size, codes), initializer="random_uniform", name="book")

    def call(self, x: Any) -> Any:
        distances = tf.reduce_sum(x**2, 1, keepdims=True) + tf.reduce_sum(self.book**2, 0) - 2 * x @ self.book
        nearest = tf.gather(tf.transpose(self.book), tf.argmin(distances, 1))
        commitment = tf.reduce_mean((tf.stop_gradient(nearest) - x) ** 2)
        self.add_loss(self.beta * commitment + tf.reduce_mean((nearest - tf.stop_gradient(x)) ** 2))
        return x + tf.stop_gradient(nearest - x)


class Experts(L.Layer):
    """A mixture of experts with a loss that balances them."""

    def __init__(self, count: int, units: int) -> None:
        super().__init__()
        self.gate = L.Dense(count, activation="softmax")
        self.experts = [keras.Sequential([L.Dense(units, activation="relu"), L.Dense(units)]) for _ in range(count)]

    def call(self, x: Any) -> Any:
        gates = self.gate(x)
        self.add_loss(0.1 * tf.reduce_sum(tf.reduce_mean(gates, 0) ** 2))
        return tf.einsum("be,ebu->bu", gates, tf.stack([expert(x) for expert in self.experts]))


class WithoutPadding(L.Layer):
    """Makes a mask, and uses the one that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True
        self.score = L.Dense(1)

    def call(self, x: Any, mask: Any = None) -> Any:
        scores = self.score(x)
        if mask is not None:
            scores -= 1e9 * (1.0 - tf.cast(mask[..., None], scores.dtype))
        return tf.reduce_sum(tf.nn.softmax(scores, 1) * x, 1)

    def compute_mask(self, x: Any, previous: Any = None) -> Any:
        return None


class Uncertain(L.Layer):
    """A Bayesian layer: weights are drawn at each call, and their divergence is a loss."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units, self.seeds = units, keras.random.SeedGenerator(11)

    def build(self, shape: Any) -> None:
        options = {"shape": (shape[-1], self.units)}
        self.mean = self.add_weight(name="mean", initializer="glorot_uniform", **options)
        self.spread = self.add_weight(name="spread", initializer=keras.initializers.Constant(-3.0), **options)

    def call(self, x: Any, training: Any = False) -> Any:
        spread = tf.math.softplus(self.spread)
        self.add_loss(1e-3 * tf.reduce_sum(self.mean**2 + spread - tf.math.log(spread)))
        drawn = keras.random.normal(self.mean.shape, seed=self.seeds) if training else 0.0
        return x @ (self.mean + spread * drawn)


class RunningNorm(L.Layer):
    """A normalization of one's own: its statistics are weights in a dict."""

    def build(self, shape: Any) -> None:
        names = {"mean": "zeros", "variance": "ones"}
        self.stats = {
            name: self.add_weight(shape=(shape[-1],), initializer=start, trainable=False, name=name)
            for name, start in names.items()
        }

    def call(self, x: Any, training: Any = False) -> Any:
        if training:
            mean, variance = tf.nn.moments(x, 0)
            for name, value in (("mean", mean), ("variance", variance)):
                self.stats[name].assign(0.9 * self.stats[name] + 0.1 * value)
        return (x - self.stats["mean"]) * tf.math.rsqrt(self.stats["variance"] + 1e-3)


class Loops(L.Layer):
    """A loop of TensorFlow over time, with an array of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.step = L.Dense(6, activation="tanh")

    def build(self, shape: Any) -> None:
        self.step.build((shape[0], shape[2]))

    def call(self, x: Any) -> Any:
        length = tf.shape(x)[1]
        states = tf.TensorArray("float32", length)
        _, _, states = tf.while_loop(
            lambda time, state, states: time < length,
            lambda time, state, states: self.advanced(x, time, state, states),
            (0, tf.zeros_like(x[:, 0]), states),
        )
        return tf.ensure_shape(tf.reduce_mean(states.stack(), 0), (None, 6))

    def advanced(self, x: Any, time: Any, state: Any, states: Any) -> Any:
        state = self.step(state + x[:, time])
        return time + 1, state, states.write(time, state)

    def compute_output_shape(self, shape: Any) -> Any:
        return (shape[0], 6)


class Gains(L.Layer):
    """Makes its variables itself, as Keras's own class, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.gains = [keras.Variable(1.0, name="gain"), keras.Variable(np.ones(8, "float32"), trainable=False)]

    def call(self, x: Any) -> Any:
        return x * self.gains[0] * self.gains[1]


class LowRank(L.Layer):
    """Wraps a frozen layer that another model trained."""

    def __init__(self, frozen: Any, rank: int) -> None:
        super().__init__()
        self.frozen, self.rank = frozen, rank
        frozen.trainable = False

    def build(self, shape: Any) -> None:
        self.down = self.add_weight(shape=(shape[-1], self.rank), initializer="he_uniform", name="down")
        self.up = self.add_weight(shape=(self.rank, self.frozen.units), initializer="zeros", name="up")

    def call(self, x: Any) -> Any:
        return self.frozen(x) + x @ self.down @ self.up


def _mixture(y: Any, p: Any) -> Any:
    """Return the negative log-likelihood of a mixture of two normal distributions."""
    weights, means, spreads = tf.split(p, 3, -1)
    spreads = tf.math.softplus(spreads) + 0.1
    logs = tf.nn.log_softmax(weights) - ((y - means) / spreads) ** 2 / 2 - tf.math.log(spreads)
    return -tf.reduce_logsumexp(logs, -1)


def _low_rank_of_keras() -> keras.Model:
    dense = L.Dense(8)
    model = mlp(dense)
    dense.enable_lora(2)
    model.compile("adam", "mse", metrics=["mae"])
    return model


def _of_eight_bits() -> keras.Model:
    dense = L.Dense(8)
    model = mlp(dense)
    dense.enable_lora(2)
    dense.quantize("int8")
    model.compile("adam", "mse", metrics=["mae"])
    return model


def _reversed(x: Any) -> Any:
    shared = L.Dense(6, activation="relu")(x)
    return L.Dense(1)(shared) + L.Dense(1)(L.Lambda(reversed_gradient)(shared))


def _padded(ids: Any) -> Any:
    return L.Dense(1)(WithoutPadding()(L.Dropout(0.1)(L.Embedding(9, 4, mask_zero=True)(ids))))


def _resized(x: Any) -> Any:
    x = L.Lambda(lambda image: tf.image.resize(image, (4, 4)))(x)
    x = L.Lambda(tf.nn.local_response_normalization)(L.Conv2D(4, 3, padding="same")(x))
    return L.Dense(1)(L.Flatten()(tf.keras.layers.ZeroPadding2D(1)(x)))


KINDS: dict[str, Kind] = {
    "hash_embedding": kind(
        lambda: functional(lambda words: L.Dense(1)(HashEmbedding(11, 4)(words)), (), "string"), batches(WORDS)
    ),
    "lists_of_lists_of_layers": of_layer(lambda: Blocks(2)),
    "numpy_table": kind(
        lambda: functional(lambda x: L.Dense(1)(L.GRU(3)(Positions(9, 6)(x))), (5, 6)), batches(SEQUENCE)
    ),
    "weight_norm": of_layer(lambda: WeightNorm(L.Dense(8, activation="tanh"))),
    "spectral_norm": of_layer(lambda: L.SpectralNormalization(L.Dense(8))),
    "drops_always": of_layer(lambda: AlwaysDrops(0.2, seed=5), says=SERVING_CHANGES),
    "reversed_gradient": kind(lambda: functional(_reversed)),
    "vector_quantizer": of_layer(lambda: Codes(5, 8)),
    "mixture_density": kind(lambda: sequential(L.Input((6,)), L.Dense(6), loss=_mixture, metrics=None)),
    "experts": of_layer(lambda: Experts(3, 8)),
    "mask_of_ones_own": kind(lambda: functional(_padded, dtype="int32"), batches(IDS)),
    "bayesian": of_layer(lambda: Uncertain(8)),
    "own_normalization": of_layer(RunningNorm),
    "loop_over_time": kind(lambda: functional(lambda x: L.Dense(1)(Loops()(x)), (5, 6)), batches(SEQUENCE)),
    "variables_in_a_list": of_layer(Gains),
    "low_rank_of_ones_own": of_layer(lambda: LowRank(L.Dense(8), 2)),
    "low_rank_of_keras": kind(_low_rank_of_keras),
    "low_rank_of_eight_bits": kind(_of_eight_bits),
    "operations_of_tensorflow": kind(lambda: functional(_resized, (8, 8, 3)), batches(IMAGES)),
    "two_custom_cells_stacked": kind(
        lambda: functional(
            lambda x: L.Dense(1)(L.RNN(L.StackedRNNCells([L.GRUCell(3, dropout=0.1), L.LSTMCell(4)]))(x)), (5, 6)
        ),
        batches(SEQUENCE),
        says=SERVING_CHANGES,  # Keras's cells draw masks for dropout also when they do not use them
    ),
    "masking_and_time_distributed": kind(
        lambda: sequential(
            L.Input((5, 6)),
            L.Masking(0.0),
            L.TimeDistributed(L.Dense(4)),
            L.SimpleRNN(3, go_backwards=True),
            L.Dense(1),
        ),
        batches(np.where(np.arange(5)[None, :, None] < 3, SEQUENCE, 0.0).astype("float32")),
    ),
    "activations_and_norms": kind(
        lambda: mlp(L.PReLU(), L.GroupNormalization(2), L.EinsumDense("ab,bc->ac", 8), L.AlphaDropout(0.1))
    ),
}
