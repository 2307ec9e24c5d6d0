"""Programs that tests of parameter servers run: a model with all that a model can hold, and what is done with it."""

from __future__ import annotations

from clusters import START

# A model with all that a model can hold, and a hook that looks at it.
MODEL = (
    START
    + """
class Counting(L.Layer):
    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.seen = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.scale = tf.Variable(1.0)
    def call(self, x, training=False):
        if training:
            self.calls.assign_add(1)
            self.seen.assign(self.seen + tf.shape(x)[0])
        return x * self.scale

keras.utils.set_random_seed(1)
X5 = np.concatenate([X, X[:5]])
ROWS = ke.Arrays(X5, X5[:, :1] * 2, batch_size=20, seed=2, epochs=None)  # the last batch of a pass is short
rich = dense(L.BatchNormalization(), L.Dropout(0.2), Counting())
"""
)
CASES = """
import dataclasses, json
from keras_estimator.cluster import Task

def estimator(model, **options):
    return ke.model_to_estimator(model, config=dataclasses.replace(config, **options))

class Looking(ke.Hook):
    cadence = ke.Cadence(every_steps=5)
    def __init__(self):
        self.metrics = {}
    def after_steps(self, run):
        self.metrics[run.step] = {name: float(value) for name, value in run.metrics.items()}
        self.counts = [int(run.model.optimizer.iterations), int(rich.layers[3].calls), int(rich.layers[3].seen)]

looking, ours = Looking(), estimator(rich)
if IS_CHIEF:
    before = ours.evaluate(ROWS, steps=11)["loss"]
ours.train(ROWS, [looking], max_steps=70)
if not IS_CHIEF:
    print("served", flush=True)
    sys.exit()

def case(name, do):
    try:
        result = do()
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    print("CASE", json.dumps([name, result]), flush=True)

def compiled(optimizer="adam", *layers, **options):
    model = dense(*layers)
    model.compile(optimizer, "mse", **options)
    return model

def trained(model, name, data=DATA, steps=15, hooks=(), **options):
    ours = estimator(model, model_dir=f"{sys.argv[1]}-{name}", **options)
    return ours.train(data, list(hooks), max_steps=steps)

case("rich", lambda: {
    "losses": [before, ours.evaluate(ROWS, steps=11)["loss"]], "counts": looking.counts,
    "kernel": rich.layers[0].kernel.numpy().tolist(), "scale": float(rich.layers[3].scale),
})

def still():
    keras.utils.set_random_seed(3)
    models = [dense(units=8), dense(units=8)]
    models[1].set_weights(models[0].get_weights())
    seen = []
    for model, alone in zip(models, (False, True)):
        model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae", keras.metrics.RootMeanSquaredError()])
        looking = Looking()
        trained(model, f"still-{alone}", ROWS, 25, [looking], **({"_task": Task()} if alone else {}))
        seen.append(looking.metrics)
    return seen

case("still", still)

class Slowing(ke.Hook):
    cadence = ke.Cadence(every_steps=5)
    def after_steps(self, run):
        kernel = run.model.layers[0].kernel.numpy()
        if run.step == 5:
            self.start, run.model.optimizer.learning_rate = kernel, 0.0
        self.moved = float(abs(kernel - self.start).max())
    def end(self, run):
        run.model.layers[0].kernel.assign(self.start + 1)

def slowed():
    slowing, model = Slowing(), dense()
    ours = trained(model, "slowed", hooks=[slowing])
    ours.train(DATA, max_steps=20)
    return [slowing.moved, float(abs(model.layers[0].kernel.numpy() - (slowing.start + 1)).max())]

case("a hook sets the learning rate, and weights", slowed)

class Two(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = dense(), dense()
        self.second = keras.optimizers.Adam()
        self.mean = keras.metrics.Mean(name="mean")
    @property
    def metrics(self):
        return [self.mean]
    def call(self, x):
        return self.one(x)
    def train_step(self, data):
        x, y = data
        for network, optimizer in ((self.one, self.optimizer), (self.two, self.second), (self.two, self.second)):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((network(x) - y) ** 2)
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        self.mean.update_state(loss)
        return {"mean": self.mean.result(), "last": loss}

def own_step():
    model = Two()
    model.compile("adam", "mse")
    looking = Looking()
    trained(model, "own", hooks=[looking])
    return [int(model.optimizer.iterations), int(model.second.iterations), sorted(looking.metrics[15])]

case("a step and optimizers of one's own", own_step)

def words():
    given = L.Input((1,), dtype="string")
    numbers = L.StringLookup(vocabulary=["a", "b", "c"])(given)
    model = keras.Model(given, L.Dense(1)(L.Flatten()(L.Embedding(5, 4)(numbers))))
    model.compile("adam", "mse")
    letters = np.array(["a", "b", "c", "d"] * 50, object).reshape(-1, 1)
    ours = trained(model, "words", ke.Arrays(letters, Y, batch_size=20, epochs=None))
    return int(ours.get_variable_value("optimizer/iterations"))

case("a table of words", words)

def ragged():
    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.table, self.top = L.Embedding(10, 4), L.Dense(1)
        def build(self, shape):
            self.table.build(shape)
            self.top.build((None, 4))
        def call(self, x):
            x = x.to_tensor() if isinstance(x, tf.RaggedTensor) else x
            return self.top(tf.reduce_mean(tf.nn.embedding_lookup(self.table.embeddings, x), 1))
    model = Mean()
    model.compile("adam", "mse")
    rows = tf.RaggedTensor.from_row_lengths(np.arange(600) % 10, [1, 2, 3] * 100)
    data = tf.data.Dataset.from_tensor_slices((rows, np.ones((300, 1), "float32"))).batch(16)
    trained(model, "ragged", data, None)
    return int(model.optimizer.iterations)

case("a ragged dataset, to its end", ragged)
case("averages", lambda: ke.train_and_evaluate(
    estimator(compiled(keras.optimizers.Adam(0.01, use_ema=True)), model_dir=f"{sys.argv[1]}-ema"),
    ke.TrainSpec(DATA, max_steps=15), ke.EvalSpec(ke.Arrays(X, Y), every_steps=5))[0]["global_step"])

def in_python(x):
    return tf.ensure_shape(tf.py_function(lambda a: a * 2, [x], tf.float32), x.shape)

refused = {
    "accumulation": lambda: trained(compiled(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)), "r1"),
    "eager": lambda: trained(compiled(run_eagerly=True), "r2"),
    "step": lambda: trained(compiled(), "r3", plan="step"),
    "Python": lambda: trained(compiled("adam", L.Lambda(in_python)), "r4"),
    "NaN": lambda: trained(compiled(keras.optimizers.SGD(1e30)), "r5", steps=200),
    "mirrored": lambda: trained(compiled(), "r6", train_distribute="multi_worker_mirrored"),
}
for name, do in refused.items():
    case(name, do)
"""


# Trains slowly, and says who it is as soon as it trains.
TELLING = """
class Telling(ke.Hook):
    cadence = ke.Cadence(every_steps=1)
    def after_steps(self, run):
        if run.step == 12:
            print("training", flush=True)
        time.sleep(0.1 if run.step < 40 else 0)

print("pid", config.task_type, config.task_id, os.getpid(), flush=True)
estimator(rich).train(ROWS, [Telling()], max_steps=60)
print("ended", int(rich.optimizer.iterations), int(rich.layers[3].calls), flush=True)
"""
