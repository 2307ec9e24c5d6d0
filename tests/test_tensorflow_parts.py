"""Variables, tensors, tables and compiled functions are made again as they were."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model.carrying import tensorflow_parts as parts


@pytest.mark.parametrize(
    "variable",
    [
        lambda: tf.Variable([1.0, 2.0], name="v", trainable=False),
        lambda: tf.Variable(3, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA),
        lambda: tf.Variable(["a", "b"]),
        lambda: tf.Variable([[1.0]], shape=(None, 1)),
        lambda: tf.Variable(True),
        lambda: tf.Variable(1.0, dtype="bfloat16"),
    ],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_a_variable_is_made_again(variable, as_array: bool) -> None:
    original = variable()
    copy = parts.make_variable(parts.value_of_variable(original, as_array=as_array), parts.take_variable(original))
    assert parts.take_variable(copy) == parts.take_variable(original)
    np.testing.assert_array_equal(copy.numpy(), original.numpy())


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("options", [{}, {"synchronization": tf.VariableSynchronization.ON_READ, "trainable": False}])
def test_a_variable_of_one_strategy_is_read_in_the_scope_of_another(options, as_array: bool) -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        variable = tf.Variable(3.0, aggregation=tf.VariableAggregation.MEAN, **options)
    for strategy in (tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.MirroredStrategy(["CPU:0"])):
        with strategy.scope():
            value = parts.value_of_variable(variable, as_array=as_array)
            copy = parts.make_variable(value, parts.take_variable(variable))
        assert copy.numpy() == 3
    assert parts.value_of_variable(variable, as_array=as_array) == 3


def test_a_copy_that_shares_memory_does_not_see_changes() -> None:
    original = tf.Variable(np.zeros((1000, 10), "float32"))
    copy = parts.make_variable(parts.value_of_variable(original, as_array=False), parts.take_variable(original))
    indices, updates = tf.constant([[3]]), tf.ones((1, 10))
    original.assign_add(tf.ones_like(original))
    original.scatter_nd_add(indices, updates)
    assert not copy.numpy().any()
    copy.scatter_nd_add(indices, updates)
    copy.assign_sub(tf.ones_like(copy))
    assert original.numpy().min() == 1.0
    again = parts.make_variable(parts.value_of_variable(original, as_array=False), parts.take_variable(original))
    again.scatter_nd_add(indices, updates)
    assert original.numpy()[3, 0] == 2.0


@pytest.mark.parametrize(
    "table",
    [
        lambda keys: tf.lookup.StaticHashTable(keys, -1),
        lambda keys: tf.lookup.StaticVocabularyTable(keys, 2),
    ],
)
def test_a_table_is_made_again(table) -> None:
    original = table(tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, 1], "int64")))
    copy = parts.make_table(parts.take_table(original))
    words = tf.constant(["b", "a", "?"])
    np.testing.assert_array_equal(copy.lookup(words), original.lookup(words))


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.lookup.experimental.MutableHashTable("int64", "float32", 0.5),
        lambda: tf.lookup.experimental.DenseHashTable("int64", "float32", 0.5, -1, -2),
    ],
)
def test_a_growing_table_is_independent(make) -> None:
    original = make()
    key = tf.constant([7], "int64")
    original.insert(key, [1.0])
    copy = parts.make_table(parts.take_table(original))
    original.insert(key, [2.0])
    assert copy.lookup(key).numpy() == [1.0]
    assert type(copy) is type(original)


def test_a_compiled_function_is_made_around_another_one() -> None:
    original = tf.function(lambda x: x + 1, jit_compile=False)
    shell = parts.shell_of_function(type(original))
    parts.fill_function(shell, lambda x: x + 2, {"jit_compile": False})
    assert shell(tf.constant(1)).numpy() == 3


def test_what_belongs_to_a_process_has_a_way_out() -> None:
    assert "dataset" in (parts.why_not_carried(iter(tf.data.Dataset.range(3))) or "")
    assert parts.why_not_carried(tf.Module()) is None
    assert not parts.has_value(tf.Variable(1.0).handle)


def test_the_default_strategy_is_none_for_a_model() -> None:
    assert parts.current_strategy(none_for_default=True) is None
    assert parts.current_strategy(none_for_default=False) is tf.distribute.get_strategy()
    assert parts.kind_of(type(tf.distribute.get_strategy())) == "strategy"


def test_values_of_variables_and_of_tables_that_grow_are_kept_and_put_back() -> None:
    variable = tf.Variable([1.0, 2.0])
    growing = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    dense = tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, empty_key=0, deleted_key=-2)
    growing.insert(["a"], [1])
    dense.insert([5], [6])
    restores = [parts.keep_value(thing) for thing in (variable, growing, dense)]
    variable.assign([3.0, 4.0])
    for table, key in ((growing, "b"), (dense, 7)):
        table.insert([key], [2])
    for restore in restores:
        restore()
    np.testing.assert_array_equal(variable, [1.0, 2.0])
    assert growing.export()[0].numpy().tolist() == [b"a"]
    assert dense.lookup([5, 7]).numpy().tolist() == [6, -1]
    assert parts.keep_value(tf.constant(1.0)) is None
