"""Exports: what is written, under which names, and that a process without our code serves the same numbers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.engines.tensorflow import export, receivers, serve_check
from keras_estimator.engines.tensorflow.predicting import Predicting
from keras_estimator.engines.tensorflow.state import ModelState
from keras_estimator.errors import EstimatorWarning, ExportError
from keras_estimator.state_files import locked

layers = keras.layers
BatchNorm = layers.BatchNormalization


def exported(model: keras.Model, base: Path, spec: object = None, **options: object) -> str:
    """Export as the engine does; without the check in another process unless a test asks for it."""
    step = Predicting(model, ModelState(model), lambda: False).step
    return export.export_saved_model(model, step, spec, base, **{"verify": False, **options})


def dense_model() -> keras.Model:
    return keras.Sequential([keras.Input((4,), name="x"), layers.Dense(2, name="y")])


class Remembering(layers.Layer):
    """Holds variables and a table where Keras does not look for them, and one where it does."""

    def __init__(self):
        super().__init__()
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.bag = {"list": [tf.Variable(2.0)]}
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [5.0]), 0.0)
        offset = tf.Variable(3.0)
        self.closed_over = lambda: table.lookup(tf.constant("a")) + offset

    def call(self, x):
        return x * self.bag["list"][0] + self.closed_over() + self.count


class Vocabulary(layers.Layer):
    """Reads its words from a file, which has to travel with the export."""

    def __init__(self, file):
        super().__init__()
        words = tf.lookup.TextFileInitializer(str(file), tf.string, -2, tf.int64, -1)
        self.tables = [tf.lookup.StaticHashTable(words, -1)]

    def call(self, x):
        return self.tables[0].lookup(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, "int64")


class Pair(keras.Model):
    """Takes and gives dicts."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x):
        return {"far": self.dense(x["left"]), "near": x["right"] * 2}


def kinds(place: Path) -> dict[str, tuple[keras.Model, object, dict[str, object]]]:
    """Return models of many kinds, each with the spec of its features and with inputs by served name."""
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    two = keras.Model([a, b], [layers.Dense(1, name="p")(a), layers.Concatenate(name="q")([a, b])])
    word = keras.Input((1,), dtype="string", name="word")
    words = layers.StringLookup(vocabulary=["red", "green"])
    text = layers.TextVectorization(output_sequence_length=3)
    text.adapt(["red wine", "green grass"])
    file = place / "words.txt"
    file.write_text("red\ngreen\n", encoding="utf-8")
    ragged = keras.Input((None,), ragged=True, name="steps")
    half = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3, dtype="mixed_bfloat16", name="y")])
    numbers = np.random.default_rng(0)
    rows = {size: numbers.normal(size=(2, size)).astype("float32") for size in (2, 3, 4)}
    strings = np.array([["green"], ["blue"]], dtype=object)
    return {
        "two inputs, two outputs": (two, None, {"a": rows[3], "b": rows[2]}),
        "dict in, dict out": (
            Pair(),
            {"left": tf.TensorSpec([None, 4]), "right": tf.TensorSpec([8, 2])},
            {"left": rows[4], "right": rows[2]},
        ),
        "variables and a table in unusual places": (
            keras.Sequential([keras.Input((2,), name="x"), Remembering()]), None, {"x": rows[2]},
        ),
        "string lookup": (keras.Model(word, layers.Embedding(4, 2)(words(word))), None, {"word": strings}),
        "text vectorization": (
            keras.Sequential([keras.Input((), dtype="string", name="text"), text, layers.Embedding(9, 2)]),
            None,
            {"text": np.array([b"red grass", b"x"], dtype=object)},
        ),
        "a file of words": (keras.Model(word, Vocabulary(file)(word)), None, {"word": strings}),
        "ragged": (
            keras.Model(ragged, layers.Lambda(lambda x: tf.reduce_sum(x, 1), output_shape=())(ragged)),
            None,
            {"steps_values": np.array([1, 2, 3], "float32"), "steps_row_splits": np.array([0, 1, 3], "int64")},
        ),
        "mixed precision": (half, None, {"x": rows[4]}),
        "recurrent": (
            keras.Sequential([keras.Input((5, 3), name="x"), layers.Bidirectional(layers.LSTM(2))]),
            None,
            {"x": numbers.normal(size=(2, 5, 3)).astype("float32")},
        ),
        "convolutions with BatchNormalization": (
            keras.Sequential([keras.Input((None, None, 1), name="x"), layers.Conv2D(2, 3), BatchNorm()]),
            None,
            {"x": numbers.normal(size=(2, 6, 6, 1)).astype("float32")},
        ),
    }  # fmt: skip


