"""Data that Python gives and that change while they are read: they draw, count and shuffle, here and there."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

NUMPY: Any = np.random  # the functions that draw by one state of the whole process
LENGTH = 6  # of a pass
ASKED: list[int] = []  # the numbers of batches that somebody was asked for
generator = np.random.default_rng(0)


def begin_the_program() -> None:
    """Let all random states be those with which a program begins."""
    global generator
    generator = np.random.default_rng(9)
    CountsInItsClass.calls = 0
    random.seed(3), NUMPY.seed(3), tf.random.set_seed(3)


class Batches(keras.utils.PyDataset):
    """Each of six batches is made of its number and of what `value` says."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        ASKED.clear()

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> Any:
        ASKED.append(index)
        return (np.full((2, 1), index, "float32"), np.full((2, 1), self.value(index), "float64"))

    def value(self, index: int) -> float:
        return 0.0


class DrawsByNumpy(Batches):
    def value(self, index: int) -> float:
        return float(NUMPY.normal())


class DrawsByPython(Batches):
    def value(self, index: int) -> float:
        return random.gauss(0, 1)


class DrawsByTensorFlow(Batches):
    def value(self, index: int) -> float:
        return float(tf.random.uniform(()))


class HoldsGenerators(Batches):
    def __init__(self) -> None:
        super().__init__()
        self.augment = [Augment(), Augment()]
        self.last, self.dice = np.random.Generator(np.random.MT19937(3)), random.Random(4)

    def value(self, index: int) -> float:
        return sum(each() for each in self.augment) + self.last.normal() + self.dice.random()


class Augment:
    __slots__ = ("by_name",)

    def __init__(self) -> None:
        self.by_name = {"old": np.random.RandomState(2), "new": np.random.default_rng(3)}

    def __call__(self) -> float:
        return sum(each.normal() for each in self.by_name.values())


class DrawsFromOutside(Batches):
    def value(self, index: int) -> float:
        return drawn_outside()


def drawn_outside() -> float:
    return float(generator.normal())


class HoldsALayer(Batches):
    def __init__(self) -> None:
        super().__init__()
        self.noise = keras.Sequential([keras.Input((1,)), keras.layers.GaussianNoise(1.0, seed=3)])

    def value(self, index: int) -> float:
        return float(self.noise(np.ones((1, 1)), training=True)[0, 0])


class HoldsAGeneratorOfTensorFlow(Batches):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = tf.random.Generator.from_seed(3)

    def value(self, index: int) -> float:
        return float(self.numbers.normal(()))


class Counts(Batches):
    def __init__(self) -> None:
        super().__init__()
        self.calls, self.by_index, self.first = 0, {"even": 0, "odd": 0}, None

    def value(self, index: int) -> float:
        self.first = index if self.first is None else self.first
        self.calls += 1
        self.by_index["odd" if index % 2 else "even"] += self.calls
        return self.calls + 100 * self.by_index["even"] + 10_000 * self.first


class ShufflesItself(Batches):
    def __init__(self) -> None:
        super().__init__()
        self.order, self.files, self.weights = np.arange(5000), [f"{n}.jpg" for n in range(5000)], np.zeros(LENGTH)
        self.names = np.array(self.files)
        self.pairs, self.chosen = [(name, n) for n, name in enumerate(self.files)], list(range(5000))
        self.rng = np.random.default_rng(2)

    def value(self, index: int) -> float:
        texts = self.files[index], self.pairs[index][0], self.names[index]
        numbers = [int(text.removesuffix(".jpg")) for text in texts]
        self.weights[index] += self.rng.normal()
        return float(self.order[index] + sum(numbers) + self.chosen[index] + self.weights.sum() + NUMPY.normal())

    def on_epoch_end(self) -> None:
        NUMPY.shuffle(self.order)
        NUMPY.shuffle(self.names)
        random.shuffle(self.files)
        random.shuffle(self.pairs)
        self.chosen = random.choices(self.chosen, k=4000)


class KeepsItsState(Batches):
    """It says itself what it needs; the walk over its attributes would not find it."""

    def __init__(self) -> None:
        super().__init__()
        self.text = "a"

    def value(self, index: int) -> float:
        self.text += "b"
        return len(self.text)

    def state_dict(self) -> dict[str, Any]:
        return {"text": self.text}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.text = state["text"]


class Endless(DrawsByNumpy):
    __len__ = None

    @property
    def num_batches(self) -> None:
        return None


class OwnIterator:
    """As those of grain: the iterator has the state."""

    def __init__(self) -> None:
        self.rng, self.index = np.random.default_rng(5), 0

    def __iter__(self) -> OwnIterator:
        return self

    def __next__(self) -> Any:
        if self.index == LENGTH:
            raise StopIteration
        self.index += 1
        ASKED.append(self.index - 1)
        return [np.full((2, 1), self.index - 1, "float32"), np.full((2, 1), self.rng.normal() + NUMPY.normal())]

    def get_state(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state, b"at": (self.index, b"\xff", np.arange(3))}

    def set_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.index, _, numbers = state[b"at"]
        assert isinstance(numbers, np.ndarray)


class OfOwnIterators:
    def __init__(self) -> None:
        ASKED.clear()

    def __iter__(self) -> OwnIterator:
        return OwnIterator()


class Loader:
    """As a StatefulDataLoader: what is iterated over has the state, and each pass another order."""

    def __init__(self) -> None:
        self._state, self._loaded = None, None

    def __iter__(self) -> Iterator[Any]:
        loaded, self._loaded = self._loaded, None
        order = loaded["order"] if loaded and loaded["given"] < LENGTH else NUMPY.permutation(LENGTH).tolist()
        self._state = {"order": order, "given": loaded["given"] % LENGTH if loaded else 0}
        return self._rest()

    def _rest(self) -> Iterator[Any]:
        while self._state["given"] < LENGTH:
            index = self._state["order"][self._state["given"]]
            self._state["given"] += 1
            ASKED.append(index)
            yield np.full((2, 1), index, "float32"), np.full((2, 1), NUMPY.normal())

    def state_dict(self) -> Any:
        return self._state  # and goes on to change it

    def load_state_dict(self, state: Any) -> None:
        self._loaded = state


class Anew:
    """Draws an order for each pass."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def __iter__(self) -> Iterator[Any]:
        order = self.rng.permutation(LENGTH)
        for index in order:
            ASKED.append(int(index))
            yield np.full((2, 1), index, "float32"), np.full((2, 1), self.rng.normal() + NUMPY.normal())


class Caches(Batches):
    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[int, list[float]] = {}

    def value(self, index: int) -> float:
        return self.cache.setdefault(index, [float(NUMPY.normal())])[0] + NUMPY.normal()


class HoldsAnIterator(Batches):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.cycle([1.0, 2.0, 3.0, 5.0])

    def value(self, index: int) -> float:
        return next(self.numbers)


class CountsInItsClass(Batches):
    calls = 0

    def value(self, index: int) -> float:
        type(self).calls += 1
        return float(self.calls)


class Renamed(HoldsGenerators):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = self.last
        del self.last

    def value(self, index: int) -> float:
        return sum(each() for each in self.augment) + self.numbers.normal() + self.dice.random()


class Refuses(Loader):
    def load_state_dict(self, state: Any) -> None:
        raise KeyError("another version")
