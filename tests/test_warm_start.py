"""A model begins with the weights that another one has saved, in any of the forms they are saved in."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.errors import CheckpointMismatchError, ConfigError, ModelError, NoCheckpointError

L = keras.layers
QUIET = ke.RunConfig(progress="off", save_summary_steps=0)
X = np.random.RandomState(0).normal(size=(8, 4)).astype("float32")
Y = X[:, :2]
FORMS = [
    "ours",
    "ours/checkpoints/step-3",
    "m.keras",
    "m.weights.h5",
    "m.h5",
    "export",
    "objects-1",
    "named.ckpt-7",
    "tf2",
]


def network(*, hidden: str = "hidden", body: str = "body", classes: int = 2, earlier: int = 0, **options: Any) -> Any:
    """Return a nested model with layers of the user's names and of Keras's; `earlier` layers came before it."""
    for _ in range(earlier):
        L.Dense(1)
        L.BatchNormalization()
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3), L.BatchNormalization()], name=body)
    outer = [keras.Input((4,)), inner, L.Dense(3, name=hidden), L.Dropout(0.1), L.Dense(classes)]
    built = keras.Sequential(outer)
    built.compile(keras.optimizers.SGD(0.0), "mse", **options)
    return built


def values(model: Any) -> list[np.ndarray[Any, Any]]:
    return [np.array(weight) for weight in model.weights]


def equal(model: Any, saved: list[np.ndarray[Any, Any]]) -> list[bool]:
    return [np.array_equal(a, b) for a, b in zip(values(model), saved, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the weights of one model in all forms."""
    path = tmp_path_factory.mktemp("saved")
    model = network(earlier=2)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    ke.model_to_estimator(model, model_dir=path / "ours", config=QUIET).train((X, Y), steps=3)
    model.save(path / "m.keras")
    model.save_weights(path / "m.weights.h5")
    model.save(path / "m.h5")
    model.export(path / "export", verbose=False)
    tf.train.Checkpoint(model=model).save(path / "objects")
    # As tf.estimator named them: no model, and a number that counts the layers of the process.
    names = [re.sub(r"^(body|sequential(_\d+)?)/", "", weight.path) for weight in model.weights]
    save_by_name(path / "named.ckpt", dict(zip(names, values(model), strict=True)))
    save_as_keras_2(path / "tf2", dict(zip(names, values(model), strict=True)))
    np.savez(path / "values.npz", *values(model))
    return path


@pytest.fixture(scope="module")
def saved(folder: Path) -> list[np.ndarray[Any, Any]]:
    return list(np.load(folder / "values.npz").values())


def save_by_name(prefix: Path, by_name: dict[str, Any]) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in by_name.items():
            for kind in ("", "/Adam", "/Adam_1"):
                tf.compat.v1.get_variable(name + kind, initializer=value)
        step = tf.compat.v1.train.get_or_create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(step.assign(7))
        tf.compat.v1.train.Saver().save(session, str(prefix), step, write_meta_graph=False)


