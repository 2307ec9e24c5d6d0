import tensorflow as tf

class SwishActivation(tf.keras.layers.Layer):
    def call(self, x):
        return x * tf.nn.sigmoid(x)

model = tf.keras.Sequential([
    tf.keras.layers.Dense(64, activation='relu', input_shape=(10,)),
    SwishActivation(),
    tf.keras.layers.Dense(1)
])

try:
    estimator = tf.keras.estimator.model_to_estimator(keras_model=model)
    print("Conversion successful.")
except ValueError as e:
    print(f"Conversion failed: {e}")
