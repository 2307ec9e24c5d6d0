"""Kinds of whole networks: transformers, translators, convolutions, recommenders, ensembles, outputs of any form."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from zoo_parts import (
    CLASSES,
    IDS,
    IMAGES,
    SEQUENCE,
    WORDS,
    X3,
    Kind,
    L,
    X,
    Y,
    batches,
    compiled,
    functional,
    kind,
    mlp,
    sequential,
)


class TokensAndPositions(L.Layer):
    def __init__(self, length: int, words: int, size: int) -> None:
        super().__init__()
        self.tokens, self.positions = L.Embedding(words, size), L.Embedding(length, size)

    def call(self, x: Any) -> Any:
        return self.tokens(x) + self.positions(tf.range(tf.shape(x)[-1]))


class TransformerBlock(L.Layer):
    def __init__(self, size: int, heads: int, inner: int, causal: bool = False) -> None:
        super().__init__()
        self.attention, self.causal = L.MultiHeadAttention(heads, size // heads), causal
        self.inside = keras.Sequential([L.Dense(inner, activation="gelu"), L.Dense(size)])
        self.norms = [L.LayerNormalization(epsilon=1e-6), L.LayerNormalization(epsilon=1e-6)]
        self.drops = [L.Dropout(0.1), L.Dropout(0.1)]

    def call(self, x: Any, training: Any = None) -> Any:
        attended = self.attention(x, x, use_causal_mask=self.causal, training=training)
        x = self.norms[0](x + self.drops[0](attended, training=training))
        return self.norms[1](x + self.drops[1](self.inside(x), training=training))


class Cross(L.Layer):
    """A layer of the deep and cross network."""

    def build(self, shapes: Any) -> None:
        size = shapes[0][-1]
        self.w = self.add_weight(shape=(size, size), name="w")
        self.b = self.add_weight(shape=(size,), initializer="zeros", name="b")

    def call(self, both: Any) -> Any:
        first, x = both
        return first * (x @ self.w + self.b) + x


class GraphConvolution(L.Layer):
    """The graph is a constant in the layer."""

    def __init__(self, edges: Any, units: int) -> None:
        super().__init__()
        near = np.eye(6, dtype="float32")
        near[tuple(np.transpose(edges))] = 1.0
        self.near = tf.constant(near / near.sum(1, keepdims=True))
        self.dense = L.Dense(units, activation="relu")

    def call(self, x: Any) -> Any:
        return self.dense(tf.einsum("ij,bjf->bif", self.near, x))


class Endpoint(L.Layer):
    """Takes the targets as an input and adds the loss itself, as in the guide of Keras."""

    def __init__(self) -> None:
        super().__init__(name="predictions")
        self.loss = keras.losses.BinaryCrossentropy(from_logits=True)

    def call(self, logits: Any, targets: Any = None) -> Any:
        if targets is not None:
            self.add_loss(self.loss(targets, logits))
        return tf.nn.sigmoid(logits)


class Angular(L.Layer):
    """Has a margin for the class that it is told (ArcFace)."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(4, 3), name="w")

    def call(self, both: Any) -> Any:
        x, labels = both
        cosine = tf.math.l2_normalize(x, 1) @ tf.math.l2_normalize(self.w, 0)
        angle = tf.acos(tf.clip_by_value(cosine, -0.99, 0.99))
        hot = tf.one_hot(tf.reshape(tf.cast(labels, "int32"), (-1,)), 3)
        return 8.0 * tf.cos(angle + 0.3 * hot)

    def compute_output_shape(self, shapes: Any) -> Any:
        return (shapes[0][0], 3)


class Ensemble(keras.Model):
    """Whole models in a list."""

    def __init__(self, members: list[Any]) -> None:
        super().__init__()
        self.members = members

    def call(self, x: Any, training: Any = None) -> Any:
        return tf.reduce_mean(tf.stack([member(x, training=training) for member in self.members]), 0)


