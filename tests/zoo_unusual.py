"""Kinds of models with unusual parts: GANs, Python objects of every kind, shared, nested, deep, stateful."""

import collections
import dataclasses
import enum
import functools
import random
import threading
import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo_parts import (
    IDS,
    ROWS,
    SEQUENCE,
    SERVING_CHANGES,
    WORDS,
    Kind,
    L,
    X,
    batches,
    compiled,
    functional,
    kind,
    mlp,
    of_layer,
    sequential,
)
from zoo_table_layers import Counts, Swish
from zoo_table_models import Subclassed


class Rivals(keras.Model):
    """A GAN: two networks, two optimizers, a compile of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = keras.Sequential([L.Dense(8, activation="relu"), L.Dense(6)])
        self.critic = keras.Sequential([L.Dense(8, activation="relu"), L.Dense(1)])
        self.noise = keras.random.SeedGenerator(3)

    def compile(self, first: Any, second: Any) -> None:
        super().compile()
        self.first, self.second = first, second

    def train_step(self, data: Any) -> dict[str, Any]:
        x = data[0]
        z = keras.random.normal(tf.shape(x), seed=self.noise)
        with tf.GradientTape(persistent=True) as tape:
            fake = self.critic(self.maker(z))
            fooled = tf.reduce_mean((fake - 1.0) ** 2)
            caught = tf.reduce_mean(fake**2) + tf.reduce_mean((self.critic(x) - 1.0) ** 2)
        for loss, net, optimizer in ((fooled, self.maker, self.first), (caught, self.critic, self.second)):
            optimizer.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        return {"loss": fooled + caught}


class Mode(enum.Enum):
    HALF = 0.5


@dataclasses.dataclass
class Settings:
    scale: float
    inner: Any
    names: list[Any] = dataclasses.field(default_factory=lambda: ["a"])


@dataclasses.dataclass(frozen=True)
class Key:
    name: str


class Slotted:
    __slots__ = ("__weakref__", "layer", "table")

    def __init__(self) -> None:
        self.layer, self.table = L.Dense(8), np.arange(8, dtype="float32")


class Tower:
    """An object of the user that Keras does not look into."""

    def __init__(self, owner: Any) -> None:
        self.hidden = L.Dense(8)
        self.owner = weakref.ref(owner)
        self.lock, self.local, self.done = threading.RLock(), threading.local(), threading.Event()


class Everything(L.Layer):
    """Attributes of every kind that Python offers."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings(0.5, L.Dense(8))
        self.slotted, self.tower, self.mode = Slotted(), Tower(self), Mode.HALF
        self.by_key = {Key("a"): 1.0, Key("b"): [2.0]}
        self.queue = collections.deque([1.0, 2.0], maxlen=3)
        self.counted = collections.Counter("abca")
        self.ordered = collections.OrderedDict(b=1, a=2)
        self.defaults = collections.defaultdict(list, {"k": [1.0]})
        self.generator, self.dice = np.random.default_rng(5), random.Random(5)
        self.scaled = functools.partial(self.scale, by=0.5)
        self.known = frozenset({("a", 1)})
        self.view = self.defaults.keys()
        self.spec = tf.TensorSpec((None, 8))
        self.constant = tf.constant([1.0, 2.0])
        self.cached = functools.lru_cache(maxsize=4)(self.factor)
        self.point = collections.namedtuple("Point", "x y")(tf.Variable(0.25, trainable=False), 2)
        self.objects = np.array([{"a": 1}, None], dtype=object)
        self.module = tf.Module()
        self.module.values = [tf.Variable(0.5, trainable=False), {"a": tf.Variable(2.0, trainable=False)}]
        self.settings.names.append(self)

    @property
    def doubled(self) -> float:
        return 2.0 * self.settings.scale

    def factor(self) -> float:
        return self.mode.value

    def scale(self, x: Any, by: float) -> Any:
        return x * by * self.point.x

    def build(self, shape: Any) -> None:
        for layer in (self.settings.inner, self.slotted.layer, self.tower.hidden):
            layer.build(shape)

    def call(self, x: Any) -> Any:
        y = self.settings.inner(x) * self.doubled + self.slotted.layer(x) * self.slotted.table + self.tower.hidden(x)
        return self.scaled(y) * self.module.values[0] + self.module.values[1]["a"] * self.cached()


class NonlocalCount(L.Layer):
    """Two functions that share a counter in their closure."""

    def __init__(self) -> None:
        super().__init__()
        count, weight = 1, tf.Variable(0.5, trainable=False)

        def advance() -> None:
            nonlocal count
            count += 1

        self.advance, self.read = advance, lambda x: x * weight * (1.0 if count else 0.0)

    def call(self, x: Any) -> Any:
        return self.read(x)


