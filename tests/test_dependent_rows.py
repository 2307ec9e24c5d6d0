"""A model in which rows of a batch depend on each other is not shared among processes without a word."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from clusters import launch, said_by

from keras_estimator import drop_in
from keras_estimator.engines.tensorflow.dependent_rows import check_any_size, check_rows
from keras_estimator.errors import EstimatorWarning, ModelError
from keras_estimator.model import numpy_calls

L = keras.layers
EXAMPLE = Path(__file__).parent / "data" / "article" / "example_2.py"


def of(*layers: keras.Layer) -> keras.Model:
    return keras.Sequential([L.Input((4,)), L.Dense(3), *layers, L.Dense(1)])


def over_the_batch(x: tf.Tensor) -> tf.Tensor:
    return x - tf.reduce_mean(x)


def over_all_rows(x: tf.Tensor) -> tf.Tensor:
    sums = [tf.reduce_sum(x), tf.cast(tf.size(x), x.dtype)]
    total, count = tf.distribute.get_replica_context().all_reduce("SUM", sums)
    return x - total / count


def test_the_second_example_of_the_article_is_refused_with_its_line_and_the_ways_out(tmp_path: Path):
    drop_in.install(), numpy_calls.install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras about the example, of ours about its NumPy
        model = runpy.run_path(str(EXAMPLE))["estimator"].model
    with pytest.raises(ModelError, match="rows of a batch depend on each other") as caught:
        check_rows(model, None, refuses=True)
    assert caught.value.found == "a reduction over the batch in `lambda` at example_2.py:4"
    for way_out in ("axis=-1", "all_reduce", 'RunConfig(dependent_rows="share")'):
        assert way_out in caught.value.fix
    assert caught.value.rule == "KE401"


def test_who_says_so_shares_them():
    with pytest.warns(
        EstimatorWarning, match=r"`lambda` at test_dependent_rows.py:\d+: rows of a batch depend"
    ) as caught:
        check_rows(of(L.Lambda(over_the_batch)), None, refuses=False)
    assert (caught[0].message.rule, caught[0].filename) == ("KE401", __file__)


@pytest.mark.parametrize(
    "layers",
    [
        [L.Dropout(0.5)],
        [L.LayerNormalization()],
        [L.BatchNormalization(synchronized=True)],
        [L.Lambda(over_all_rows)],
        [L.UnitNormalization(), L.GaussianNoise(0.1)],
    ],
    ids=["dropout", "layer normalization", "synchronized", "over all rows", "noise"],
)
def test_rows_that_are_separate_or_summed_over_all_processes_pass(layers: list[keras.Layer]):
    model = of(*layers)
    before = model.get_weights()
    check_rows(model, None, refuses=True)
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))


def test_normalization_by_the_rows_of_each_process_is_said():
    with pytest.warns(EstimatorWarning, match=r"BatchNormalization\(synchronized=True\)") as caught:
        check_rows(of(L.BatchNormalization()), None, refuses=True)
    assert caught[0].message.rule == "KE402"


def test_a_layer_that_only_trains_so_is_refused_too():
    class Whitened(L.Layer):
        def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
            return x - tf.reduce_mean(x, axis=0) if training else x

    with pytest.raises(ModelError, match="rows of a batch depend") as caught:
        check_rows(of(Whitened()), None, refuses=True)
    assert caught.value.rule == "KE402"


class Balanced(L.Layer):
    """Asks for inputs of mean zero, over the whole batch."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.add_loss(tf.reduce_sum(tf.reduce_mean(x, axis=0) ** 2))
        return x


def contrasted(y: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """Each row against all others of the batch."""
    del y
    return keras.losses.sparse_categorical_crossentropy(
        tf.range(tf.shape(predicted)[0]), predicted @ tf.transpose(predicted), from_logits=True
    )


SPEC = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)), tf.TensorSpec((None,)))


@pytest.mark.parametrize("loss", ["mse", contrasted], ids=["added", "contrasted"])
def test_a_loss_in_which_rows_depend_on_each_other_is_refused(loss: object):
    model = of(*([Balanced()] if loss == "mse" else []), L.Dropout(0.5))
    model.compile("adam", loss)
    with pytest.raises(ModelError, match="rows of a batch depend") as caught:
        check_rows(model, SPEC, refuses=True)
    assert caught.value.found == "a reduction over the batch in its losses"
    assert caught.value.rule == ""


@pytest.mark.parametrize(
    ("shape", "layer", "found"),
    [
        ((4, 5, 3), L.LSTM(2, stateful=True, name="recalls"), "`recalls` keeps a state for each row of the batch"),
        ((4, 3), L.Dense(2), "an input with 4 rows"),
    ],
    ids=["stateful", "fixed"],
)
def test_batches_of_one_size_cannot_be_shared(shape: tuple[int, ...], layer: keras.Layer, found: str):
    with pytest.raises(ModelError, match="batches of one size only") as caught:
        check_any_size(keras.Sequential([keras.Input(batch_shape=shape), layer]))
    assert caught.value.found.startswith(found)
    assert caught.value.rule == "KE506"


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_losses_that_are_weighed_by_anything_pass(reduction: str):
    model = of(L.Dense(3, kernel_regularizer="l2"), L.Dropout(0.5))
    model.compile("adam", keras.losses.MeanSquaredError(reduction=reduction))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_rows(model, SPEC, refuses=True)


def test_a_regularizer_of_outputs_passes_where_keras_divides_it_by_the_rows():
    model = of(L.Dense(3, activity_regularizer="l2"))
    model.compile("adam", "mse")
    losses = []
    for rows in (2, 4):
        model(tf.ones((rows, 4)))
        losses.append(float(model.losses[0]))
    if losses[0] == pytest.approx(losses[1]):
        check_rows(model, SPEC, refuses=True)
    else:  # Keras 3.12 adds up over the batch
        with pytest.raises(ModelError, match="rows of a batch depend"):
            check_rows(model, SPEC, refuses=True)


def test_random_numbers_in_inference_are_no_dependence():
    class Sampled(L.Layer):
        def __init__(self):
            super().__init__()
            self.generator = keras.random.SeedGenerator(3)

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x + keras.random.normal(tf.shape(x), seed=self.generator)

    model = of(Sampled())
    model.compile("adam", "mse")
    check_rows(model, SPEC, refuses=True)


def test_a_model_that_cannot_be_probed_is_said():
    class Two(keras.Model):
        def train_step(self, batch: tf.Tensor) -> dict[str, float]:
            return {"loss": 0.0}

    with pytest.warns(EstimatorWarning, match="nobody can tell whether rows"):
        check_rows(Two(), None, refuses=True)


def test_the_processes_of_a_cluster_are_stopped_before_the_first_step(tmp_path: Path):
    body = """
    mean = L.Lambda(lambda x: x * tf.reduce_mean(x))
    try:
        estimator(dense(mean)).train(DATA, max_steps=3)
    except ke.EstimatorError as error:
        print(type(error).__name__, os.path.exists(sys.argv[1] + "/checkpoints"), flush=True)
    estimator(dense(mean), dependent_rows="share").train(DATA, max_steps=3)
    print("shared", flush=True)
    """
    done = launch(tmp_path, body)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("chief", "worker 0"):
        assert said_by(name, done.stdout).split("\n") == ["ModelError False", "shared"]
