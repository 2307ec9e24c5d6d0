import tensorflow as tf
import numpy as np

def complex_operation(x):
    return np.sin(x) * tf.reduce_mean(x) #Mixing NumPy and TensorFlow

model = tf.keras.Sequential([
    tf.keras.layers.Dense(32, input_shape=(10,)),
    tf.keras.layers.Lambda(complex_operation),
    tf.keras.layers.Dense(1)
])

try:
    estimator = tf.keras.estimator.model_to_estimator(keras_model=model)
    print("Conversion successful.")
except ValueError as e:
    print(f"Conversion failed: {e}")

