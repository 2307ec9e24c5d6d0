"""Records become objects again, in an order in which each finds what it needs whole."""

from __future__ import annotations

import array
import collections
import dataclasses
import functools
import random
import threading
import types
import weakref

import keras
import numpy as np
import pytest

from keras_estimator.model.carrying.object_graph import ObjectGraph
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph
from keras_estimator.model.carrying.put_together import Assembly
from keras_estimator.model.carrying.shells import Target


def copy_of(thing):
    graph = ObjectGraph(Target.THIS_PROCESS)
    graph.add(thing)
    return Assembly(dict(enumerate(graph.records))).put_together()


def by_bytes(thing):
    return read_graph(write_graph(thing))


ways = pytest.mark.parametrize("carry", [copy_of, by_bytes])


class Bag(list):
    """A container of the user."""


class Box:
    pass


class Holder(keras.layers.Layer):
    """Holds a thing in a box: Keras makes its own list or dict of one that is an attribute itself."""

    def __init__(self, held):
        super().__init__()
        self.box = Box()
        self.box.held = held
        self.box.again = {"as": [held]}


SHARED = {
    "list": lambda: [[1]],
    "dict": lambda: {"a": [1]},
    "set": lambda: {1},
    "deque": lambda: collections.deque([[1]], maxlen=3),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "ordered dict": lambda: collections.OrderedDict(a=[1]),
    "counter": lambda: collections.Counter("aab"),
    "bytearray": lambda: bytearray(b"a"),
    "array": lambda: np.arange(3.0),
    "array of objects": lambda: np.array([[1], {2}], dtype=object),
    "array of one element": lambda: np.array(1.0),
    "array of Python": lambda: array.array("d", [1.0]),
    "tuple with a list": lambda: ([1], 2),
    "list of the user": lambda: Bag([[1]]),
    "namespace": lambda: types.SimpleNamespace(a=[1]),
    "random generator": lambda: random.Random(1),
    "variable": lambda: keras.Variable(1.0),
    "lock": threading.Lock,
    "partial": lambda: functools.partial(print, [1]),
    "function": lambda: (lambda held: lambda: held)([1]),
}


@dataclasses.dataclass(frozen=True)
class Key:
    name: str


class Node:
    def __init__(self) -> None:
        self.me = weakref.ref(self)
        self.keys = {Key("a"): [1], Key("b"): self.method}
        self.lock = threading.Lock()
        self.names = self.keys.keys()
        self.cached = functools.lru_cache(maxsize=None)(self.method)
        self.all = frozenset({(self, 1)})
        self.known = weakref.WeakSet([self])
        self.space = types.SimpleNamespace(node=self)
        self.half = functools.partial(self.method, [2])

    def method(self, x=None):
        return self, x


def test_an_object_with_everything_is_whole_again() -> None:
    node = Node()
    node.lock.acquire()
    copy = copy_of(node)
    assert copy is not node
    assert copy.me() is copy
    assert copy.keys[Key("a")] == [1]
    assert copy.keys[Key("a")] is not node.keys[Key("a")]
    assert copy.keys[Key("b")]() == (copy, None)
    assert not copy.lock.locked()
    assert set(copy.names) == {Key("a"), Key("b")}
    assert copy.cached()[0] is copy
    assert copy.all == {(copy, 1)}
    assert set(copy.known) == {copy}
    assert copy.space.node is copy
    assert copy.half()[0] is copy


def test_containers_keep_class_order_and_attributes() -> None:
    queue = collections.deque([[1], 2], maxlen=2)
    default = collections.defaultdict(list, a=[1])
    copied = copy_of([queue, default, collections.OrderedDict(b=1, a=2), collections.Counter("aab")])
    assert copied == [queue, default, collections.OrderedDict(b=1, a=2), collections.Counter("aab")]
    assert copied[0].maxlen == 2
    assert copied[1]["new"] == []
    assert copied[0][0] is not queue[0]


def test_functions_that_share_a_variable_share_it_in_the_copy() -> None:
    held = []
    write, read = (lambda x: held.append(x)), (lambda *, last=held: (held, last))
    new_write, new_read = copy_of([write, read])
    new_write(1)
    assert new_read() == ([1], [1])
    assert held == []
    assert new_read()[0] is new_read()[1]


def test_a_random_generator_goes_on_where_it_was() -> None:
    generator = np.random.default_rng(3)
    generator.random()
    assert copy_of([generator])[0].random() == generator.random()


@ways
@pytest.mark.parametrize("kind", SHARED)
def test_what_two_layers_hold_is_one_object_in_their_copies(carry, kind: str) -> None:
    held = SHARED[kind]()
    first, second = carry([Holder(held), Holder(held)])
    assert first.box.held is not held
    assert first.box.held is second.box.held is first.box.again["as"][0] is second.box.again["as"][0]
    assert type(first.box.held).__name__ == type(held).__name__


@ways
def test_a_layer_sees_what_another_one_writes_into_their_container(carry) -> None:
    held = {"rows": collections.deque()}
    first, second = carry([Holder([held]), Holder([held])])
    first.box.held[0]["rows"].append(1)
    assert second.box.held[0]["rows"] == collections.deque([1])
    assert not held["rows"]


@ways
def test_containers_that_hold_themselves_do_so_in_the_copy(carry) -> None:
    endless: list = [1]
    endless.append(endless)
    table = {"endless": endless}
    table["me"] = table
    through = ([],)
    through[0].append(through)
    queue = collections.deque([endless])
    queue.append(queue)
    objects = np.array([None, 1], dtype=object)
    objects[0] = objects
    endless, table, through, queue, objects = carry([endless, table, through, queue, objects])
    assert endless[1] is endless
    assert table["me"] is table
    assert table["endless"] is endless
    assert through[0][0] is through
    assert queue[0] is endless
    assert queue[1] is queue
    assert objects[0] is objects


@ways
def test_a_dict_that_functions_close_over_is_one_in_the_copy(carry) -> None:
    seen = {}

    def write(key, value, *, also=seen) -> None:
        seen[key] = value
        assert also is seen

    def read(key, held=seen):
        assert held is seen
        return seen[key]

    holder = Holder([write])
    holder.read = read
    holder.seen_by_method = functools.partial(seen.get, "a")
    new, new_read = carry([holder, read])
    assert new.read is new_read
    new.box.held[0]("a", 2)
    assert new_read("a") == new.seen_by_method() == 2
    assert seen == {}
