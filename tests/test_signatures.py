"""Names, shapes and kinds of signatures."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf
from tensorflow.python.saved_model.model_utils import export_output  # the original's classes, still in TensorFlow

from keras_estimator.engines.tensorflow import signatures
from keras_estimator.errors import ExportError

layers = keras.layers


class Subclassed(keras.Model):
    def call(self, x):
        return x


def functional(**shape: object) -> keras.Model:
    a, b, unnamed = keras.Input(**shape, name="a"), keras.Input((2,), dtype="int32", name="b"), keras.Input((1,))
    both = layers.Concatenate()([a, unnamed])
    return keras.Model([a, b, unnamed], [layers.Dense(1, name="y")(both), layers.Flatten(name="z")(b)])


def test_inputs_are_named_by_keras_input_and_numbered_where_it_has_no_name():
    model = functional(shape=(3,))
    entry = signatures.entry_of_features(model, signatures.feature_spec(model, None))
    assert {name: (spec.shape.as_list(), spec.dtype.name) for name, spec in entry.parts().items()} == {
        "a": ([None, 3], "float32"),
        "b": ([None, 2], "int32"),
        "input_3": ([None, 1], "float32"),
    }


def test_a_model_that_was_never_called_has_no_features():
    with pytest.raises(ExportError, match="nothing says what") as caught:
        signatures.feature_spec(Subclassed(), None)
    assert caught.value.rule == "KE502"


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (tf.TensorSpec([8, 2]), ["inputs"]),
        ((tf.TensorSpec([8, 2]), tf.TensorSpec([8])), ["input_1", "input_2"]),
        ({"b": tf.TensorSpec([8]), "a": {"c": tf.TensorSpec([8]), "d": [tf.TensorSpec([8])]}}, ["a_c", "a_d_1", "b"]),
        (tf.RaggedTensorSpec([8, None]), ["inputs_values", "inputs_row_splits"]),
        (tf.RaggedTensorSpec([8, None, None]), ["inputs_values", "inputs_row_splits", "inputs_row_splits_2"]),
        ({"s": tf.SparseTensorSpec([8, 5])}, ["s_indices", "s_values", "s_dense_shape"]),
    ],
    ids=["single", "tuple", "dict", "ragged", "ragged twice", "sparse"],
)
def test_features_of_a_subclassed_model_are_named_by_their_structure_and_come_back_whole(spec: object, names: list):
    model = Subclassed()
    spec = signatures.feature_spec(model, spec)
    entry = signatures.entry_of_features(model, spec)
    assert list(entry.parts()) == names
    assert all(leaf.shape[0] is None for leaf in tf.nest.flatten(spec))
    fed = [f"tensor of {name}" for name in names]
    if not any(isinstance(leaf, tf.RaggedTensorSpec | tf.SparseTensorSpec) for leaf in tf.nest.flatten(spec)):
        assert tf.nest.flatten(entry.features(fed)) == fed
        tf.nest.assert_same_structure(entry.features(fed), spec)


def test_columns_that_the_model_does_not_take_are_left_out():
    model = functional(shape=(3,))
    names = [tensor.name for tensor in model.inputs]
    given = {name: tf.TensorSpec([None, 2]) for name in (*names, "surplus")}
    assert list(signatures.feature_spec(model, given)) == names


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (lambda x: x, ["output_1"]),
        (lambda x: (x, x), ["output_1", "output_2"]),
        (lambda x: {"q": x, "p": (x, x)}, ["p_1", "p_2", "q"]),
        (lambda x: {"p": (x, x), "p_1": x}, ["p_1", "p_2", "p_1_2"]),
        (lambda x: tf.RaggedTensor.from_tensor(x), ["output_1_values", "output_1_row_splits"]),
    ],
    ids=["single", "tuple", "dict", "same names", "ragged"],
)
def test_outputs_of_a_subclassed_model_are_named_by_their_structure(outputs: object, names: list):
    assert list(signatures.named_outputs(Subclassed(), outputs(tf.ones([2, 2])))) == names


def test_outputs_of_a_graph_of_layers_are_named_by_their_layers():
    x = tf.ones([2, 2])
    assert list(signatures.named_outputs(functional(shape=(3,)), [x, x])) == ["y", "z"]
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="last")])
    assert list(signatures.named_outputs(model, x)) == ["last"]
    assert list(signatures.named_outputs(model, {"own": x})) == ["own"]


def test_a_batch_is_fixed_only_where_the_inputs_say_so():
    assert signatures.declared_batch(keras.Sequential([keras.Input(batch_shape=(4, 2)), layers.Dense(1)])) == 4
    assert signatures.declared_batch(functional(shape=(3,))) is None
    assert signatures.declared_batch(Subclassed()) is None


def test_names_that_a_signature_cannot_have_are_changed_and_never_mixed_up():
    assert signatures.servable(["x", "Age", "class", "self", "my-feature/1", "0th", "_x"]) == {
        "x": "x",
        "Age": "Age",
        "class": "class_",
        "self": "self_",
        "my-feature/1": "my_feature_1",
        "0th": "arg_0th",
        "_x": "arg__x",
    }
    with pytest.raises(ExportError, match="cannot be told apart") as caught:
        signatures.servable(["a b", "c", "a-b"])
    assert caught.value.found == "a b, a-b"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (signatures.PredictOutput, "predict"),
        (signatures.ClassificationOutput, "classify"),
        (signatures.RegressionOutput, "regress"),
        (export_output.PredictOutput, "predict"),
        (export_output.ClassificationOutput, "classify"),
        (export_output.RegressionOutput, "regress"),
        ("classify", "classify"),
    ],
)
def test_the_kind_of_a_signature_is_a_word_or_a_class_of_ours_or_of_the_original(given: object, kind: str):
    assert signatures.answers({"y": given})["y"] == signatures.Answer("y", kind)


@pytest.mark.parametrize("given", ["prediction", int, None, signatures.PredictOutput()])
def test_another_kind_is_refused(given: object):
    with pytest.raises(ExportError, match="what kind of signature `y` is"):
        signatures.answers({"y": given})


def test_an_answer_names_its_tensor_by_its_kind():
    floats, strings = tf.ones([2, 1]), tf.constant(["a"])
    outputs = {"f": floats, "s": strings, "i": tf.constant([1])}
    picked = [
        *signatures.Answer("f", "predict").pick(outputs),
        *signatures.Answer("f", "classify").pick(outputs),
        *signatures.Answer("s", "classify").pick(outputs),
        *signatures.Answer("f", "regress").pick(outputs),
    ]
    assert picked == ["output", "scores", "classes", "outputs"]
    for kind, name in (("classify", "i"), ("regress", "s")):
        with pytest.raises(ExportError, match=f"nothing to {kind} by"):
            signatures.Answer(name, kind).pick(outputs)
