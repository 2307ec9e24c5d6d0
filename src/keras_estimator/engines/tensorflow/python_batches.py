"""Batches that Python gives: read ahead by TensorFlow, and read on by another process from the last one trained on.

Before each batch is asked for, what its giver needs to give it again is noted, and kept until the batch was trained
on. So the place in a checkpoint is the last batch that was trained on, whatever was read ahead. A run that goes on asks
for that batch once more, and compares: if it has become another one, so may all that follow.

The private parts of Keras used here, in batch_givers.py and in worker_batches.py are `data_adapters` and its
`data_adapter_utils` (how `fit` reads what Python gives); tests/test_python_batches.py fails when they change.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters import data_adapter_utils

from keras_estimator.engines.engine import Position
from keras_estimator.engines.held_cells import places
from keras_estimator.engines.places import Place
from keras_estimator.engines.tensorflow.batch_givers import Giver, Noted
from keras_estimator.errors import EmptyInputError, EstimatorWarning, InputError

_LOG = logging.getLogger("keras_estimator")
_SAMPLED = 1024  # numbers of an array by which a batch is known again


class _Note(NamedTuple):
    """What was noted of one batch.

    Attributes:
        at: Where it is.
        state: What its giver needs to give it again; None: it cannot go on there.
        hash: By what it is known again.
    """

    at: Position
    state: Noted | None
    hash: str


class PythonBatches:
    """Batches of one giver, pass after pass.

    Args:
        giver: Who gives them.
        name: What that is, for messages.
        takes_notes: Whether a place will be asked for.

    Attributes:
        length: How many a pass has; None if that is not known.
        spec: One batch as a nest of `tf.TypeSpec`.

    Raises:
        EmptyInputError: there is no first batch.
    """

    def __init__(self, giver: Giver, name: str, *, takes_notes: bool) -> None:
        self._giver, self._name, self._takes_notes = giver, name, takes_notes
        self._notes: deque[_Note] = deque()  # of what was read and not trained on yet
        self._start: _Note | None = None  # the last that was trained on with which its giver can go on
        self._last: _Note | None = None  # the last that was trained on
        self._place: Place | None = None  # where another process was
        self._is_told = self._is_open = False
        self._batches: Iterator[Any] = iter(())
        self._number, self._index, self._is_read = -1, 0, False  # of its next one, if nobody reads it yet
        looked_at = giver.looked_at()
        if looked_at is None:
            self._begin(0)
            looked_at = list(itertools.islice(self._batches, data_adapter_utils.NUM_BATCHES_FOR_TENSOR_SPEC))
            self._batches = itertools.chain(looked_at, self._batches)
        if not looked_at:
            raise nothing_given(name)
        self.spec = data_adapter_utils.get_tensor_spec([_as_arrays(batch) for batch in looked_at])
        self.length = giver.length
        self._is_open = True

    def at(self, position: Position, place: Place | None) -> tf.data.Dataset:
        """Return the batches of one pass from `position` on; what that takes is done when the first is asked for.

        Args:
            position: How far the data were read.
            place: The place there, if another process has read them.
        """
        self._place = place
        has_nothing = any(isinstance(spec, tf.OptionalSpec) for spec in tf.nest.flatten(self.spec))

        def read() -> Iterator[Any]:
            self._go_to(position, place)
            for batch in self._batches:
                yield tf.nest.map_structure(_as_optional, batch) if has_nothing else batch

        dataset = tf.data.Dataset.from_generator(read, output_signature=self.spec)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def _go_to(self, position: Position, place: Place | None) -> None:
        """Read all that lies before, from a place on or from the beginning."""
        if place is not None:
            self._go_on(place)
        elif self._is_read and self._number >= position.passes:
            self._begin(position.passes)
        passed: list[_Note] = []
        while self._number < position.passes:
            if self._number >= 0:
                self._drop(None, passed)
            self._begin(self._number + 1)
        self._drop(position.batches - self._index, passed)
        self._is_read = True
        for note in passed:
            self._note_used(note)
        if place is not None and (not passed or passed[-1].hash != place.hash):
            warnings.warn(
                f"the {self._name} does not give the batch again that was trained on last: the next ones may be others "
                "than without a stop. Way out: draw from a generator with a seed that the data hold, not in a worker.",
                EstimatorWarning,
                stacklevel=2,
            )

    def _go_on(self, place: Place) -> None:
        """Begin where the place is; if that cannot be, say so, and let it be read forward."""
        needed = place.needed()
        if needed is None:
            if place.untold:
                _LOG.info("%s: %s could not be put back; reading forward", self._name, place.untold)
            return
        try:
            batches = self._giver.go_on(place.at.batches, needed)
        except InputError as error:
            text = f"{error.problem} ({error.found}): the {self._name} is read forward from its beginning"
            warnings.warn(text, EstimatorWarning, stacklevel=2)
            return
        self._number, self._index = place.at.passes, place.at.batches
        self._batches = self._noted(batches)

    def _begin(self, number: int) -> None:
        self._number, self._index = number, 0
        self._batches = self._noted(self._giver.begin(number))

    def _noted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Give batches in NumPy's arrays, each once it is noted."""
        self._notes = notes = deque[_Note]()
        number, first = self._number, self._index

        def noted() -> Iterator[Any]:
            for index in itertools.count(first):
                # What is looked at is given when the data are opened: a model may be built before the rest, and draw.
                state = self._giver.noted(index) if self._takes_notes and self._is_open else None
                batch = next(batches, None)
                if batch is None:
                    return
                batch = _as_arrays(batch)
                if self._takes_notes:
                    notes.append(_Note(Position(number, index), state, _hash(batch)))
                yield batch

        return noted()

    def _drop(self, count: int | None, passed: list[_Note]) -> None:
        """Read some batches, or all that are left of the pass; note the last, and the last with a state."""
        for _ in itertools.islice(self._batches, count):
            self._index += 1
            if self._notes:
                note = self._notes.popleft()
                passed[:] = [note] if note.state is not None else [*passed[:1], note]

    def used(self, steps: int) -> None:
        """Note that so many batches were trained on."""
        for _ in range(min(steps, len(self._notes))):
            self._note_used(self._notes.popleft())

    def _note_used(self, note: _Note) -> None:
        self._last = note
        if note.state is not None:
            self._start = note

    def place(self) -> Place | None:
        """Return where the last batch is that was trained on; None before the first."""
        if self._last is None:
            return self._place
        state, untold = None, self._giver.untold
        if self._start is not None:
            try:
                state = self._start.state() if self._start.state is not None else None
            except InputError as error:  # it is too large
                untold = error.found
        if untold and not self._is_told:
            self._is_told = True
            _LOG.info("%s: %s cannot be put back: after a stop it is read forward", self._name, untold)
        at = self._start.at if self._start is not None and state is not None else Position()
        return Place(at, state, self._last.hash, untold)


