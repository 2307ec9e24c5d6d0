import tensorflow as tf

class StatefulLambda(tf.keras.layers.Layer):
    def __init__(self):
        super(StatefulLambda, self).__init__()
        self.counter = tf.Variable(0, trainable=False)

    def call(self, x):
        self.counter.assign_add(1)
        return x * self.counter

model = tf.keras.Sequential([
    tf.keras.layers.Dense(16, input_shape=(10,)),
    StatefulLambda(),
    tf.keras.layers.Dense(1)
])


try:
    estimator = tf.keras.estimator.model_to_estimator(keras_model=model)
    print("Conversion successful.")
except ValueError as e:
    print(f"Conversion failed: {e}")
