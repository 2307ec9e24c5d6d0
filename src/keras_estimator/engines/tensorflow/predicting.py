"""Predict with the live model: one trace for batches of any size, and no pipeline in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_estimator.engines.tensorflow.batches import Ports
from keras_estimator.engines.tensorflow.feeds import as_tensor
from keras_estimator.engines.tensorflow.signatures import declared_batch, with_batch
from keras_estimator.engines.tensorflow.state import ModelState, written_variables
from keras_estimator.model import numpy_calls
from keras_estimator.model.keras_private import all_layers


class Predicting:
    """The model's predict_step, traced once for one kind of features.

    Args:
        model: The live Keras model.
        state: Its state; what predicting writes (a counter, say) is put back each time. Random numbers go on
            all the same: two calls draw other ones, as in Keras.
        is_eager: Whether steps run in Python, asked at each call.

    Attributes:
        spec: The features it was traced for last, or None.
    """

    def __init__(self, model: Any, state: ModelState, is_eager: Callable[[], bool]) -> None:
        self._model = model
        self._state = state
        self._is_eager = is_eager
        self._seeds: set[int] = set()
        self._drawn: dict[int, Any] = {}  # where each seed is after the last prediction
        self._traced: dict[Any, tuple[Any, Any, list[tf.Variable]]] = {}
        self.spec: Any = None

    def step(self, features: Any) -> Any:
        """Run the model's own predict_step on features in any of the structures it takes."""
        return self._model.predict_step(Ports(self._model).fit((features,)))

    def prepare(self, spec: Any) -> None:
        """Trace the step for batches of `spec`; the labels in it are left out."""
        if not self._is_eager():
            self._function(tf.nest.map_structure(_any_batch, _features(spec)))

    def each(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the outputs for batches; what one of them wrote (the state of a stateful layer), the next one reads."""
        carried: dict[int, Any] = {}
        for batch in batches:
            yield self(batch, carried)

    def __call__(self, batch: Any, carried: dict[int, Any] | None = None) -> Any:
        """Return the outputs for a batch as NumPy arrays; labels in it are ignored."""
        features = _features(batch)
        carried = {} if carried is None else carried
        carried |= self._drawn
        if self._is_eager():
            self._state.begin_by(lambda: self.step(features))
            self._state.rehearse(lambda: self.step(features), complete=False)
            self._seeds = self._state.seeds()
            with numpy_calls.eager_too(), self._state.kept(self._state.variables().values(), carried):
                outputs = _as_numpy(self.step(features))
        else:
            function, written = self._function(tf.nest.map_structure(_spec_of, features))
            with self._state.kept(written, carried):
                outputs = _as_numpy(function(features))
        self._drawn = {seed: carried[seed] for seed in self._seeds & carried.keys()}
        return outputs

    def aside(self, features: Any) -> Any:
        """Return the outputs for features, within a graph or in Python; what predicting writes is put back."""
        if tf.executing_eagerly():
            with self._state.kept(self._state.variables().values()):
                return self.step(features)
        _, written = self._function(tf.nest.map_structure(_spec_of, features))
        before = [variable.read_value() for variable in written]
        outputs = self.step(features)
        for variable, value in zip(written, before, strict=True):
            variable.assign(value)
        return outputs

    def on_arrays(self, x: Any) -> Any:
        """Return the outputs for arrays, as NumPy arrays in the structure the model gives."""
        return self((tf.nest.map_structure(as_tensor, x),))

    def _size_of_stateful(self) -> int | None:
        """Return the size of batches that a stateful layer was made for: Keras 3.12 asks for it while it is traced."""
        is_stateful = any(getattr(layer, "stateful", False) for layer in all_layers(self._model))
        return declared_batch(self._model) if is_stateful else None

    def _function(self, spec: Any) -> tuple[Any, list[tf.Variable]]:
        structure = tf.nest.map_structure(lambda leaf: (type(leaf).__name__, leaf.dtype, leaf.shape.rank), spec)
        key = (repr(structure), getattr(self._model.predict_step, "__func__", None))
        known, function, written = self._traced.get(key, (None, None, []))
        size = self._size_of_stateful() if known is None else _size_of(known)
        spec = spec if size is None else with_batch(spec, size)
        if known is None or not _covers(known, spec):
            spec = spec if known is None else tf.nest.map_structure(_widest, known, spec)
            with numpy_calls.explained():
                function = tf.function(self.step, autograph=False, jit_compile=None).get_concrete_function(spec)
            self._state.note_captured(function.graph.variables)
            self._state.begin()
            self._state.settle(complete=False)
            self._state.put_averages()
            written = written_variables(function.graph, function.graph.variables)
            self._seeds = self._state.seeds()
            self._traced[key] = (spec, function, written)
        self.spec = self._traced[key][0]
        return function, written


def _size_of(spec: Any) -> int | None:
    """Return the size of batches that a spec was given, if it was given one."""
    dense = (leaf for leaf in tf.nest.flatten(spec) if isinstance(leaf, tf.TensorSpec) and leaf.shape.rank)
    size: int | None = next((leaf.shape[0] for leaf in dense), None)
    return size


def _features(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple | list) else batch


def _spec_of(leaf: Any) -> Any:
    return _any_batch(tf.type_spec_from_value(leaf))


def _any_batch(spec: Any) -> Any:
    if not isinstance(spec, tf.TensorSpec) or spec.shape.rank in (None, 0):
        return spec
    return tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)


def _covers(known: Any, spec: Any) -> bool:
    pairs = zip(tf.nest.flatten(known), tf.nest.flatten(spec), strict=True)
    return all(wide == narrow or wide.is_compatible_with(narrow) for wide, narrow in pairs)


def _widest(one: Any, other: Any) -> Any:
    return one.most_specific_common_supertype([other]) or other


def _as_numpy(outputs: Any) -> Any:
    keep = tf.RaggedTensor | tf.SparseTensor
    return tf.nest.map_structure(lambda t: t if isinstance(t, keep) else np.asarray(t), outputs)
