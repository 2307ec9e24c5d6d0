# Iris with a Keras model under tf.estimator.train_and_evaluate, as the guides of TensorFlow 2.x showed it.
import argparse
import os

import numpy as np
import tensorflow as tf
from sklearn import datasets, preprocessing
from sklearn.model_selection import train_test_split

tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)


def load_data():
  iris = datasets.load_iris()
  x = preprocessing.scale(iris.data).astype(np.float32)
  return train_test_split(x, iris.target, test_size=0.2, random_state=0)


def make_input_fn(x, y, batch_size, training):
  def input_fn():
    dataset = tf.data.Dataset.from_tensor_slices(({'dense_input': x}, y))
    if training:
      dataset = dataset.shuffle(200, seed=0).repeat()
    return dataset.batch(batch_size).prefetch(1)
  return input_fn


def serving_input_receiver_fn():
  inputs = {'dense_input': tf.compat.v1.placeholder(tf.float32, [None, 4], name='dense_input')}
  return tf.estimator.export.ServingInputReceiver(inputs, inputs)


def build_estimator(args):
  model = tf.keras.models.Sequential([
      tf.keras.layers.Dense(12, activation='relu', input_shape=(4,)),
      tf.keras.layers.Dense(3, activation='softmax')
  ])
  model.compile(loss='sparse_categorical_crossentropy',
                optimizer=tf.keras.optimizers.Adam(learning_rate=args.learning_rate),
                metrics=['accuracy'])
  run_config = tf.estimator.RunConfig(
      tf_random_seed=42,
      save_checkpoints_steps=100,
      save_summary_steps=100,
      keep_checkpoint_max=3,
      session_config=tf.compat.v1.ConfigProto(allow_soft_placement=True))
  return tf.keras.estimator.model_to_estimator(keras_model=model, model_dir=args.model_dir, config=run_config)


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--model_dir', default='/tmp/iris')
  parser.add_argument('--batch_size', type=int, default=16)
  parser.add_argument('--learning_rate', type=float, default=0.01)
  parser.add_argument('--max_steps', type=int, default=5000)
  args = parser.parse_args()

  tf.keras.utils.set_random_seed(42)
  train_x, test_x, train_y, test_y = load_data()
  estimator = build_estimator(args)
  assert isinstance(estimator, tf.estimator.Estimator)

  early_stopping = tf.estimator.experimental.stop_if_higher_hook(
      estimator, metric_name='accuracy', threshold=0.9,
      eval_dir=estimator.eval_dir('iris-eval'))
  train_spec = tf.estimator.TrainSpec(
      input_fn=make_input_fn(train_x, train_y, args.batch_size, True),
      max_steps=args.max_steps,
      hooks=[early_stopping])
  exporter = tf.estimator.LatestExporter('exporter', serving_input_receiver_fn, exports_to_keep=1)
  eval_spec = tf.estimator.EvalSpec(
      input_fn=make_input_fn(test_x, test_y, args.batch_size, False),
      steps=None,
      name='iris-eval',
      exporters=[exporter],
      start_delay_secs=0,
      throttle_secs=0)
  eval_result, export_result = tf.estimator.train_and_evaluate(estimator, train_spec, eval_spec)

  print('Eval result: {}'.format(eval_result))
  print('Exported to: {}'.format(export_result))
  for i, prediction in enumerate(estimator.predict(make_input_fn(test_x[:3], test_y[:3], 3, False))):
    print(i, np.argmax(list(prediction.values())[0]), test_y[i])
  print('Latest checkpoint:', os.path.basename(estimator.latest_checkpoint()))


if __name__ == '__main__':
  main()