def save_as_keras_2(folder: Path, by_name: dict[str, Any]) -> None:
    """Write an object-based checkpoint whose objects are called as those of Keras 2."""
    root = tf.Module()
    for number, (name, value) in enumerate(by_name.items()):
        holder = tf.Module()
        holder.weight = tf.Variable(value, name=name)
        setattr(root, f"layer_with_weights-{number}", holder)
    tf.train.Checkpoint(model=root).save(folder / "model.ckpt")


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_begins_with_the_saved_bits(
    folder: Path, saved: list[Any], form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = network(earlier=1)
    with caplog.at_level(logging.DEBUG, "keras_estimator"):
        estimator = ke.model_to_estimator(model, model_dir=tmp_path, config=QUIET, warm_start_from=folder / form)
        estimator.get_variable_names()
    assert all(equal(model, saved))
    assert "10 of 10 weights begin with what is there" in caplog.text
    assert "warm start: hidden/kernel begins with" in caplog.text
    assert estimator.evaluate((X, Y))["global_step"] == 0


def test_a_run_that_goes_on_does_not_begin_again(
    folder: Path, saved: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = network()
    model.compile(keras.optimizers.SGD(0.5), "mse")
    first = ke.model_to_estimator(model, model_dir=tmp_path, config=QUIET, warm_start_from=folder / "m.keras")
    first.train((X, Y), steps=2)
    trained = values(model)
    assert not any(equal(model, saved)[:2])
    first.train((X, Y), steps=1)
    assert not all(equal(model, trained))
    after = values(model)
    again = network()
    with caplog.at_level(logging.INFO, "keras_estimator"):
        ke.model_to_estimator(again, model_dir=tmp_path, config=QUIET, warm_start_from=tmp_path / "gone").predictor()
    assert all(equal(again, after))
    assert "no warm start: the run goes on from" in caplog.text


class Later(keras.Model):
    """Has no weights before its first batch."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.first = L.Dense(3)
        self.second = L.Dense(2)
        self.compile(keras.optimizers.SGD(0.0), "mse", **options)

    def call(self, x):
        return self.second(self.first(x))


class Unused(Later):
    """Has a layer that is never called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.spare = L.Dense(7)


USES: dict[str, Callable[[ke.Estimator], Any]] = {
    "train": lambda estimator: estimator.train((X, Y), steps=1),
    "evaluate": lambda estimator: estimator.evaluate((X, Y)),
    "predict": lambda estimator: list(estimator.predict(X)),
    "predictor": lambda estimator: estimator.predictor()(X),
}


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    model = Later()
    model(X)
    path = tmp_path_factory.mktemp("later") / "m.weights.h5"
    model.save_weights(path)
    return path, values(model)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("eagerly", [False, True])
def test_weights_that_the_first_batch_makes_begin_so_too(
    later: tuple[Path, list[Any]], use: str, eagerly: bool, tmp_path: Path
) -> None:
    path, saved = later
    model = Later(run_eagerly=eagerly)
    USES[use](ke.model_to_estimator(model, model_dir=tmp_path, config=QUIET, warm_start_from=path))
    assert all(equal(model, saved))


@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
@pytest.mark.parametrize("use", USES)
def test_a_layer_that_is_never_called_holds_nothing_up(later: tuple[Path, list[Any]], use: str, tmp_path: Path) -> None:
    model = Unused()
    USES[use](ke.model_to_estimator(model, model_dir=tmp_path, config=QUIET, warm_start_from=later[0]))
    assert all(equal(model, later[1]))


@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
def test_a_layer_that_nothing_builds_before_an_untraced_step_is_named(
    later: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    estimator = ke.model_to_estimator(
        Unused(run_eagerly=True), model_dir=tmp_path, config=QUIET, warm_start_from=later[0]
    )
    with pytest.raises(ModelError, match=r"dense_\d+"):
        estimator.train((X, Y), steps=1)


def started(model: Any, path: Path, model_dir: Path, **settings: Any) -> Any:
    asked = ke.WarmStartSettings(path, **settings)
    ke.model_to_estimator(model, model_dir=model_dir, config=QUIET, warm_start_from=asked).get_variable_names()
    return model


@pytest.mark.parametrize("form", ["m.keras", "named.ckpt-7", "ours"])
def test_other_layers_are_listed_with_the_pattern_that_leaves_them_out(
    folder: Path, saved: list[Any], form: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointMismatchError) as caught:
        started(network(classes=5), folder / form, tmp_path)
    lines = caught.value.found.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["dense/kernel", "dense/bias"]
    assert "(3, 2) float32 for (3, 5) float32" in lines[0]
    pattern = re.search(r"vars_to_warm_start='(.*)'\)$", caught.value.fix)
    assert pattern
    model = network(classes=5)
    before = values(model)
    started(model, folder / form, tmp_path / "new", vars_to_warm_start=pattern[1])
    assert all(equal(model, [*saved[:-2], *before[-2:]]))


def test_what_is_missing_and_what_is_not_used_is_said(
    folder: Path, saved: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "keras_estimator"):
        model = started(network(hidden="other"), folder / "named.ckpt-7", tmp_path)
    assert [index for index, same in enumerate(equal(model, saved)) if not same] == [6, 7]
    assert "8 of 10 weights" in caplog.text
    assert "not there, so as the model has them: 2 (other/kernel, other/bias)" in caplog.text
    assert re.search(r"there and not used: \d+ \(.*hidden/bias.*", caplog.text)


@pytest.mark.parametrize("form", ["m.keras", "m.weights.h5"])
def test_files_of_keras_fit_a_model_of_the_same_build_with_other_names(
    folder: Path, saved: list[Any], form: str, tmp_path: Path
) -> None:
    assert all(equal(started(network(hidden="other", body="trunk"), folder / form, tmp_path), saved))


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("ours", {"other": "hidden", "trunk": "body"}),
        ("m.h5", {"other": "sequential/hidden", "trunk": "body"}),
        ("named.ckpt-7", {"other/kernel": "hidden/kernel", "other/bias": "hidden/bias"}),
        ("m.keras", {"other/kernel": "layers/dense/vars/0", "other/bias": "layers/hidden/vars/1"}),
    ],
)
def test_a_map_says_what_weights_and_layers_were_called(
    folder: Path, saved: list[Any], form: str, names: dict[str, str], tmp_path: Path
) -> None:
    model = network(hidden="other", body="trunk")
    assert all(equal(started(model, folder / form, tmp_path, var_name_to_prev_var_name=names), saved))


def test_patterns_choose_the_weights_as_in_the_original(folder: Path, saved: list[Any], tmp_path: Path) -> None:
    model = network()
    before = values(model)
    started(model, folder / "m.keras", tmp_path, vars_to_warm_start=["hidden/kernel:0", "body/.*gamma"])
    expected = [saved[i] if i in (2, 6) else before[i] for i in range(10)]
    assert all(equal(model, expected))


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"vars_to_warm_start": "nothing"}, ConfigError, "no such weight"),
        ({"vars_to_warm_start": None}, ConfigError, "no such weight"),
        ({"var_name_to_prev_var_name": {"nowhere": "hidden"}}, ConfigError, "no weight 'nowhere'"),
        ({"var_name_to_prev_var_name": {"hidden/kernel": "nowhere"}}, ConfigError, "holds no 'nowhere'"),
    ],
)
def test_names_that_are_not_there_are_errors(
    folder: Path, settings: dict[str, Any], kind: type[Exception], text: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=text):
        started(network(), folder / "ours", tmp_path, **settings)