class Answers(keras.Model):
    """Gives dicts and lists in each other."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = L.Dense(8, activation="relu"), {"a": L.Dense(1), "b": L.Dense(1)}

    def call(self, x: Any) -> Any:
        hidden = self.body(x)
        return {"first": self.heads["a"](hidden), "second": self.heads["b"](hidden)}


class TwoAnswers(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = L.Dense(1), L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.one(x), self.other(x)


class FunctionalInside(keras.Model):
    """Calls the constructor of a functional model from its own."""

    def __init__(self, units: int = 5) -> None:
        given = keras.Input((6,))
        encoded = L.Dense(units, activation="relu", name="code")(given)
        super().__init__(inputs=given, outputs=L.Dense(1)(encoded), name="inside")
        self.encoder = keras.Model(given, encoded)
        self.units = units


class Stack(keras.Sequential):
    def __init__(self, depth: int) -> None:
        super().__init__()
        for _ in range(depth):
            self.add(L.Dense(6, activation="relu"))
        self.add(L.Dense(1))


class Trains(keras.Model):
    """Adversarial examples made in the step by the sign of a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.net = keras.Sequential([L.Dense(8, activation="relu"), L.Dense(1)])

    def call(self, x: Any) -> Any:
        return self.net(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = self.compute_loss(x, y, self(x, training=True))
        return super().train_step((x + 0.1 * tf.sign(tape.gradient(loss, x)), y))


class LearnsItsWeights(keras.Model):
    """Weighs the losses of its tasks by uncertainties that it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = L.Dense(8, activation="relu"), [L.Dense(1), L.Dense(1)]
        self.spreads = [self.add_weight(shape=(), initializer="zeros", name=f"spread_{n}") for n in range(2)]

    def call(self, x: Any) -> Any:
        body = self.body(x)
        return [head(body) for head in self.heads]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        errors = [tf.reduce_mean((a - b) ** 2) for a, b in zip(y, y_pred, strict=True)]
        return tf.add_n([tf.exp(-s) * e + s for s, e in zip(self.spreads, errors, strict=True)])


def _endpoint() -> keras.Model:
    features, targets = keras.Input((6,), name="features"), keras.Input((1,), name="targets")
    predictions = Endpoint()(L.Dense(1)(features), targets)
    model = keras.Model([features, targets], predictions)
    model.compile(optimizer="adam")
    return model


def _arc_face() -> keras.Model:
    features, labels = keras.Input((6,), name="features"), keras.Input((), name="labels", dtype="int64")
    logits = Angular()([L.Dense(4)(features), labels])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(keras.Model([features, labels], logits), loss=loss, metrics=["accuracy"])


def _translator() -> keras.Model:
    source, target = keras.Input((6,), dtype="int32", name="source"), keras.Input((6,), dtype="int32", name="target")
    words = L.Embedding(9, 4, mask_zero=True)
    encoded, *states = L.LSTM(5, return_sequences=True, return_state=True)(words(source))
    decoded = L.LSTM(5, return_sequences=True)(words(target), initial_state=states)
    attended = L.AdditiveAttention()([decoded, encoded])
    outputs = L.Dense(9)(L.Concatenate()([decoded, attended]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(keras.Model([source, target], outputs), loss=loss, metrics=["accuracy"])


def _language_model(ids: Any) -> Any:
    return L.Dense(9)(TransformerBlock(4, 2, 8, causal=True)(TokensAndPositions(6, 9, 4)(ids)))


def _text_classifier(ids: Any) -> Any:
    return L.Dense(1)(L.GlobalMaxPooling1D()(TransformerBlock(4, 2, 8)(TokensAndPositions(6, 9, 4)(ids))))


def _residual(x: Any) -> Any:
    for filters in (4, 6):
        shortcut = L.Conv2D(filters, 1, strides=2)(x)
        x = L.BatchNormalization()(L.SeparableConv2D(filters, 3, padding="same", use_bias=False)(L.ReLU()(x)))
        x = L.add([L.MaxPooling2D(3, strides=2, padding="same")(x), shortcut])
    return L.Dense(1)(L.GlobalAveragePooling2D()(x))


def _u_net(x: Any) -> Any:
    down = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    middle = L.Conv2D(4, 3, padding="same", activation="relu")(L.AveragePooling2D(2)(down))
    up = L.concatenate([L.Conv2DTranspose(4, 2, strides=2)(middle), L.UpSampling2D()(middle), down])
    return L.Conv2D(1, 1, activation="sigmoid")(L.SpatialDropout2D(0.2)(up))


def _mobile(x: Any) -> Any:
    base = keras.applications.MobileNet((32, 32, 3), alpha=0.25, include_top=False, weights=None, pooling="avg")
    return L.Dense(1)(base(L.Resizing(32, 32)(x)))


def _click_rates() -> keras.Model:
    inputs = {
        "word": keras.Input((), dtype="string", name="word"),
        "id": keras.Input((), dtype="int64", name="id"),
        "amount": keras.Input((3,), name="amount"),
    }
    buckets = L.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])(inputs["amount"])
    parts = [
        L.Embedding(7, 3)(L.Hashing(7)(inputs["word"])),
        L.Embedding(6, 3)(L.IntegerLookup(vocabulary=[1, 2, 3, 4, 5])(inputs["id"])),
        L.Flatten()(L.Embedding(4, 2)(buckets)),
        inputs["amount"],
    ]
    first = x = L.Concatenate()(parts)
    for _ in range(2):
        x = Cross()([first, x])
    logits = L.Dense(1)(L.Concatenate()([x, L.Dense(4, activation="relu")(first)]))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return compiled(keras.Model(inputs, logits), loss=loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)])


def _feature_space() -> keras.Model:
    space = keras.utils.FeatureSpace(
        {
            "word": keras.utils.FeatureSpace.string_categorical(name="word"),
            "id": keras.utils.FeatureSpace.integer_categorical(name="id"),
            "amount": keras.utils.FeatureSpace.float_normalized(name="amount"),
        },
        crosses=[keras.utils.FeatureSpace.cross(("word", "id"), crossing_dim=5)],
        output_mode="concat",
    )
    space.adapt(tf.data.Dataset.from_tensor_slices(_TABLE).map(lambda row: {**row, "amount": row["amount"][0]}))
    encoded = space.get_encoded_features()
    return compiled(keras.Model(dict(space.get_inputs()), L.Dense(1)(encoded)))


def _wide_and_deep() -> keras.Model:
    wide, deep = keras.Input((6,), name="wide"), keras.Input((3,), name="deep")
    linear = L.Dense(1, use_bias=False)(wide)
    return compiled(keras.Model({"wide": wide, "deep": deep}, L.Add()([linear, L.Dense(1)(L.Dense(4)(deep))])))


def _autoencoder() -> keras.Model:
    """The encoder is a model of its own, that another part of the program keeps."""
    encoder = keras.Sequential([L.Input((6,)), L.GaussianNoise(0.1), L.Dense(3)], name="encoder")
    decoder = keras.Sequential([L.Input((3,)), L.Dense(6)], name="decoder")
    model = keras.Model(encoder.inputs, decoder(encoder.outputs[0]))
    model.encoder = encoder
    return compiled(model)


_TABLE = {"word": WORDS, "id": IDS[:, 0], "amount": X3}
_FLAT = {"word": WORDS[:, None], "id": IDS[:, :1], "amount": X3[:, :1]}
_ENTROPY = keras.losses.SparseCategoricalCrossentropy
_EDGES = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
_CLICKED = (Y > 0).astype("float32")
KINDS: dict[str, Kind] = {
    "text_transformer": kind(lambda: functional(_text_classifier, dtype="int32"), batches(IDS)),
    "language_model": kind(
        lambda: functional(_language_model, dtype="int32", loss=_ENTROPY(from_logits=True), metrics=["accuracy"]),
        batches(IDS, np.roll(IDS, -1, 1)),
    ),
    "translator": kind(_translator, batches({"source": IDS, "target": IDS[:, ::-1].copy()}, IDS)),
    "residual_convolutions": kind(lambda: functional(_residual, (8, 8, 3)), batches(IMAGES)),
    "u_net": kind(
        lambda: functional(_u_net, (8, 8, 3), loss="binary_crossentropy"),
        batches(IMAGES, (IMAGES[..., :1] > 0).astype("float32")),
    ),
    "mobile_net": kind(lambda: functional(_mobile, (8, 8, 3)), batches(IMAGES)),
    "convolutions_over_time": kind(
        lambda: sequential(L.Input((4, 6, 1)), L.ConvLSTM1D(2, 3), L.Flatten(), L.Dense(1)),
        batches(np.repeat(X[:, None, :, None], 4, 1)),
    ),
    "augmented_images": kind(
        lambda: sequential(
            L.Input((8, 8, 3)), L.Rescaling(0.5), L.RandomContrast(0.2), L.RandomZoom(0.1), L.Flatten(), L.Dense(1)
        ),
        batches(IMAGES),
    ),
    "click_rates": kind(_click_rates, batches(_TABLE, _CLICKED)),
    "feature_space": kind(_feature_space, batches(_FLAT)),
    "wide_and_deep": kind(_wide_and_deep, batches({"wide": X, "deep": X3})),
    "graph_convolution": kind(
        lambda: functional(lambda x: L.Dense(1)(L.Flatten()(GraphConvolution(_EDGES, 3)(x))), (6, 2)),
        batches(np.stack([X, X**2], -1)),
    ),
    "endpoint": kind(_endpoint, batches({"features": X, "targets": _CLICKED}, None)),
    "arc_face": kind(_arc_face, batches({"features": X, "labels": CLASSES}, CLASSES)),
    "ensemble": kind(lambda: compiled(Ensemble([mlp(L.Dropout(0.1)), mlp(L.BatchNormalization()), mlp()]))),
    "dict_of_outputs": kind(
        lambda: compiled(Answers(), loss={"first": "mse", "second": "mae"}, metrics=None),
        batches(X, {"first": Y, "second": -Y}),
    ),
    "tuple_of_outputs": kind(lambda: compiled(TwoAnswers(), loss=["mse", "mae"], metrics=None), batches(X, (Y, -Y))),
    "functional_inside": kind(lambda: compiled(FunctionalInside())),
    "subclass_of_sequential": kind(lambda: compiled(Stack(2))),
    "adversarial_examples": kind(lambda: compiled(Trains())),
    "learns_weights_of_losses": kind(
        lambda: compiled(LearnsItsWeights(), loss=None, metrics=None), batches(X, (Y, -Y))
    ),
    "autoencoder": kind(_autoencoder, batches(X, X)),
    "sequence_labels": kind(
        lambda: sequential(
            L.Input((5, 6)),
            L.Conv1D(4, 3, padding="causal", dilation_rate=2),
            L.GRU(4, return_sequences=True),
            L.Dense(3, activation="softmax"),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        ),
        batches(SEQUENCE, np.repeat(CLASSES[:, None], 5, 1)),
    ),
}
