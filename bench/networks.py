"""The eight models that `python -m bench` measures: the three smallest, and five of the kinds that people train."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workloads import SEED, WORKLOADS, Workload, compiled_classifier

_COLUMNS, _VALUES = 8, 1000  # columns of categories, and how many values each has
_WORDS = 1000
_CLASSES = 10


def _wide_deep_arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    # Each column has a part of the table of embeddings to itself.
    categories = rng.integers(0, _VALUES, size=(4096, _COLUMNS)) + np.arange(_COLUMNS) * _VALUES
    numbers = rng.normal(size=(4096, 13)).astype("float32")
    return {"categories": categories.astype("int32"), "numbers": numbers}, (numbers[:, :1] > 0).astype("float32")


def _wide_deep_model(tf: Any) -> Any:
    layers = tf.keras.layers
    categories = layers.Input((_COLUMNS,), dtype="int32", name="categories")
    numbers = layers.Input((13,), name="numbers")
    wide = layers.Dense(1)(layers.Flatten()(layers.Embedding(_COLUMNS * _VALUES, 1)(categories)))
    deep = layers.Flatten()(layers.Embedding(_COLUMNS * _VALUES, 16)(categories))
    deep = layers.Concatenate()([deep, numbers])
    for units in (128, 64):
        deep = layers.Dense(units, activation="relu")(deep)
    answer = layers.Activation("sigmoid")(layers.Add()([wide, layers.Dense(1)(deep)]))
    model = tf.keras.Model([categories, numbers], answer)
    model.compile("adam", "binary_crossentropy", metrics=["mae"])
    return model


def _lstm_arrays() -> tuple[Any, Any]:
    x = np.random.default_rng(SEED).normal(size=(2048, 32, 8)).astype("float32")
    return x, x.mean(axis=1)[:, :1]


def _lstm_model(tf: Any) -> Any:
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((32, 8)), layers.LSTM(64), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def _transformer_arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    return rng.integers(0, _WORDS, size=(2048, 32)).astype("int32"), _classes(rng, 2048)


def _transformer_model(tf: Any) -> Any:
    layers = tf.keras.layers
    words = layers.Input((32,), dtype="int32")
    flow = layers.Embedding(_WORDS, 32)(words)
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, 8)(flow, flow)
        flow = layers.LayerNormalization()(layers.Add()([flow, attended]))
        mixed = layers.Dense(32)(layers.Dense(64, activation="relu")(flow))
        flow = layers.LayerNormalization()(layers.Add()([flow, mixed]))
    return compiled_classifier(tf, tf.keras.Model(words, layers.Dense(_CLASSES)(layers.GlobalAveragePooling1D()(flow))))


def _resnet_arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    return rng.normal(size=(1024, 32, 32, 3)).astype("float32"), _classes(rng, 1024)


def _resnet_model(tf: Any) -> Any:
    layers = tf.keras.layers

    def convolved(flow: Any, filters: int, stride: int = 1) -> Any:
        flow = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(flow)
        return layers.BatchNormalization()(flow)

    image = layers.Input((32, 32, 3))
    flow = layers.ReLU()(convolved(image, 16))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        inner = convolved(layers.ReLU()(convolved(flow, filters, stride)), filters)
        beside = flow if stride == 1 else layers.Conv2D(filters, 1, strides=stride)(flow)
        flow = layers.ReLU()(layers.Add()([inner, beside]))
    answer = layers.Dense(_CLASSES)(layers.GlobalAveragePooling2D()(flow))
    return compiled_classifier(tf, tf.keras.Model(image, answer))


def _mobilenet_arrays() -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    return rng.normal(size=(48, 96, 96, 3)).astype("float32"), _classes(rng, 48)


def _mobilenet_model(tf: Any) -> Any:
    network = tf.keras.applications.MobileNetV2
    model = network(input_shape=(96, 96, 3), weights=None, classes=_CLASSES, classifier_activation=None)
    return compiled_classifier(tf, model)


def _classes(rng: np.random.Generator, rows: int) -> Any:
    return rng.integers(0, _CLASSES, size=rows).astype("int32")


NETWORKS = WORKLOADS | {
    workload.name: workload
    for workload in (
        Workload("wide-deep", "Embeddings + MLP, wide and deep", 32, 400, 50, _wide_deep_arrays, _wide_deep_model),
        Workload("lstm", "LSTM 64, 32 steps", 32, 100, 50, _lstm_arrays, _lstm_model),
        Workload("transformer", "Transformer, 2 blocks", 32, 100, 50, _transformer_arrays, _transformer_model),
        # A step of these takes so long that what surrounds it hardly counts: few of them are enough.
        Workload("resnet", "Residual net with BatchNorm", 32, 50, 10, _resnet_arrays, _resnet_model, at_once=10),
        Workload(
            "mobilenet", "MobileNetV2 96x96", 16, 6, 3, _mobilenet_arrays, _mobilenet_model, at_once=3, evaluated=3
        ),
    )
}
