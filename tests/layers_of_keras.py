"""One small model with each layer of Keras in it, and what such a model does: for test_keras_layers.py."""

from __future__ import annotations

import dataclasses
import inspect
import os
import random
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.model import anatomy

L = keras.layers
_RNG = np.random.default_rng(3)


def _floats(*shape: int) -> Any:
    return _RNG.uniform(0.1, 0.9, size=(2, *shape)).astype("float32")


VECTOR, SERIES, IMAGE, VIDEO = _floats(4), _floats(5, 3), _floats(8, 8, 3), _floats(4, 4, 4, 2)
CHANNELS_2 = _floats(5, 2)
SHORT_VIDEO, SERIES_OF_ROWS, SERIES_OF_BOXES = _floats(2, 5, 5, 1), _floats(2, 5, 1), _floats(2, 4, 4, 4, 1)
SOUND = _floats(64)
IDS = _RNG.integers(0, 6, size=(2, 5)).astype("int32")
ID = IDS[:, :1]
TEXTS = np.array([["a b"], ["c a"]], dtype=object)
WORDS = np.array([["a", "b"], ["z", "a"]], dtype=object)
STATE = _floats(3)
ONE_HOT = np.eye(2, dtype="float32")
BOXES = np.array([[[0, 0, 4, 4], [1, 1, 6, 6]]] * 2, dtype="float32")
BOX_LABELS = np.array([[1, 2], [0, 1]], dtype="float32")

IMAGES = {"value_range": (0.0, 1.0)}


def one_by_one(layer: Any, *given: Any) -> Any:
    return layer(*given)


def as_a_list(layer: Any, *given: Any) -> Any:
    return layer(list(given))


def with_states(layer: Any, x: Any, *states: Any) -> Any:
    return layer(x, list(states))[0]


def with_labels(layer: Any, images: Any, labels: Any) -> Any:
    return layer({"images": images, "labels": labels})


@dataclasses.dataclass(frozen=True)
class Row:
    """How a layer is made and called.

    Attributes:
        make: Returns the layer, or a model with it.
        given: The arrays that it is called with.
        call: Calls it.
    """

    make: Callable[[], Any]
    given: tuple[Any, ...]
    call: Callable[..., Any] = one_by_one


def row(make: Callable[[], Any], *given: Any, call: Callable[..., Any] = one_by_one) -> Row:
    return Row(make, given, call)


class Own(L.Layer):
    """A layer that is nothing but Keras's `Layer`, with a weight, a spec of its inputs and a regularizer."""

    def build(self, shape: Any) -> None:
        self.input_spec = L.InputSpec(ndim=len(shape), axes={-1: shape[-1]})
        self.scale = self.add_weight(shape=(shape[-1],), regularizer="l2", name="scale")

    def call(self, x: Any) -> Any:
        return x * self.scale


class Wraps(L.Wrapper):
    """A wrapper, which Keras leaves to be filled."""

    def call(self, x: Any) -> Any:
        return self.layer(x)


