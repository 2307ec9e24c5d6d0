"""These fail when Keras or TensorFlow change a private attribute that a copy of a model has to know."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.model.carrying import carried_parts

L = keras.layers


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    given = keras.Input((2,))
    model = keras.Model(given, L.Dense(1)(given))
    model.compile("adam", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    return model


@pytest.mark.parametrize("name", sorted(carried_parts.COMPILED_CACHES - {"_jax_state", "_distributed_dataset"}))
def test_a_model_has_its_compiled_caches(name: str, trained: keras.Model) -> None:
    trained.evaluate(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert name in {*vars(trained), "_eval_epoch_iterator"}


def test_a_model_keeps_the_data_set_of_the_last_fit_under_this_name(trained: keras.Model) -> None:
    from keras.src.backend.tensorflow import trainer  # noqa: PLC0415 - private, and this test only

    assert "self._distributed_dataset" in __import__("inspect").getsource(trainer)


@pytest.mark.parametrize("name", [*carried_parts.LOSSES_OF_LAST_CALL, carried_parts.IDS_OF_LOSSES])
def test_a_layer_keeps_the_losses_of_its_last_call(name: str, trained: keras.Model) -> None:
    assert name in vars(trained.layers[1])


def test_a_model_keeps_its_strategy(trained: keras.Model) -> None:
    assert vars(trained)[carried_parts.STRATEGY_OF_MODEL] is None
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope() as strategy:
        assert vars(keras.Sequential())[carried_parts.STRATEGY_OF_MODEL] is strategy


@pytest.mark.parametrize("name", carried_parts.PENDING_RESTORES)
def test_a_trackable_object_keeps_what_a_checkpoint_did_not_hand_out(name: str) -> None:
    layer = L.Dense(1)
    layer.raw = tf.Variable(1.0)
    assert name in vars(layer)


def test_what_waits_for_a_checkpoint_is_named(tmp_path: Path) -> None:
    had = tf.train.Checkpoint(late=tf.Variable(1.0))
    saved = tf.train.Checkpoint(layer=had).write(str(tmp_path / "saved"))
    layer = L.Dense(1)
    assert carried_parts.waits_for(layer) == []
    tf.train.Checkpoint(layer=layer).restore(saved).expect_partial()
    assert carried_parts.waits_for(layer) == ["late"]
    layer.late = tf.Variable(5.0)
    assert layer.late.numpy() == 1
    assert carried_parts.waits_for(layer) == []
    assert carried_parts.waits_for(object()) == []
    assert carried_parts.may_wait(type(layer))
    assert not carried_parts.may_wait(object)


def test_an_optimizer_finds_a_variable_by_its_unique_id(trained: keras.Model) -> None:
    optimizer = trained.optimizer
    ids = [carried_parts.unique_id_of(variable.value) for variable in trained.trainable_variables]
    places = vars(optimizer)["_trainable_variables_indices"]
    assert list(places) == ids
    assert [optimizer._var_key(v) for v in trained.trainable_variables] == ids  # noqa: SLF001 - it is what is tested


def test_a_graph_of_layers_names_its_nodes_by_the_id_of_the_layer(trained: keras.Model) -> None:
    layers = {id(layer): layer for layer in carried_parts.layers_of_graph(trained)}
    texts = vars(trained)[carried_parts.NODES_OF_GRAPH]
    assert len(texts) == 2
    for text in texts:
        parsed = carried_parts.parse_node_text(text)
        assert parsed is not None
        assert carried_parts.node_text(layers[parsed[0]], parsed[1]) == text
    assert carried_parts.parse_node_text("dense") is None


def test_a_model_keeps_its_layers_under_this_name(trained: keras.Model) -> None:
    assert list(vars(trained)[carried_parts.LAYERS_OF_MODEL]) == trained.layers


def test_a_module_wraps_its_containers_in_these_classes() -> None:
    module = tf.Module()
    module.list, module.dict, module.tuple = [tf.Variable(1.0)], {"a": 1}, (tf.Variable(1.0),)
    wrappers = tuple(type(vars(module)[name]) for name in ("list", "dict", "tuple"))
    assert wrappers == carried_parts.wrapper_classes()


def test_what_is_loaded_from_a_saved_model_is_known(tmp_path: Path) -> None:
    module = tf.Module()
    module.inner = tf.Module()
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert carried_parts.is_loaded(loaded)
    assert carried_parts.added_to_loaded(loaded) == {"inner": loaded.inner}
    assert not carried_parts.is_loaded(loaded.inner)
    assert not carried_parts.is_loaded(module)


def test_a_tf_function_keeps_its_options() -> None:
    signature = [tf.TensorSpec((None,))]
    given = {"input_signature": signature, "jit_compile": True, "reduce_retracing": True, "autograph": False}
    found = carried_parts.options_of_tf_function(tf.function(lambda x: x, **given))
    assert found == given | {"experimental_autograph_options": None, "input_signature": tuple(signature)}


def test_a_table_keeps_its_options() -> None:
    keys = tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], "int64"))
    assert carried_parts.default_value_of(tf.lookup.StaticHashTable(keys, 7)).numpy() == 7
    table = tf.lookup.StaticVocabularyTable(keys, 3)
    assert carried_parts.hash_buckets_of(table) == (3, tf.string)
    assert carried_parts.inner_table_of(table).size() == 1
    dense = tf.lookup.experimental.DenseHashTable("int64", "int64", 0, 5, 6)
    assert carried_parts.reserved_keys_of(dense) == (5, 6)


def test_a_variable_takes_a_constraint() -> None:
    variable = tf.Variable(1.0)
    carried_parts.set_constraint(variable, abs)
    assert variable.constraint is abs


def test_a_handle_knows_what_it_belongs_to() -> None:
    variable = tf.Variable(1.0)
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1]))
    table = tf.lookup.StaticHashTable(pairs, -1)
    assert carried_parts.owner_of_handle(variable.handle) is variable
    assert carried_parts.owner_of_handle(table.resource_handle) is table
    assert carried_parts.owner_of_handle(tf.constant(1.0)) is None