def nothing_given(name: str) -> EmptyInputError:
    """Return the error that data ended before a first batch could be looked at."""
    return EmptyInputError(
        f"the {name} gave no batch",
        found="it ended before the first batch",
        expected="at least one batch",
        fix="check the data it reads; a generator that was used up must be made anew by the input_fn",
    )


def _as_arrays(batch: Any) -> Any:
    """Return a batch with tuples for lists, as tf.data wants it, and without tensors of torch and SciPy."""
    if isinstance(batch, np.ndarray):
        return batch
    if isinstance(batch, Mapping):
        return {name: _as_arrays(part) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        parts = map(_as_arrays, batch)
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    if data_adapter_utils.is_scipy_sparse(batch):
        return data_adapter_utils.scipy_sparse_to_tf_sparse(batch)
    return np.asarray(batch.cpu()) if data_adapter_utils.is_torch_tensor(batch) else batch


def _as_optional(value: Any) -> Any:
    return tf.experimental.Optional.empty(None) if value is None else value


def _hash(batch: Any) -> str:
    """Return by what a batch is known again: some numbers of each of its arrays."""
    digest = hashlib.sha256()
    for leaf in tf.nest.flatten(batch, expand_composites=True):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        sample = array.flat[places(array.size, _SAMPLED)]
        digest.update(repr(sample.tolist()).encode() if array.dtype == object else sample.tobytes())
    return digest.hexdigest()[:16]
