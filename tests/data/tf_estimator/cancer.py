"""Breast cancer: the best model by AUC is exported, hooks log and guard."""
from __future__ import absolute_import, division, print_function

import sys

import numpy as np
import tensorflow.compat.v1 as tf
from sklearn.datasets import load_breast_cancer

COLUMNS = ['radius', 'texture', 'perimeter', 'area']


class CheckpointPrinter(tf.estimator.CheckpointSaverListener):
    def before_save(self, session, global_step_value):
        print('about to save at', global_step_value)

    def end(self, session, global_step_value):
        print('done at', global_step_value)


def input_fn(features, labels, shuffle, num_epochs, batch_size, mode=tf.estimator.ModeKeys.TRAIN):
    dataset = tf.data.Dataset.from_tensor_slices((features, labels))
    if shuffle:
        dataset = dataset.shuffle(1000, seed=1)
    return dataset.repeat(num_epochs).batch(batch_size)


def auc_larger(best_eval_result, current_eval_result):
    return best_eval_result['auc'] < current_eval_result['auc']


def main(model_dir):
    tf.keras.utils.set_random_seed(1)
    data = load_breast_cancer()
    x = (data.data[:, :4] - data.data[:, :4].mean(0)) / data.data[:, :4].std(0)
    features = {name: x[:, i:i + 1].astype(np.float32) for i, name in enumerate(COLUMNS)}
    labels = data.target.astype(np.float32).reshape(-1, 1)
    train = {name: values[:400] for name, values in features.items()}
    test = {name: values[400:] for name, values in features.items()}

    inputs = {name: tf.keras.Input(shape=(1,), name=name) for name in COLUMNS}
    net = tf.keras.layers.concatenate([inputs[name] for name in COLUMNS])
    net = tf.keras.layers.Dense(8, activation='relu')(net)
    output = tf.keras.layers.Dense(1, activation='sigmoid', name='malignant')(net)
    model = tf.keras.Model(inputs=inputs, outputs=output)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01), loss='binary_crossentropy',
                  metrics=[tf.keras.metrics.AUC(name='auc')])

    config = tf.estimator.RunConfig(model_dir=model_dir, save_checkpoints_steps=20, log_step_count_steps=20)
    estimator = tf.keras.estimator.model_to_estimator(
        model, config=config, export_outputs={'malignant': tf.estimator.export.RegressionOutput})

    feature_spec = {name: tf.io.FixedLenFeature([1], tf.float32) for name in COLUMNS}
    receiver_fn = tf.estimator.export.build_parsing_serving_input_receiver_fn(feature_spec)
    best = tf.estimator.BestExporter(
        name='best', serving_input_receiver_fn=receiver_fn, compare_fn=auc_larger, exports_to_keep=2)

    steps_seen = []

    def should_stop():
        steps_seen.append(1)
        return False

    hooks = [
        tf.estimator.LoggingTensorHook({'loss': 'loss', 'step': 'global_step'}, every_n_iter=20),
        tf.estimator.NanTensorHook('loss:0', fail_on_nan_loss=False),
        tf.estimator.StepCounterHook(every_n_steps=20, output_dir=model_dir),
        tf.estimator.experimental.make_early_stopping_hook(estimator, should_stop, None, 10),
        tf.estimator.StopAtStepHook(last_step=45),
    ]
    train_spec = tf.estimator.TrainSpec(
        lambda: input_fn(train, labels[:400], True, None, 32), 500, hooks, [CheckpointPrinter()])
    eval_spec = tf.estimator.EvalSpec(
        lambda: input_fn(test, labels[400:], False, 1, 64), None, None, None, [best], 0, 3600)
    try:
        metrics, exports = tf.estimator.train_and_evaluate(estimator, train_spec, eval_spec)
    except tf.estimator.NanLossDuringTrainingError:
        print('the loss is NaN')
        sys.exit(1)
    print('AUC %.3f after %d steps' % (metrics['auc'], metrics['global_step']))
    print('exported to', exports)
    print('asked %d times' % len(steps_seen))


if __name__ == '__main__':
    main(sys.argv[1])
