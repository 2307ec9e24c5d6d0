"""A regression whose author has changed two imports: `tf.estimator` became `keras_estimator.tf_estimator`."""
import json
import os
import sys

import numpy as np
import tensorflow as tf

import keras_estimator.tf_estimator as tf_estimator
from keras_estimator import model_to_estimator
from keras_estimator.tf_estimator.experimental import InMemoryEvaluatorHook


class WeightsExporter(tf_estimator.Exporter):
    """Writes the weights beside the metrics."""

    @property
    def name(self):
        return 'weights'

    def export(self, estimator, export_path, checkpoint_path, eval_result, is_the_final_export):
        if not is_the_final_export:
            return None
        tf.io.gfile.makedirs(export_path)
        np.savez(os.path.join(export_path, 'weights.npz'),
                 **{name.replace('/', '.'): estimator.get_variable_value(name) for name in estimator.get_variable_names()})
        with tf.io.gfile.GFile(os.path.join(export_path, 'metrics.json'), 'w') as f:
            json.dump({k: float(v) for k, v in eval_result.items()}, f)
        return export_path


def make_data(seed, n):
    x = np.random.RandomState(seed).uniform(-1, 1, size=(n, 2)).astype('float32')
    return x, np.sin(3 * x[:, :1]) + x[:, 1:]


def train_input_fn():
    return tf.data.Dataset.from_tensor_slices(make_data(0, 512)).shuffle(512, seed=0).repeat().batch(32)


def eval_input_fn():
    return tf.data.Dataset.from_tensor_slices(make_data(1, 128)).batch(64)


def run(model_dir: str) -> 'tf_estimator.Estimator':
    tf.keras.utils.set_random_seed(7)
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(16, 'tanh'), tf.keras.layers.Dense(1)])
    model.compile('adam', 'mse', metrics=['mae'])
    estimator = model_to_estimator(
        model, config=tf_estimator.RunConfig(model_dir, 7, save_checkpoints_steps=40, save_checkpoints_secs=None))
    test_evaluator = InMemoryEvaluatorHook(estimator, lambda: eval_input_fn().take(1), name='test', every_n_iter=30)
    train_spec = tf_estimator.TrainSpec(
        train_input_fn, max_steps=80,
        hooks=[test_evaluator, tf_estimator.experimental.make_stop_at_checkpoint_step_hook(estimator, 70)])
    final = tf_estimator.FinalExporter('final', tf_estimator.export.build_raw_serving_input_receiver_fn(
        tf.TensorSpec([None, 2], tf.float32)))
    eval_spec = tf_estimator.EvalSpec(eval_input_fn, throttle_secs=0, exporters=[WeightsExporter(), final])
    print(tf_estimator.train_and_evaluate(estimator, train_spec, eval_spec))
    return estimator


if __name__ == '__main__':
    assert isinstance(run(sys.argv[1]), tf_estimator.Estimator)
