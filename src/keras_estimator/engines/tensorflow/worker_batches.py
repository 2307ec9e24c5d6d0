"""Batches of a `keras.utils.PyDataset` that several workers make at once, from any of its batches on.

Keras gives them in order, but what workers draw or count meanwhile comes in an order that no other process repeats.
So the place is where a pass begins, and batches are asked for from their number on.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf
from keras.src.trainers import data_adapters

from keras_estimator.engines import draws
from keras_estimator.engines.engine import Position
from keras_estimator.engines.held_state import HeldState
from keras_estimator.engines.places import Place
from keras_estimator.engines.tensorflow.batch_givers import Noted, noted_with
from keras_estimator.errors import EstimatorWarning, InputError


def has_workers(data: Any) -> bool:
    """Tell whether Keras makes the batches of `data` in several threads or processes."""
    return isinstance(data, keras.utils.PyDataset) and (data.workers > 1 or (data.workers and data.use_multiprocessing))


class WorkersBatches:
    """Batches of one PyDataset, pass after pass.

    Args:
        data: The PyDataset.

    Attributes:
        length: How many a pass has; None if that is not known.
        spec: One batch as a nest of `tf.TypeSpec`.
        changes: Whether a look at the first batches has drawn random numbers, or changed something else.
    """

    def __init__(self, data: Any) -> None:
        self._data, self._from = data, _From(data)
        self._adapter = data_adapters.get_data_adapter(self._from)
        self.length = data.num_batches
        held = HeldState(data)
        before = _written(noted_with(held))
        self.spec = self._adapter.get_tf_dataset().element_spec
        self.changes = before != _written(noted_with(held))
        self._held = HeldState(data)
        self._number = -1
        self._noted: Noted | None = None

    def at(self, position: Position, place: Place | None) -> tf.data.Dataset:
        """Return the batches of one pass from `position` on.

        Args:
            position: How far the data were read.
            place: The place there, if another process has read them.
        """
        self._from.first = position.batches
        if self._number < 0:
            for _ in range(self._put_back(place), position.passes):
                self._data.on_epoch_begin()
                self._data.on_epoch_end()
            self._begin(position.passes)
        while self._number < position.passes:
            self._adapter.on_epoch_end()
            self._begin(self._number + 1)
        return self._adapter.get_tf_dataset()

    def _put_back(self, place: Place | None) -> int:
        """Put back what was noted where a pass began, and return its number; 0 if it was not."""
        needed = None if place is None else place.needed()
        if place is None or needed is None:
            return 0
        try:
            self._held.put_back(needed["held"])
        except InputError as error:
            warnings.warn(f"{error.problem}: {error.found}", EstimatorWarning, stacklevel=2)
            return 0
        draws.put_back(needed["random"])
        return place.at.passes

    def _begin(self, number: int) -> None:
        self._number, self._noted = number, noted_with(self._held)
        self._adapter.on_epoch_begin()  # the workers begin, too

    def used(self, steps: int) -> None:
        """Do nothing: the place is that of the pass."""

    def place(self) -> Place | None:
        """Return where the pass began."""
        state = _written(self._noted)
        return None if state is None else Place(Position(self._number, 0), state, untold=self._held.untold)


def _written(noted: Noted | None) -> dict[str, Any] | None:
    try:
        return None if noted is None else noted()
    except InputError:  # it is too large
        return None


class _From(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """The batches of another PyDataset from one of them on.

    Attributes:
        first: The number of that batch.
    """

    def __init__(self, data: Any) -> None:
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self._data = data
        self.first = 0

    @property
    def num_batches(self) -> int | None:
        length = self._data.num_batches
        return None if length is None else max(0, length - self.first)

    def __getitem__(self, index: int) -> Any:
        return self._data[index + self.first]

    def on_epoch_begin(self) -> None:
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._data.on_epoch_end()