def test_nothing_in_common_is_an_error_and_stays_one(folder: Path, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), L.EinsumDense("ab,bc->ac", 2, name="alone")])
    model.compile("sgd", "mse")
    asked = {"model_dir": tmp_path, "config": QUIET, "warm_start_from": folder / "named.ckpt-7"}
    estimator = ke.model_to_estimator(model, **asked)
    for _ in range(2):
        with pytest.raises(CheckpointMismatchError, match=r"nothing in .* has the name of a weight") as caught:
            estimator.train((X, Y), steps=1)
    assert "alone/kernel" in caught.value.expected
    with pytest.raises(NoCheckpointError):
        started(network(), folder / "gone", tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"ckpt_to_initialize_from": 3},
        {"vars_to_warm_start": "("},
        {"vars_to_warm_start": [1]},
        {"var_name_to_vocab_info": {"a": "b"}},
        {"var_name_to_prev_var_name": ["a"]},
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ke.WarmStartSettings(**{"ckpt_to_initialize_from": "a", **settings})


def test_numbers_of_another_precision_are_converted(tmp_path: Path) -> None:
    def dense(dtype: str) -> Any:
        return keras.Sequential([keras.Input((4,)), L.Dense(3, dtype=dtype, name="d")])

    model = dense("bfloat16")
    model.save_weights(tmp_path / "half.weights.h5")
    whole = started(dense("float32"), tmp_path / "half.weights.h5", tmp_path / "run")
    np.testing.assert_array_equal(whole.layers[0].kernel, np.array(model.layers[0].kernel).astype("float32"))
    assert np.any(whole.layers[0].kernel)


def embedding(rows: int) -> Any:
    return keras.Sequential([keras.Input((1,), dtype="int32"), L.Embedding(rows, 2, name="words")])


@pytest.mark.parametrize("initializer", [None, keras.initializers.Constant(5.0)])
def test_rows_follow_their_tokens(initializer: Any, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("a\nb\nc\n")
    (tmp_path / "new.txt").write_text("c\nnew\na\nnot counted\n")
    old, new = embedding(3), embedding(4)
    old.save_weights(tmp_path / "old.weights.h5")
    before, rows = np.array(new.weights[0]), np.array(old.weights[0])
    vocabulary = ke.VocabInfo(tmp_path / "new.txt", 3, 1, tmp_path / "old.txt", backup_initializer=initializer)
    started(new, tmp_path / "old.weights.h5", tmp_path / "run", var_name_to_vocab_info={"words/embeddings": vocabulary})
    others = before if initializer is None else np.full_like(before, 5.0)
    np.testing.assert_array_equal(new.weights[0], [rows[2], others[1], rows[0], others[3]])


def test_columns_follow_their_tokens(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("a\nb\n")
    (tmp_path / "new.txt").write_text("b\na\nc\n")
    vocabulary = ke.VocabInfo(tmp_path / "new.txt", 3, 0, tmp_path / "old.txt", axis=1)
    value, before = np.arange(4.0).reshape(2, 2), np.full((2, 3), 9.0)
    np.testing.assert_array_equal(vocabulary.moved(value, before), [[1, 0, 9], [3, 2, 9]])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("new.txt", 2, 0, "old.txt"), "new.txt is not that of its weight"),
        (("old.txt", 3, 0, "new.txt"), "old.txt is not that of its weight"),
        (("gone.txt", 3, 0, "old.txt"), "gone.txt cannot be read"),
    ],
)
def test_a_vocabulary_of_another_weight_is_an_error(
    arguments: tuple[Any, ...], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.txt").write_text("a\nb\n")
    (tmp_path / "new.txt").write_text("b\na\nc\n")
    with pytest.raises(ConfigError, match=text):
        ke.VocabInfo(*arguments).moved(np.zeros((2, 1)), np.zeros((3, 1)))
    with pytest.raises(ConfigError, match="sizes"):
        ke.VocabInfo("a", 0, 0, "b")
