"""Run a Keras model on TensorFlow."""