class Holds(keras.Model):
    """A model for a layer that returns its own input, of which Keras makes no functional model."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def call(self, x: Any) -> Any:
        return self.layer(x)


def adapted(layer: Any, data: Any) -> Any:
    layer.adapt(data)
    return layer


def exported() -> Any:
    """Return a layer of a SavedModel, whose folder is gone when it is copied."""
    with tempfile.TemporaryDirectory() as folder:
        inner = keras.Sequential([L.Input((4,)), L.Dense(3), L.BatchNormalization()])
        inner.export(folder, verbose=False)
        return L.TFSMLayer(folder)


def stacked() -> Any:
    return L.StackedRNNCells([L.SimpleRNNCell(3), L.LSTMCell(3)])


def stacked_states(layer: Any, x: Any, first: Any, *second: Any) -> Any:
    return layer(x, [first, list(second)])[0]


def _sizes(name: str, size: Any, given: tuple[Any, ...], **arguments: Any) -> dict[str, Row]:
    """Return the rows of a layer that Keras has for one, two and three dimensions."""
    rows = {}
    for place, array in enumerate(given, start=1):
        full = f"{name}{place}D"
        positional = () if size is None else (size,)
        rows[full] = row(lambda full=full, p=positional: getattr(L, full)(*p, **arguments), array)
    return rows


_123 = (SERIES, IMAGE, VIDEO)
ROWS: dict[str, Row] = {
    "TFSMLayer": row(exported, VECTOR),
    "Activation": row(lambda: L.Activation("tanh"), VECTOR),
    "ELU": row(L.ELU, VECTOR),
    "LeakyReLU": row(L.LeakyReLU, VECTOR),
    "PReLU": row(L.PReLU, VECTOR),
    "ReLU": row(lambda: L.ReLU(max_value=0.5), VECTOR),
    "Softmax": row(L.Softmax, VECTOR),
    "AdditiveAttention": row(L.AdditiveAttention, SERIES, SERIES, call=as_a_list),
    "Attention": row(lambda: L.Attention(use_scale=True, dropout=0.2, seed=1), SERIES, SERIES, call=as_a_list),
    "GroupQueryAttention": row(lambda: L.GroupQueryAttention(2, 2, 1, dropout=0.2), SERIES, SERIES),
    "MultiHeadAttention": row(lambda: L.MultiHeadAttention(2, 2, dropout=0.2), SERIES, SERIES),
    **_sizes("Conv", 2, _123, kernel_size=2),
    "Conv1DTranspose": row(lambda: L.Conv1DTranspose(2, 2), SERIES),
    "Conv2DTranspose": row(lambda: L.Conv2DTranspose(2, 2), IMAGE),
    "Conv3DTranspose": row(lambda: L.Conv3DTranspose(2, 2), VIDEO),
    **_sizes("DepthwiseConv", 2, _123[:2]),
    **_sizes("SeparableConv", 2, _123[:2], kernel_size=2),
    "Dense": row(lambda: L.Dense(3, kernel_regularizer="l2", kernel_constraint="max_norm"), VECTOR),
    "EinsumDense": row(lambda: L.EinsumDense("ab,bc->ac", 3, bias_axes="c"), VECTOR),
    "Embedding": row(lambda: L.Embedding(6, 3, mask_zero=True), IDS),
    "Identity": row(L.Identity, VECTOR),
    "InputLayer": row(lambda: keras.Sequential([L.InputLayer((4,)), L.Dense(2)]), VECTOR),
    "Lambda": row(lambda: L.Lambda(lambda x: x * 2), VECTOR),
    "Masking": row(L.Masking, SERIES),
    "ReversibleEmbedding": row(lambda: L.ReversibleEmbedding(6, 3), IDS),
    "Wrapper": row(lambda: Wraps(L.Dense(3)), VECTOR),
    "Layer": row(Own, VECTOR),
    **{
        name: row(getattr(L, name), VECTOR, VECTOR, call=as_a_list)
        for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")
    },
    "Dot": row(lambda: L.Dot(1), VECTOR, VECTOR, call=as_a_list),
    "BatchNormalization": row(L.BatchNormalization, VECTOR),
    "GroupNormalization": row(lambda: L.GroupNormalization(2), VECTOR),
    "LayerNormalization": row(L.LayerNormalization, VECTOR),
    "RMSNormalization": row(L.RMSNormalization, VECTOR),
    "SpectralNormalization": row(lambda: L.SpectralNormalization(L.Dense(3)), VECTOR),
    "UnitNormalization": row(L.UnitNormalization, VECTOR),
    **_sizes("AdaptiveAveragePooling", 2, _123),
    **_sizes("AdaptiveMaxPooling", 2, _123),
    **_sizes("AveragePooling", 2, _123),
    **_sizes("MaxPooling", 2, _123),
    **_sizes("GlobalAveragePooling", None, _123),
    **_sizes("GlobalMaxPooling", None, _123),
    "CategoryEncoding": row(lambda: L.CategoryEncoding(6, output_mode="count"), IDS),
    "Discretization": row(lambda: adapted(L.Discretization(num_bins=3), VECTOR), VECTOR),
    "HashedCrossing": row(lambda: L.HashedCrossing(5), ID, ID, call=as_a_list),
    "Hashing": row(lambda: L.Hashing(5), WORDS),
    "AugMix": row(lambda: L.AugMix(**IMAGES, seed=1), IMAGE),
    "AutoContrast": row(lambda: L.AutoContrast(**IMAGES), IMAGE),
    "CenterCrop": row(lambda: L.CenterCrop(4, 4), IMAGE),
    "ContrastLimitedAdaptiveHistogramEqualization": row(
        lambda: L.ContrastLimitedAdaptiveHistogramEqualization(value_range=(0, 1), tile_grid_size=(2, 2)), IMAGE
    ),
    "CutMix": row(lambda: L.CutMix(seed=1), IMAGE, ONE_HOT, call=with_labels),
    "Equalization": row(lambda: Holds(L.Equalization(value_range=(0, 1))), IMAGE),
    "MaxNumBoundingBoxes": row(
        lambda: L.MaxNumBoundingBoxes(3, bounding_box_format="xyxy"),
        *(IMAGE, BOXES, BOX_LABELS),
        call=lambda layer, x, boxes, labels: layer({"images": x, "bounding_boxes": {"boxes": boxes, "labels": labels}}),
    ),
    "MixUp": row(lambda: L.MixUp(seed=1), IMAGE, ONE_HOT, call=with_labels),
    "RandAugment": row(lambda: L.RandAugment(**IMAGES, seed=1), IMAGE),
    "RandomBrightness": row(lambda: L.RandomBrightness(0.5, **IMAGES), IMAGE),
    "RandomColorDegeneration": row(lambda: L.RandomColorDegeneration(0.5, **IMAGES), IMAGE),
    "RandomColorJitter": row(lambda: L.RandomColorJitter((0, 1), 0.4, 0.4, 0.4, 0.4), IMAGE),
    "RandomContrast": row(lambda: L.RandomContrast(0.5), IMAGE),
    "RandomCrop": row(lambda: L.RandomCrop(4, 4), IMAGE),
    "RandomElasticTransform": row(lambda: L.RandomElasticTransform(1.0, 1.0, **IMAGES), IMAGE),
    "RandomErasing": row(lambda: L.RandomErasing(1.0, **IMAGES), IMAGE),
    "RandomFlip": row(L.RandomFlip, IMAGE),
    "RandomGaussianBlur": row(lambda: L.RandomGaussianBlur(1.0, 3, 1.0, **IMAGES), IMAGE),
    "RandomGrayscale": row(L.RandomGrayscale, IMAGE),
    "RandomHue": row(lambda: L.RandomHue(0.5, (0, 1)), IMAGE),
    "RandomInvert": row(lambda: L.RandomInvert(**IMAGES), IMAGE),
    "RandomPerspective": row(L.RandomPerspective, IMAGE),
    "RandomPosterization": row(lambda: L.RandomPosterization(4, **IMAGES), IMAGE),
    "RandomRotation": row(lambda: L.RandomRotation(0.2), IMAGE),
    "RandomSaturation": row(lambda: L.RandomSaturation(0.5, **IMAGES), IMAGE),
    "RandomSharpness": row(lambda: L.RandomSharpness(0.5, **IMAGES), IMAGE),
    "RandomShear": row(lambda: L.RandomShear(0.2, 0.2), IMAGE),
    "RandomTranslation": row(lambda: L.RandomTranslation(0.2, 0.2), IMAGE),
    "RandomZoom": row(lambda: L.RandomZoom(0.2), IMAGE),
    "Resizing": row(lambda: L.Resizing(4, 6), IMAGE),
    "Solarization": row(lambda: L.Solarization(**IMAGES), IMAGE),
    "IntegerLookup": row(lambda: L.IntegerLookup(vocabulary=[1, 3, 5], output_mode="count"), IDS),
    "MelSpectrogram": row(lambda: L.MelSpectrogram(16, 8, num_mel_bins=4, sampling_rate=64, min_freq=1), SOUND),
    "Normalization": row(lambda: adapted(L.Normalization(), VECTOR), VECTOR),
    "Pipeline": row(lambda: L.Pipeline([L.RandomFlip(), L.RandomZoom(0.2)]), IMAGE),
    "Rescaling": row(lambda: L.Rescaling(0.5, 1.0), VECTOR),
    "STFTSpectrogram": row(lambda: L.STFTSpectrogram(frame_length=8, fft_length=8), SOUND[..., None]),
    "StringLookup": row(lambda: adapted(L.StringLookup(output_mode="tf_idf"), WORDS), WORDS),
    "TextVectorization": row(lambda: adapted(L.TextVectorization(output_sequence_length=3), TEXTS), TEXTS),
    "ActivityRegularization": row(lambda: L.ActivityRegularization(0.1), VECTOR),
    **{
        name: row(lambda name=name: getattr(L, name)(0.5), VECTOR)
        for name in ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise")
    },
    **_sizes("SpatialDropout", 0.5, _123),
    **_sizes("Cropping", 1, _123),
    **_sizes("UpSampling", 2, _123),
    **_sizes("ZeroPadding", 1, _123),
    "Flatten": row(L.Flatten, SERIES),
    "Permute": row(lambda: L.Permute((2, 1)), SERIES),
    "RepeatVector": row(lambda: L.RepeatVector(2), VECTOR),
    "Reshape": row(lambda: L.Reshape((2, 2)), VECTOR),
    "Bidirectional": row(lambda: L.Bidirectional(L.GRU(2, dropout=0.2)), SERIES),
    "ConvLSTM1D": row(lambda: L.ConvLSTM1D(1, 2), SERIES_OF_ROWS),
    "ConvLSTM2D": row(lambda: L.ConvLSTM2D(1, 2), SHORT_VIDEO),
    "ConvLSTM3D": row(lambda: L.ConvLSTM3D(1, 2), SERIES_OF_BOXES),
    "GRU": row(lambda: L.GRU(3, dropout=0.2, recurrent_dropout=0.2), SERIES),
    "GRUCell": row(lambda: L.GRUCell(3), VECTOR, STATE, call=with_states),
    "LSTM": row(lambda: L.LSTM(3, return_sequences=True), SERIES),
    "LSTMCell": row(lambda: L.LSTMCell(3), VECTOR, STATE, STATE, call=with_states),
    "RNN": row(lambda: L.RNN([L.SimpleRNNCell(3), L.GRUCell(2)]), SERIES),
    "SimpleRNN": row(lambda: L.SimpleRNN(3, dropout=0.2), SERIES),
    "SimpleRNNCell": row(lambda: L.SimpleRNNCell(3), VECTOR, STATE, call=with_states),
    "StackedRNNCells": row(stacked, VECTOR, STATE, STATE, STATE, call=stacked_states),
    "TimeDistributed": row(lambda: L.TimeDistributed(L.Dense(2)), SERIES),
}
# What has no row of its own, and why.
ELSEWHERE = {
    "InputSpec": "no layer; `Own` has one",
    "FlaxLayer": "needs Flax and its parameters, which are no part of a machine with TensorFlow alone",
    "JaxLayer": "needs JAX",
    "TorchModuleWrapper": "needs the backend of PyTorch",
}


def classes() -> dict[str, type]:
    """Return every public class of `keras.layers` under one name; the other names that it has are left out."""
    public = {name: cls for name, cls in vars(L).items() if inspect.isclass(cls)}
    own = {name: cls for name, cls in public.items() if name == cls.__name__}
    return own | {name: cls for name, cls in public.items() if cls not in own.values()}


def model_of(name: str) -> keras.Model:
    """Return a model with the layer in it, compiled if it can be trained."""
    keras.utils.set_random_seed(1)
    row_of = ROWS[name]
    model = row_of.make()
    if not isinstance(model, keras.Model):
        inputs = [given_as(array) for array in row_of.given]
        model = keras.Model(_as_given(inputs), row_of.call(model, *inputs))
    if model.trainable_variables:
        model.compile("adam", "mse", run_eagerly=True, jit_compile=False)
    return model


def given_as(array: Any) -> Any:
    """Return an input of a model that takes such arrays."""
    return keras.Input(array.shape[1:], dtype=_dtype(array))


def _dtype(array: Any) -> str:
    return "string" if array.dtype == object else str(array.dtype)


def _as_given(parts: Any) -> Any:
    return list(parts) if len(parts) > 1 else parts[0]


def state(model: Any) -> dict[str, Any]:
    return {held.path: held.variable.numpy() for held in anatomy.holdings(model)}


def answer(model: keras.Model, name: str, *, training: bool) -> list[Any]:
    given = _as_given([tf.constant(array, dtype=_dtype(array)) for array in ROWS[name].given])
    return [part.numpy() for part in tf.nest.flatten(model(given, training=training))]


def life(model: keras.Model, name: str) -> list[Any]:
    """Return all that a model has and does: its state, an answer, one step of training, and all of that again."""
    random.seed(1)  # some layers choose by Python's own random numbers
    lived = [state(model), answer(model, name, training=False)]
    if model.compiled:
        target = [np.zeros_like(part) for part in lived[1]]
        lived.append(model.train_on_batch(_as_given(ROWS[name].given), _as_given(target)))
    else:
        lived.append(answer(model, name, training=True))
    return [*lived, state(model), answer(model, name, training=False)]


def bits(lived: Any) -> Any:
    """Return the same with each array as its shape, its type and its bytes."""
    if isinstance(lived, dict):
        return {key: bits(value) for key, value in lived.items()}
    if isinstance(lived, list | tuple):
        return [bits(value) for value in lived]
    array = np.asarray(lived)
    return array.shape, array.dtype.str, array.tolist() if array.dtype == object else array.tobytes()
