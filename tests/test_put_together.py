"""Records become objects again, in an order in which each finds what it needs whole."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import types
import weakref

import numpy as np

from keras_estimator.model.carrying.object_graph import ObjectGraph
from keras_estimator.model.carrying.put_together import Assembly
from keras_estimator.model.carrying.shells import Target


def copy_of(thing):
    graph = ObjectGraph(Target.THIS_PROCESS)
    graph.add(thing)
    return Assembly(dict(enumerate(graph.records))).put_together()


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