_SERVE_ALL = """
import importlib.util, json, pathlib, sys
spec = importlib.util.spec_from_file_location("serve_check", sys.argv[1])
serve_check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(serve_check)
asked = json.loads(pathlib.Path(sys.argv[2]).read_text())
answers = {name: serve_check.serve(folder, calls) for name, (folder, calls) in asked.items()}
assert "keras_estimator" not in sys.modules
pathlib.Path(sys.argv[3]).write_text(json.dumps(answers))
"""


def test_models_of_many_kinds_are_served_alike_by_a_process_without_our_code(tmp_path: Path):
    models = kinds(tmp_path)
    asked = {}
    for name, (model, spec, inputs) in models.items():
        call = {"signature": "serving_default", "inputs": {key: serve_check.encode(x) for key, x in inputs.items()}}
        asked[name] = exported(model, tmp_path / re.sub(r"\W+", "-", name), spec), [call]
    (tmp_path / "words.txt").unlink()
    questions, answers = tmp_path / "asked.json", tmp_path / "answered.json"
    questions.write_text(json.dumps(asked), encoding="utf-8")
    command = [sys.executable, "-I", "-c", _SERVE_ALL, serve_check.__file__, str(questions), str(answers)]
    subprocess.run(command, cwd=tmp_path, check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"})

    for name, [answer] in json.loads(answers.read_text(encoding="utf-8")).items():
        model, _, inputs = models[name]
        served = {key: serve_check.decode(pair).numpy() for key, pair in answer.items()}
        for key, expected in predicted(model, name, inputs).items():
            np.testing.assert_allclose(served.pop(key), expected, rtol=1e-5, atol=1e-6, err_msg=name)
        assert served == {}, name


def predicted(model: keras.Model, name: str, inputs: dict[str, object]) -> dict[str, object]:
    """Return what Keras itself gives, under the names that we expect."""
    if name == "ragged":
        features = tf.RaggedTensor.from_row_splits(inputs["steps_values"], inputs["steps_row_splits"])
    elif len(inputs) > 1:
        features = {key: tf.constant(value) for key, value in inputs.items()}
    else:
        features = tf.constant(next(iter(inputs.values())))
    outputs = model(list(features.values()) if name.startswith("two") else features, training=False)
    if isinstance(outputs, dict):
        return outputs
    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    return dict(zip(names, tf.nest.flatten(outputs), strict=True))


def test_an_export_is_compared_with_the_model_in_a_fresh_process_and_renamed(tmp_path: Path):
    folder = Path(exported(dense_model(), tmp_path / "base", verify=True))
    assert re.fullmatch(r"\d{10}", folder.name)
    assert os.listdir(tmp_path / "base") == [folder.name]
    assert {path.name for path in folder.iterdir()} >= {"saved_model.pb", "variables"}
    assert abs(int(folder.name) - time.time()) < 60
    assert list(tf.saved_model.load(folder).weights) == ["y/kernel", "y/bias"]


def test_what_a_killed_export_has_left_is_removed_and_what_another_writes_stays(tmp_path: Path):
    left, written, other = tmp_path / f"temp-{'a' * 32}", tmp_path / f"temp-{'b' * 32}", tmp_path / "temp-mine"
    begun = tmp_path / f"temp-{'c' * 32}"
    for folder in (left, written, begun, other):
        folder.mkdir()
        (folder / "saved_model.pb").touch()
        if folder != begun:
            os.utime(folder, (time.time() - 100,) * 2)
    with locked(written, waits=False) as is_held:
        assert is_held
        folder = exported(dense_model(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {Path(folder).name, written.name, begun.name, other.name}


class Frozen(layers.Layer):
    def call(self, x):
        return x + np.random.default_rng().normal()


def test_an_export_that_serves_other_numbers_is_refused_and_leaves_nothing(tmp_path: Path):
    model = keras.Sequential([keras.Input((2,)), Frozen()])
    with pytest.raises(ExportError, match="serves other numbers") as caught:
        exported(model, tmp_path / "base", verify=True)
    assert "`frozen` of the signature `serving_default`" in caught.value.found
    assert not (tmp_path / "base").exists()


class Writing(layers.Layer):
    def __init__(self):
        super().__init__()
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign_add(1.0)
        return x + self.count


def test_a_counter_that_serving_moves_is_reported_by_line_and_compared_from_the_same_state(tmp_path: Path):
    model = keras.Sequential([keras.Input((2,)), Writing()])
    with pytest.warns(
        EstimatorWarning, match=r"serving changes the model: .*`writing/count` \(test_export.py:\d+\)"
    ) as said:
        exported(model, tmp_path, verify=True)
    assert (said[0].message.rule, said[0].filename) == ("KE504", __file__)
    assert model.layers[0].count.numpy() == 0.0


class Chance(layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


def test_a_model_that_predicts_by_chance_is_exported_and_the_missing_comparison_said(tmp_path: Path):
    model = keras.Sequential([keras.Input((2,)), Chance()])
    with pytest.warns(EstimatorWarning, match="predicts by chance") as said:
        assert Path(exported(model, tmp_path, verify=True)).is_dir()
    assert said[0].message.rule == "KE210"


class Calling(layers.Layer):
    def call(self, x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.numpy_function(np.sin, [x], tf.float32), lambda: x)

    def compute_output_shape(self, shape):
        return shape


def test_a_call_back_into_python_is_refused_with_its_line_also_inside_of_a_branch(tmp_path: Path):
    model = keras.Sequential([keras.Input((2,)), Calling()])
    with pytest.raises(ExportError, match="calls back into Python") as caught:
        exported(model, tmp_path / "base")
    assert re.match(r"test_export.py:\d+: return tf.cond\(.*numpy_function", caught.value.found)
    assert not (tmp_path / "base").exists()


def test_a_model_that_nobody_described_asks_for_a_receiver_or_a_call(tmp_path: Path):
    with pytest.raises(ExportError, match=r"nothing says what `pair\w*` takes") as caught:
        exported(Pair(), tmp_path)
    assert "serving_input_receiver_fn, or one call of train, evaluate or predict" in caught.value.expected


def test_an_error_of_the_model_is_raised_as_it_is_with_the_features_noted(tmp_path: Path):
    with pytest.raises(Exception, match="left") as caught:
        exported(Pair(), tmp_path, {"other": tf.TensorSpec([None, 2])})
    assert any("while the model was traced for serving" in note for note in caught.value.__notes__)


def test_each_wanted_output_gets_a_signature_of_its_kind_under_the_names_of_tensorflow_serving(tmp_path: Path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, [layers.Dense(2, name="likely")(x), layers.Dense(1, name="price")(x)])
    parsed = receivers.build_parsing_serving_input_receiver_fn({"x": tf.io.FixedLenFeature([4], tf.float32)})
    wanted = {"likely": "classify", "price": "regress"}
    folder = exported(model, tmp_path, receiver_fn=parsed, export_outputs=wanted, as_text=True)

    signatures = tf.saved_model.load(folder).signatures
    assert sorted(signatures) == ["likely", "price", "serving_default"]
    examples = tf.constant([example(x=[1.0, 2.0, 3.0, 4.0])])
    likely, price = model(tf.constant([[1.0, 2.0, 3.0, 4.0]]))
    np.testing.assert_allclose(signatures["likely"](inputs=examples)["scores"], likely, rtol=1e-5)
    np.testing.assert_allclose(signatures["price"](inputs=examples)["outputs"], price, rtol=1e-5)
    np.testing.assert_allclose(signatures["serving_default"](examples=examples)["price"], price, rtol=1e-5)
    text = Path(folder, "saved_model.pbtxt").read_text(encoding="utf-8")
    methods = re.findall(r'method_name: "tensorflow/serving/(\w+)"', text)
    assert sorted(methods) == ["classify", "predict", "regress"]
    assert not Path(folder, "saved_model.pb").exists()


def example(**features: list[float]) -> bytes:
    made = {key: tf.train.Feature(float_list=tf.train.FloatList(value=value)) for key, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def test_classify_without_examples_is_served_by_predict_and_said(tmp_path: Path):
    with pytest.warns(EstimatorWarning, match="send tf.Examples, which this export does not take"):
        folder = exported(dense_model(), tmp_path, export_outputs={"y": "classify"})
    assert list(tf.saved_model.load(folder).signatures["y"](tf.ones([1, 4]))) == ["scores"]


def test_an_output_that_is_not_there_is_answered_with_the_names_there_are(tmp_path: Path):
    with pytest.raises(ExportError, match="export_outputs names an output") as caught:
        exported(dense_model(), tmp_path, export_outputs={"z": "predict"})
    assert (caught.value.found, caught.value.expected) == ("z", "one of: y")


def test_a_stateful_layer_keeps_its_size_of_batch_and_a_fixed_input_alone_does_not(tmp_path: Path):
    x = keras.Input(batch_shape=(4, 5, 3), name="x")
    with pytest.warns(EstimatorWarning) as said:
        folder = exported(keras.Model(x, layers.LSTM(2, stateful=True)(x)), tmp_path)
    assert any("batches of just 4 rows" in str(each.message) and each.message.rule == "KE506" for each in said)
    assert input_shape(folder, "x") == [4, 5, 3]
    folder = exported(keras.Model(x, layers.LSTM(2)(x)), tmp_path)
    assert input_shape(folder, "x") == [None, 5, 3]


def input_shape(folder: str, name: str) -> list[int | None]:
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    return signature.structured_input_signature[1][name].shape.as_list()


class Recording(layers.LSTM):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        self.seen = self.use_cudnn
        return super().call(sequences, initial_state, mask, training)


def test_recurrent_layers_are_exported_without_cudnn_which_a_server_may_not_have_and_keep_it_here(tmp_path: Path):
    recording = Recording(2)
    exported(keras.Sequential([keras.Input((5, 3)), keras.Sequential([recording])]), tmp_path)
    assert (recording.seen, recording.use_cudnn) == (False, "auto")


def test_extra_assets_are_copied_below_assets_extra(tmp_path: Path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n", encoding="utf-8")
    folder = exported(dense_model(), tmp_path, assets_extra={"lists/labels.txt": tmp_path / "labels.txt"})
    assert Path(folder, "assets.extra", "lists", "labels.txt").read_text(encoding="utf-8") == "cat\ndog\n"


@pytest.mark.parametrize("place", ["../labels.txt", "/labels.txt", "a/../../b", "", "a\\b"])
def test_an_extra_asset_cannot_leave_its_folder(tmp_path: Path, place: str):
    (tmp_path / "labels.txt").write_text("cat", encoding="utf-8")
    with pytest.raises(ExportError, match="cannot be copied"):
        exported(dense_model(), tmp_path / "base", assets_extra={place: tmp_path / "labels.txt"})
    with pytest.raises(ExportError, match="cannot be copied"):
        exported(dense_model(), tmp_path / "base", assets_extra={"labels.txt": tmp_path / "missing"})
    assert not (tmp_path / "base").exists()


def test_exports_in_one_second_get_names_one_after_another(tmp_path: Path):
    now = int(time.time())
    for second in range(now, now + 4):
        (tmp_path / str(second)).mkdir()
        (tmp_path / str(second) / "saved_model.pb").touch()
    name = int(Path(exported(dense_model(), tmp_path)).name)
    assert name >= now + 4
    assert int(Path(exported(dense_model(), tmp_path)).name) > name


def test_a_number_that_became_free_is_not_taken_again_before_a_newer_export(tmp_path: Path):
    later = int(time.time()) + 100
    for second in (later - 2, later):  # the one between them was removed
        (tmp_path / str(second)).mkdir()
    assert Path(exported(dense_model(), tmp_path)).name == str(later + 1)


def test_a_remote_folder_is_refused(tmp_path: Path):
    with pytest.raises(ExportError, match="local folder"):
        exported(dense_model(), "gs://bucket/exports")


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_leaves_no_export(tmp_path: Path):
    with pytest.raises(EstimatorWarning):
        exported(dense_model(), tmp_path / "base", export_outputs={"y": "regress"})
    assert not (tmp_path / "base").exists()
