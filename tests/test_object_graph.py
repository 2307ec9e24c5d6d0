"""The walk finds everything that a copy makes anew, and shares the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.errors import BlueprintError
from keras_estimator.model.carrying.object_graph import ObjectGraph
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph
from keras_estimator.model.carrying.put_together import Assembly
from keras_estimator.model.carrying.shells import Derived, Part, Target


def graph_of(thing):
    graph = ObjectGraph(Target.THIS_PROCESS)
    graph.add(thing)
    return graph


def test_immutables_are_made_anew_only_if_they_hold_something_that_is() -> None:
    plain, holding = (1, ("a",)), (1, [2])
    graph = graph_of([plain, holding])
    assert graph.number_of(plain) is None
    assert graph.number_of(holding) is not None
    assert graph.records[0].items == [plain, Part(graph.number_of(holding))]


def test_an_object_that_is_held_twice_has_one_record() -> None:
    held = []
    graph = graph_of([held, {"a": held}])
    assert sum(record.kind == "list" for record in graph.records) == 2


def test_a_key_that_is_an_id_is_written_as_the_object() -> None:
    held = []
    graph = graph_of([held, {id(held): 1}, {id(held)}])
    derived = Derived("id", Part(graph.number_of(held)))
    assert [record.pairs for record in graph.records if record.kind == "dict"] == [[(derived, 1)]]
    assert [record.items for record in graph.records if record.kind == "set"] == [[derived]]


def test_depth_needs_no_recursion() -> None:
    deep = []
    for _ in range(sys.getrecursionlimit() * 3):
        deep = [deep]
    assert len(graph_of(deep).records) == sys.getrecursionlimit() * 3 + 1


def test_an_error_names_the_shortest_way() -> None:
    class Holder:
        pass

    holder = Holder()
    holder.deep = [{"a": (x for x in ())}]
    with pytest.raises(BlueprintError, match=r"model\.deep\[0\]\['a'\]") as refused:
        graph_of(holder)
    assert "builtins.generator" in refused.value.found
    assert refused.value.rule == "KE120"
    given = holder.deep[0]["a"]
    with pytest.raises(BlueprintError, match="closure or default given"):
        graph_of(lambda: given)


class LateOnes(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first = keras.layers.Dense(1)

    def call(self, x):
        return self.first(x)


def test_what_waits_for_a_checkpoint_is_said_and_its_copies_wait_for_nothing(tmp_path: Path) -> None:
    x, y = np.ones((1, 2), "float32"), np.ones((1, 1), "float32")
    model = LateOnes()
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(x, y)
    assert graph_of(model).waiting() == []
    saved = tf.train.Checkpoint(model=model).write(str(tmp_path / "saved"))
    waits = LateOnes()
    waits.compile("adam", "mse", run_eagerly=True)
    tf.train.Checkpoint(model=waits).restore(saved).expect_partial()
    graph = graph_of(waits)
    said = dict(graph.waiting())
    assert "_momentums" in said["model.optimizer"]
    assert "before you restore" in said["model.optimizer"]
    for copy in (Assembly(dict(enumerate(graph.records))).put_together(), read_graph(write_graph(waits))):
        assert graph_of(copy).waiting() == []
        assert not any("Checkpoint" in type(thing).__name__ for thing in graph_of(copy).things)
        copy.train_on_batch(x, y)
