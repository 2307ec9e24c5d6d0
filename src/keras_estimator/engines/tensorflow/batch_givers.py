"""Who gives batches one after the other in Python, and what each needs to go on with them in another process.

| given                                              | goes on                                       |
|----------------------------------------------------|-----------------------------------------------|
| `PyDataset`                                        | at any batch, with what it held               |
| what has a state: StatefulDataLoader, grain        | at any batch, with that state                 |
| torch `DataLoader`, list, what can be iterated anew | at the beginning of a pass, with what it held |
| generator, iterator                                | at the beginning                              |

What is needed is noted before every batch, as a thread reads them ahead. See engines/held_state.py for what is held.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from keras.src.trainers import data_adapters

from keras_estimator.engines import draws, plain_values
from keras_estimator.engines.held_cells import another
from keras_estimator.engines.held_state import HeldState
from keras_estimator.errors import EstimatorError

_LOOKED_AT = 2  # batches, as Keras does
_STATES = (("state_dict", "load_state_dict"), ("get_state", "set_state"))
Noted = Callable[[], dict[str, Any]]  # writes what was noted as JSON values


class Giver(Protocol):
    """Gives batches, pass after pass.

    Attributes:
        length: How many a pass has; None if that is not known.
        untold: What of it cannot be put back, so that it has to begin at its beginning; empty as long as all can.
    """

    length: int | None

    @property
    def untold(self) -> str:
        """See above."""

    def looked_at(self) -> list[Any] | None:
        """Return the first batches, which it will give once more; None: it would not."""

    def begin(self, number: int) -> Iterator[Any]:
        """Return the batches of pass `number`; those before it have ended."""

    def noted(self, index: int) -> Noted | None:
        """Note what it needs to give batch `index` of this pass, which comes next; None: it cannot go on there."""

    def go_on(self, index: int, state: Mapping[str, Any]) -> Iterator[Any]:
        """Return the batches from one on.

        Args:
            index: Its number in its pass.
            state: What was noted before it, read.

        Raises:
            InputError: it cannot be what it was then.
        """


class PyDatasetGiver:
    """The batches of a `keras.utils.PyDataset` without workers, asked for by their numbers."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._held: HeldState | OwnState | None = None
        self.length = data.num_batches

    @property
    def untold(self) -> str:
        return "" if self._held is None else self._held.untold

    def looked_at(self) -> list[Any]:
        found = list(itertools.islice(self._from(0), _LOOKED_AT))
        self._held = OwnState.of(self._data) or HeldState(self._data)
        return found

    def begin(self, number: int) -> Iterator[Any]:
        if number:
            self._data.on_epoch_end()
        self._data.on_epoch_begin()
        return self._from(0)

    def _from(self, index: int) -> Iterator[Any]:
        length = self._data.num_batches
        for place in itertools.count(index) if length is None else range(index, length):
            batch = self._data[place]
            yield batch if isinstance(batch, dict) else as_batch(batch)

    def noted(self, index: int) -> Noted | None:
        del index
        return None if self._held is None else noted_with(self._held)

    def go_on(self, index: int, state: Mapping[str, Any]) -> Iterator[Any]:
        if self._held is not None:
            self._held.put_back(state["held"])
        draws.put_back(state["random"])
        return self._from(index)


class IteratedGiver:
    """The batches of what is iterated over: a DataLoader, a list, a generator, or what has a state of its own.

    Args:
        data: What it is.
        again: Gives it anew, if it is an iterator and comes from an input_fn.
    """

    def __init__(self, data: Any, again: Callable[[], Any] | None = None) -> None:
        self._data, self._again = data, again
        self._is_loader = data_adapters.is_torch_dataloader(data)
        self.length = len(data) if self._is_loader and hasattr(data.dataset, "__len__") else None
        self._own = OwnState.of(data)
        self._held = None if self._own is not None or isinstance(data, Iterator) else HeldState(data)
        self._at_begin: Noted | None = None

    @property
    def untold(self) -> str:
        return next((each.untold for each in (self._own, self._held) if each is not None), "what it gave")

    def looked_at(self) -> list[Any] | None:
        return [as_batch(batch) for batch in itertools.islice(self._data, _LOOKED_AT)] if self._is_loader else None

    def begin(self, number: int) -> Iterator[Any]:
        if number and self._again is not None and isinstance(self._data, Iterator):
            self._data = self._again()
            self._own = OwnState.of(self._data)
        if self._held is not None:
            self._at_begin = noted_with(self._held)
        elif self._own is not None:  # before the first pass it may have been looked at, and say so
            self._at_begin = noted_with(self._own) if number else None
        return map(as_batch, self._iterate())

    def _iterate(self, held: Any = None) -> Iterator[Any]:
        iterator: Iterator[Any] = iter(self._data)
        if self._held is not None and (own := OwnState.of(iterator)) is not None:
            if held is not None:
                own.put_back(held)
            self._own = own
        return iterator

    def noted(self, index: int) -> Noted | None:
        if self._own is not None and (index or self._held is not None):
            return noted_with(self._own)
        return None if index else self._at_begin

    def go_on(self, index: int, state: Mapping[str, Any]) -> Iterator[Any]:
        if self._held is not None and self._own is None:
            self._held.put_back(state["held"])
            draws.put_back(state["random"])
            return map(as_batch, iter(self._data))
        if self._held is None and self._own is not None:
            self._own.put_back(state["held"])
            iterator = iter(self._data)
        else:
            iterator = self._iterate(state["held"])
        draws.put_back(state["random"])  # to begin to iterate may have drawn, too
        return map(as_batch, iterator)


class OwnState:
    """The state that something gives and takes itself.

    Attributes:
        untold: Why it is not kept; empty if it is.
    """

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], object]) -> None:
        self._get, self._put = get, put
        self._is_plain = False
        self.untold = ""

    @classmethod
    def of(cls, thing: Any) -> OwnState | None:
        """Return the state of a thing, if it has one."""
        for names in _STATES:
            get, put = (getattr(thing, name, None) for name in names)
            if callable(get) and callable(put):
                return cls(get, put)
        return None

    def noted(self) -> Any:
        """Return the state; None if no checkpoint can hold it."""
        if self.untold:
            return None
        try:
            state = copy.deepcopy(self._get())  # it may go on changing in there
            if not self._is_plain:
                plain_values.written(state)
        except Exception as error:  # noqa: BLE001 - code of the user's, or of any library
            self.untold = f"its own state ({error.found if isinstance(error, EstimatorError) else repr(error)})"
            return None
        self._is_plain = True
        return {"own": state}

    def put_back(self, noted: Any) -> None:
        """Give the state back.

        Raises:
            InputError: it is not taken.
        """
        try:
            self._put(noted["own"])
        except Exception as error:  # it is code of the user's, or of any library
            raise another(repr(error)) from error


def noted_with(held: HeldState | OwnState) -> Noted | None:
    """Note what something holds, and the states of random numbers; None if that cannot be put back."""
    state = held.noted()
    if state is None:
        return None
    random = draws.noted()
    return lambda: {"random": random(), "held": plain_values.written(state)}


def as_batch(batch: Any) -> tuple[Any, ...]:
    """Return a batch as Keras takes it of a generator."""
    batch = tuple(batch) if isinstance(batch, list) else batch
    return batch if isinstance(batch, tuple) else (batch,)
