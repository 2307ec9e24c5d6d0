"""A loaded SavedModel that a model holds is made anew in its copy, with the values and the parts that it has now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator import Blueprint
from keras_estimator.errors import BlueprintError

ONES = np.ones((1, 2), "float32")


class Counts(tf.Module):
    """State, a table and functions, as people save them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = tf.Variable(0.0)
        self.inner = [tf.Module()]
        self.inner[0].scale = tf.Variable(3.0)
        words = tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([5], "int64"))
        self.table = tf.lookup.StaticHashTable(words, -1)

    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def apply(self, x: Any) -> Any:
        self.seen.assign_add(1.0)
        return x * self.inner[0].scale + self.seen

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def look(self, words: Any) -> Any:
        return self.table.lookup(words)


class Holds(keras.layers.Layer):
    def __init__(self, function: Any, **held: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            setattr(self, name, value)

    def call(self, x: Any) -> Any:
        return self.function(x)


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    module = Counts()
    signatures = {"named": module.apply.get_concrete_function()}
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)
    return tf.saved_model.load(str(tmp_path))


def copies(layer: Any) -> list[Any]:
    model = keras.Sequential([layer])
    blueprint = Blueprint.of(model)
    return [blueprint.build().layers[0], Blueprint.from_bytes(blueprint.to_bytes()).build().layers[0]]


def test_its_parts_stay_its_parts_whichever_was_found_first(loaded: Any) -> None:
    layer = Holds(loaded.apply, seen=loaded.seen, scale=loaded.inner[0].scale, at_last=[{"it": loaded}])
    layer.named = loaded.signatures["named"]
    layer(ONES)
    for copy in copies(layer):
        loaded_again = copy.at_last[0]["it"]
        assert copy.function is loaded_again.apply
        assert copy.seen is loaded_again.seen
        assert copy.seen is not layer.seen
        assert copy.scale is loaded_again.inner[0].scale
        assert copy.named is loaded_again.signatures["named"]
        assert copy.seen.numpy() == 1
        np.testing.assert_array_equal(copy(ONES), [[5.0, 5.0]])
        copy.scale.assign(0.0)
        np.testing.assert_array_equal(copy.function(ONES), [[3.0, 3.0]])
        assert loaded_again.look(tf.constant(["a", "b"])).numpy().tolist() == [5, -1]
    assert (layer.seen.numpy(), layer.scale.numpy()) == (1, 3)


def test_what_was_added_to_it_is_carried_too(loaded: Any) -> None:
    loaded.note = {"by": ["me"]}
    loaded.late = tf.Variable(4.0)
    for copy in copies(Holds(loaded.apply, it=loaded)):
        assert copy.it.note["by"] == ["me"]
        assert copy.it.late.numpy() == 4
        assert copy.it.late is not loaded.late


def test_a_function_of_one_that_the_model_does_not_hold_is_refused(loaded: Any) -> None:
    with pytest.raises(BlueprintError, match="cannot be carried") as refused:
        copies(Holds(loaded.signatures["named"]))
    assert "tf.saved_model.load" in refused.value.fix