class VAE(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = L.Dense(4), L.Dense(1)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        mean, spread = tf.split(self.encoder(x), 2, axis=-1)
        self.add_loss(0.01 * tf.reduce_mean(mean**2 + tf.exp(spread) - spread))
        return self.decoder(mean + tf.exp(spread / 2) * keras.random.normal(tf.shape(mean), seed=self.seeds))


class SpectralMean(L.Wrapper):
    def call(self, x: Any) -> Any:
        return self.layer(x) / (1.0 + tf.reduce_mean(tf.abs(self.layer.kernel)))


SHARED = L.Dense(8, name="shared_by_a_global")
SCALE = tf.Variable(0.5, trainable=False)


def _reads_a_layer_by_a_global_name() -> keras.Model:
    globals()["SHARED"] = L.Dense(8)
    return mlp(L.Lambda(lambda x: x @ SHARED.kernel[:, :8]) if False else L.Lambda(lambda x: SHARED(x) * SCALE))


def _deep(x: Any) -> Any:
    shared = L.Dense(6)
    for _ in range(12):
        x = shared(x)
    return L.Dense(1)(x)


def _attention() -> keras.Model:
    ids = keras.Input((6,), dtype="int32")
    x = L.Embedding(9, 4, mask_zero=True)(ids)
    x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 4, dropout=0.1)(x, x))
    return compiled(keras.Model(ids, L.Dense(1)(L.GlobalAveragePooling1D()(x))))


def _stateful() -> keras.Model:
    given = keras.Input((5, 6), batch_size=16)
    return compiled(keras.Model(given, L.Dense(1)(L.GRU(4, stateful=True)(given))))


def _nested() -> keras.Model:
    inner = keras.Sequential([L.Input((6,)), L.Dense(4), keras.Sequential([L.Dense(4), L.Dropout(0.2)])])
    given = keras.Input((6,))
    return compiled(keras.Model(given, Subclassed()(keras.Model(given, inner(given))(given))))


def _siamese() -> keras.Model:
    left = keras.Input((6,), name="left")
    right = keras.Input((6,), name="right")
    tower = keras.Sequential([L.Dense(4), L.UnitNormalization()])
    return compiled(keras.Model({"left": left, "right": right}, L.Dot(1)([tower(left), tower(right)])))


def _gan() -> keras.Model:
    model = Rivals()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.RMSprop(0.01))
    return model


def _text(words: Any) -> Any:
    words = L.TextVectorization(output_sequence_length=2, vocabulary=["a", "b"])(words)
    return L.Dense(1)(L.Flatten()(L.Embedding(9, 4)(words)))


_SAID_OF_STATEFUL = {"exports": "batches of just 16 rows|serving changes the model"}
_NO_CALL = "Keras cannot: the model has neither call nor test_step nor predict_step"
_SEQUENCES = batches(SEQUENCE)
_LEFT_RIGHT = {"left": X, "right": X[::-1].copy()}
_OF_A_GAN = dict.fromkeys(("evaluates", "predicts", "exports"), _NO_CALL) | {
    "loss_of_a_pass": "the step does not update Keras's tracker of the loss: Keras says 0.0, we give the last batch's"
}
KINDS: dict[str, Kind] = {
    "gan": kind(_gan, exceptions=_OF_A_GAN),
    "everything": of_layer(Everything),
    "nonlocal_count": of_layer(NonlocalCount),
    "vae": kind(lambda: compiled(VAE()), says=SERVING_CHANGES),
    "wrapper": of_layer(lambda: SpectralMean(L.Dense(8))),
    "global_layer": kind(_reads_a_layer_by_a_global_name),
    "deep_sequential": kind(lambda: sequential(L.Input((6,)), *(L.Dense(2) for _ in range(20)), L.Dense(1))),
    "deep_sharing": kind(lambda: functional(_deep)),
    "attention": kind(_attention, batches(IDS)),
    "stateful_rnn": kind(_stateful, batches(SEQUENCE, whole=True), says=_SAID_OF_STATEFUL),
    "bidirectional": kind(lambda: sequential(L.Input((5, 6)), L.Bidirectional(L.LSTM(3)), L.Dense(1)), _SEQUENCES),
    "nested": kind(_nested),
    "siamese": kind(_siamese, batches(_LEFT_RIGHT, np.ones((ROWS, 1), "float32"))),
    "two_custom": kind(lambda: mlp(Swish(1.0), Counts(2), Swish(0.5)), says=SERVING_CHANGES),
    "hashed_and_encoded": kind(
        lambda: sequential(
            L.Input((6,), dtype="int64"), L.Hashing(5), L.CategoryEncoding(5, output_mode="count"), L.Dense(1)
        ),
        batches(IDS),
    ),
    "integer_lookup": kind(
        lambda: sequential(L.Input((6,), dtype="int64"), L.IntegerLookup(vocabulary=[1, 2]), L.Embedding(4, 2)),
        batches(IDS, np.zeros((ROWS, 6, 2), "float32")),
    ),
    "text_vectorization": kind(lambda: functional(_text, (), "string"), batches(WORDS)),
    "random_image": kind(
        lambda: sequential(L.Input((6, 6, 1)), L.RandomFlip(), L.RandomRotation(0.1), L.Flatten(), L.Dense(1)),
        batches(np.repeat(X[:, :, None, None], 6, 2)),
    ),
}
