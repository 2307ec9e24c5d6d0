"""State is read, written and kept, and idle variables are trained."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator.engines.tensorflow.state import ModelState, written_variables

L = keras.layers
QUIET = ke.RunConfig(progress="off")
X = np.random.RandomState(0).normal(size=(64, 3)).astype("float32")
Y = X[:, :1]


class Scale(L.Layer):
    """Multiplies by a raw variable; with `known`, by a weight that Keras knows."""

    def __init__(self, *, known: bool = False) -> None:
        super().__init__()
        if known:
            self.factor = self.add_weight(shape=(), initializer=keras.initializers.Constant(1.5), name="factor")
        else:
            self.factor = tf.Variable(1.5)

    def call(self, x):
        return x * self.factor


def model(*between: L.Layer) -> keras.Model:
    keras.utils.set_random_seed(2)
    dense = L.Dense(1, kernel_initializer=keras.initializers.Constant(0.3))
    built = keras.Sequential([L.Input((3,)), *between, dense])
    built.compile(keras.optimizers.Adam(0.1), "mse")
    return built


def test_a_raw_trainable_variable_is_reported_with_its_line_and_trained_like_a_weight(tmp_path: Path) -> None:
    raw, known = Scale(), Scale(known=True)
    with pytest.warns(ke.EstimatorWarning, match=r"test_state.py:\d+") as caught:
        ours = ke.model_to_estimator(model(raw), model_dir=tmp_path / "raw", config=QUIET).train((X, Y), steps=20)
    assert "scale/factor" in str(caught[0].message)
    assert str(caught[0].message).endswith("(KE301: keras-estimator explain KE301)")
    assert caught[0].filename == __file__  # the line that called train
    ke.model_to_estimator(model(known), model_dir=tmp_path / "known", config=QUIET).train((X, Y), steps=20)
    assert float(raw.factor) != 1.5
    assert float(raw.factor) == pytest.approx(float(known.factor), rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        ours.train((X, Y), steps=1)
        ke.model_to_estimator(ours.model, model_dir=tmp_path / "again", config=QUIET).train((X, Y), steps=1)


def test_raw_variables_are_reported_by_who_holds_them() -> None:
    free = tf.Variable(1.5)

    class Many(L.Layer):
        def __init__(self):
            super().__init__()
            self.one, self.several = tf.Variable(1.5), [tf.Variable(1.5)]
            self.function = lambda x: x * free

        def call(self, x):
            return self.function(x * self.one * self.several[0])

    with pytest.warns(ke.EstimatorWarning, match="raw trainable") as caught:
        assert len(ModelState(model(Many())).adopt_idle()) == 3
    said = {each.message.rule: str(each.message).count(" made at test_state.py:") for each in caught}
    assert said == {"KE301": 1, "KE302": 1, "KE304": 1}


def test_idle_variables_of_frozen_layers_and_untrainable_ones_are_left_alone(tmp_path: Path) -> None:
    frozen = Scale()
    frozen.trainable = False
    ke.model_to_estimator(model(frozen), model_dir=tmp_path, config=QUIET).train((X, Y), steps=5)
    assert float(frozen.factor) == 1.5


def test_an_optimizer_that_was_built_without_it_leaves_it_and_says_so(tmp_path: Path) -> None:
    layer = Scale()
    given = model(layer)
    given.fit(X, Y, verbose=0)
    with pytest.warns(ke.EstimatorWarning, match="optimizer was built without"):
        ke.model_to_estimator(given, model_dir=tmp_path, config=QUIET).train((X, Y), steps=5)
    assert float(layer.factor) == 1.5


def counting(where: str) -> tuple[L.Layer, tf.Variable]:
    counter = tf.Variable(0.0, trainable=False)

    class Counts(L.Layer):
        def __init__(self):
            super().__init__()
            self.box = {"list": [counter], "dict": {"k": counter}, "attribute": counter}.get(where)

        def call(self, x):
            counter.assign_add(1.0)
            return x

    return Counts(), counter


@pytest.mark.parametrize("where", ["list", "dict", "attribute", "closure"])
def test_hidden_state_is_saved_and_restored_wherever_it_is_held(where: str, tmp_path: Path) -> None:
    layer, counter = counting(where)
    ke.model_to_estimator(model(layer), model_dir=tmp_path, config=QUIET).train((X, Y), steps=7)
    after_training = float(counter)
    layer, counter = counting(where)
    again = ke.model_to_estimator(model(layer), model_dir=tmp_path, config=QUIET)
    again.evaluate((X, Y))
    assert float(counter) == after_training >= 7


def test_a_variable_that_nothing_leads_to_is_saved_and_said() -> None:
    class Opaque:
        """Hides its variable from everybody."""

        __slots__ = ("__weakref__",)
        store: dict[int, tf.Variable] = {}  # noqa: RUF012 - hidden on purpose

        def __call__(self, x):
            return x * type(self).store[id(self)]

    opaque = Opaque()
    Opaque.store[id(opaque)] = tf.Variable(2.0, trainable=False, name="hidden")
    given = model()
    state = ModelState(given)
    graph = tf.function(opaque).get_concrete_function(tf.TensorSpec((), tf.float32)).graph
    with pytest.warns(ke.EstimatorWarning, match="no attribute") as caught:
        state.note_captured(graph.variables)
    assert (caught[0].message.rule, caught[0].filename) == ("KE304", __file__)
    assert state.read()["unreached/0_hidden"] == 2.0


def test_only_what_a_graph_may_write_is_written() -> None:
    read, written = tf.Variable(1.0), tf.Variable(1.0)

    @tf.function
    def step(x):
        written.assign_add(1.0)
        return x * read

    graph = step.get_concrete_function(tf.TensorSpec((), tf.float32)).graph
    assert [id(v) for v in written_variables(graph, [read, written])] == [id(written)]


def test_state_is_kept_over_whatever_happens() -> None:
    variable = tf.Variable([1.0, 2.0])

    def fail() -> None:
        with ModelState(model()).kept([variable]):
            variable.assign([3.0, 4.0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    np.testing.assert_array_equal(variable.numpy(), [1.0, 2.0])


def test_state_of_another_model_changes_nothing() -> None:
    given = model()
    given(X)
    state = ModelState(given)
    right = state.read()
    for wrong in (
        {name: value for name, value in right.items() if name != "dense/bias"},
        right | {"dense/kernel": np.zeros((9, 9), "float32")},
        right | {"dense/kernel": np.zeros((3, 1), "float64")},
    ):
        with pytest.raises(ke.CheckpointMismatchError, match="another model"):
            state.write(wrong, source="here")
        np.testing.assert_array_equal(state.read()["dense/kernel"], right["dense/kernel"])


def test_values_of_what_is_not_built_yet_wait_for_it() -> None:
    unbuilt = keras.Sequential([L.Dense(1)])
    unbuilt.compile("sgd", "mse")
    state = ModelState(unbuilt)
    values = {"dense/kernel": np.full((3, 1), 7.0, "float32"), "dense/bias": np.zeros(1, "float32")}
    state.write(values | state.read(), source="here")
    assert state.read()["dense/kernel"][0] == 7.0
    unbuilt.build((None, 3))
    state.settle(complete=False)
    assert float(unbuilt.layers[0].kernel[0, 0]) == 7.0
    state.write(values | state.read() | {"gone/kernel": np.zeros(1)}, source="here")
    with pytest.raises(ke.CheckpointMismatchError, match="another model") as caught:
        state.settle(complete=True)
    assert "gone/kernel" in caught.value.found


def test_other_metrics_do_not_make_another_model(tmp_path: Path) -> None:
    ke.model_to_estimator(model(), model_dir=tmp_path, config=QUIET).train((X, Y), steps=3)
    other = model()
    other.compile(other.optimizer, "mse", metrics=["mae"])
    found = ke.model_to_estimator(other, model_dir=tmp_path, config=QUIET).train((X, Y), steps=1).evaluate((X, Y))
    assert found["global_step"] == 4
    assert "mae" in found


def test_another_optimizer_is_another_model(tmp_path: Path) -> None:
    ke.model_to_estimator(model(), model_dir=tmp_path, config=QUIET).train((X, Y), steps=3)
    other = model()
    other.compile("sgd", "mse")
    with pytest.raises(ke.CheckpointMismatchError):
        ke.model_to_estimator(other, model_dir=tmp_path, config=QUIET).train((X, Y), steps=1)


def test_averaged_weights_predict_and_the_trained_ones_train_on(tmp_path: Path) -> None:
    def averaged() -> keras.Model:
        built = model()
        built.compile(keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5), "mse")
        return built

    whole = ke.model_to_estimator(averaged(), model_dir=tmp_path / "whole", config=QUIET).train((X, Y), max_steps=9)
    parts = ke.model_to_estimator(averaged(), model_dir=tmp_path / "parts", config=QUIET).train((X, Y), max_steps=4)
    used = parts.model.get_weights()[0]
    assert not np.array_equal(used, parts.get_variable_value("dense/kernel"))
    fresh = ke.model_to_estimator(averaged(), model_dir=tmp_path / "parts", config=QUIET)
    np.testing.assert_array_equal(fresh.predictor()(X), parts.predictor()(X))
    parts.train((X, Y), max_steps=9)
    np.testing.assert_array_equal(parts.predictor()(X), whole.predictor()(X))


def test_every_difference_to_a_checkpoint_is_listed_with_the_way_out() -> None:
    given = keras.Sequential([L.Input((3,)), *(L.Dense(3) for _ in range(5))])
    state = ModelState(given)
    with pytest.raises(ke.CheckpointMismatchError) as caught:
        state.write({"dense/kernel": np.zeros((2, 2))}, source="runs/a/checkpoints/step-3")
    lines = caught.value.found.splitlines()
    assert lines[0] == "not in the checkpoint:"
    assert lines[1:10] == [f"  {path}" for path in state.variables() if path != "dense/kernel"]
    assert lines[10:] == ["other shape or dtype: dense/kernel: (2, 2) float64 for (3, 3) float32"]
    assert "warm_start_from='runs/a/checkpoints/step-3'" in caught.value.fix
