"""What a shared step reaches into of Keras and TensorFlow is there, and nothing changes outside of a shared step."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.losses import loss as keras_loss
from keras.src.trainers import compile_utils, trainer

from keras_estimator.engines.tensorflow import shared_steps
from keras_estimator.engines.tensorflow.shared_steps import asking_for_sums, current


def test_keras_reduces_losses_where_it_is_corrected():
    parameters = inspect.signature(inspect.unwrap(keras_loss.reduce_weighted_values)).parameters
    assert list(parameters) == ["values", "sample_weight", "mask", "reduction", "dtype"]
    assert "reduce_weighted_values(" in inspect.getsource(keras.losses.Loss.__call__)


def test_keras_divides_by_what_the_correction_assumes():
    values, weights = tf.constant([[1.0, 2.0], [3.0, 5.0]]), tf.constant([1.0, 3.0])
    mask = tf.constant([[True, False], [True, True]])
    reduce = inspect.unwrap(keras_loss.reduce_weighted_values)
    assert float(reduce(values, mask=mask)) == pytest.approx((1 + 3 + 5) / 3)
    assert float(reduce(values)) == pytest.approx(11 / 4)
    assert float(reduce(values, reduction="sum")) == 11
    by_weights = reduce(values, sample_weight=weights[:, None], reduction="mean_with_sample_weight")
    assert float(by_weights) == pytest.approx((3 + 24) / 4)


def test_optimizers_update_through_apply_alone():
    kinds = [kind for kind in vars(keras.optimizers).values() if inspect.isclass(kind)]
    known = (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)
    kinds = [kind for kind in kinds if issubclass(kind, known[0]) and kind is not known[1]]
    assert len(kinds) > 10
    owners = {next(base for base in kind.__mro__ if "apply" in vars(base)) for kind in kinds}
    assert {owner.__name__ for owner in owners} - {"MultiOptimizer"} == {"BaseOptimizer"}
    if several := getattr(keras.optimizers, "MultiOptimizer", None):  # Keras 3.12 has none
        assert "opt.apply(" in inspect.getsource(several.apply)
    assert "apply" in vars(known[1])
    assert "self.apply(" in inspect.getsource(keras.optimizers.Optimizer.apply_gradients)


def test_the_loss_of_each_output_is_tracked_where_it_is_corrected():
    source = inspect.getsource(compile_utils.CompileLoss.call)
    assert "loss_module.unscale_loss_for_distribution(value)" in source
    # By rows, where Keras knows their number; a share of a batch has no number that is known while it is traced.
    assert "sample_weight=tree.flatten(y_p)[0].shape[0]" in source
    assert "compile_utils" not in inspect.getsource(trainer.Trainer.compute_metrics)


def test_layers_ask_for_sums_through_the_replica_context():
    with asking_for_sums() as asking:
        layer = keras.layers.BatchNormalization(synchronized=True)
        layer(np.ones((4, 3), "float32"), training=True)
        keras.layers.BatchNormalization()(np.ones((4, 3), "float32"), training=True)
    assert asking == {id(layer)}
    layer(np.ones((4, 3), "float32"), training=True)
    assert asking == {id(layer)}


def test_outside_of_a_shared_step_everything_is_as_it_was():
    def trained() -> Any:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
        model.compile(keras.optimizers.Adam(0.1, clipnorm=0.5), "mse")
        x = np.random.RandomState(0).normal(size=(20, 3)).astype("float32")
        model.fit(x, x[:, :2], sample_weight=x[:, 0] ** 2, verbose=0)
        return model.get_weights()

    before = trained()
    with asking_for_sums():
        pass  # what a shared step reaches into is in place from here on
    assert current() is None
    assert keras_loss.reduce_weighted_values is not inspect.unwrap(keras_loss.reduce_weighted_values)
    for one, other in zip(before, trained(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_is_shared_in_its_own_thread_only():
    class Share:  # what `used` sets is all that is looked at here
        used = shared_steps.Share.used

    share, seen = Share(), []
    with share.used():
        assert current() is share
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [None]
    assert current() is None
