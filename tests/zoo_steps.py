"""Kinds of models with a step, a loss or a compile of their own, as the examples of Keras and the papers write them."""

from typing import Any

import keras
import tensorflow as tf
from zoo_parts import IDS, Kind, L, X, batches, compiled, kind


def _net(*units: int, given: int | None = None) -> keras.Model:
    start = [L.Input((given,))] if given else []
    return keras.Sequential([*start, *(L.Dense(n, activation="relu") for n in units[:-1]), L.Dense(units[-1])])


class TrackedVAE(keras.Model):
    """Trackers in the property `metrics`, as in the example of Keras."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _net(8, 4), _net(8, 6)
        self.seeds = keras.random.SeedGenerator(1337)
        self.total, self.divergence = keras.metrics.Mean("loss"), keras.metrics.Mean("kl_loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.total, self.divergence]

    def call(self, x: Any) -> Any:
        return self.decoder(tf.split(self.encoder(x), 2, -1)[0])

    def _losses_of(self, x: Any) -> tuple[Any, Any]:
        mean, log_spread = tf.split(self.encoder(x), 2, -1)
        drawn = mean + tf.exp(0.5 * log_spread) * keras.random.normal(tf.shape(mean), seed=self.seeds)
        divergence = -0.5 * tf.reduce_mean(1 + log_spread - mean**2 - tf.exp(log_spread))
        return tf.reduce_mean((self.decoder(drawn) - x) ** 2) + divergence, divergence

    def train_step(self, data: Any) -> dict[str, Any]:
        x, _ = data
        with tf.GradientTape() as tape:
            loss, divergence = self._losses_of(x)
        grads = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        self.total.update_state(loss)
        self.divergence.update_state(divergence)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data: Any) -> dict[str, Any]:
        loss, divergence = self._losses_of(data[0])
        self.total.update_state(loss)
        self.divergence.update_state(divergence)
        return {m.name: m.result() for m in self.metrics}


class Wasserstein(keras.Model):
    """Several steps of the critic for one of the generator, and a penalty on a gradient."""

    def __init__(self, critic_steps: int = 2) -> None:
        super().__init__()
        self.generator, self.critic = _net(8, 6), _net(8, 1)
        self.critic_steps, self.seeds = critic_steps, keras.random.SeedGenerator(5)

    def compile(self, d_optimizer: Any, g_optimizer: Any, d_loss_fn: Any, g_loss_fn: Any) -> None:
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        self.d_loss_fn, self.g_loss_fn = d_loss_fn, g_loss_fn

    def call(self, x: Any) -> Any:
        return self.critic(x)

    def _penalty(self, real: Any, fake: Any) -> Any:
        mixed = real + keras.random.uniform((tf.shape(real)[0], 1), seed=self.seeds) * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(mixed)
            judged = self.critic(mixed, training=True)
        norms = tf.sqrt(tf.reduce_sum(tape.gradient(judged, mixed) ** 2, 1) + 1e-12)
        return tf.reduce_mean((norms - 1.0) ** 2)

    def _made(self, x: Any) -> Any:
        return self.generator(keras.random.normal(tf.shape(x), seed=self.seeds), training=True)

    def train_step(self, data: Any) -> dict[str, Any]:
        x = data[0]
        for _ in range(self.critic_steps):
            with tf.GradientTape() as tape:
                fake = self._made(x)
                d_loss = self.d_loss_fn(self.critic(x), self.critic(fake)) + 10.0 * self._penalty(x, fake)
            grads = tape.gradient(d_loss, self.critic.trainable_variables)
            self.d_optimizer.apply_gradients(zip(grads, self.critic.trainable_variables, strict=True))
        with tf.GradientTape() as tape:
            g_loss = self.g_loss_fn(self.critic(self._made(x)))
        grads = tape.gradient(g_loss, self.generator.trainable_variables)
        self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_variables, strict=True))
        return {"loss": d_loss + g_loss, "d_loss": d_loss, "g_loss": g_loss}

    def test_step(self, data: Any) -> dict[str, Any]:
        return {"d_loss": self.d_loss_fn(self.critic(data[0]), self.critic(self.generator(data[0])))}


class Diffusion(keras.Model):
    """A network, and its average made by clone_model that the step moves, as in the example of Keras."""

    def __init__(self, average: float = 0.9) -> None:
        super().__init__()
        self.average, self.seeds = average, keras.random.SeedGenerator(9)
        self.normalizer = L.Normalization()
        self.network = keras.Sequential([L.Input((7,)), L.Dense(8, activation="swish"), L.Dense(6)])
        self.averaged = keras.models.clone_model(self.network)

    def compile(self, **kwargs: Any) -> None:
        super().compile(**kwargs)
        self.noise_loss_tracker = keras.metrics.Mean(name="n_loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.noise_loss_tracker]

    def call(self, x: Any) -> Any:
        return self.averaged(tf.concat([self.normalizer(x), tf.ones_like(x[:, :1])], 1))

    def _noise_loss(self, x: Any, network: Any, training: bool) -> Any:
        x = self.normalizer(x)
        noise = keras.random.normal(tf.shape(x), seed=self.seeds)
        times = keras.random.uniform((tf.shape(x)[0], 1), seed=self.seeds)
        noisy = tf.cos(times * 1.5) * x + tf.sin(times * 1.5) * noise
        return self.loss(noise, network(tf.concat([noisy, times], 1), training=training))

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = self._noise_loss(data[0], self.network, training=True)
        grads = tape.gradient(loss, self.network.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.network.trainable_weights, strict=True))
        self.noise_loss_tracker.update_state(loss)
        for weight, averaged in zip(self.network.weights, self.averaged.weights, strict=True):
            averaged.assign(self.average * averaged + (1 - self.average) * weight)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data: Any) -> dict[str, Any]:
        self.noise_loss_tracker.update_state(self._noise_loss(data[0], self.averaged, training=False))
        return {m.name: m.result() for m in self.metrics}


class Distiller(keras.Model):
    """A student that learns from a teacher, with a compute_loss of its own."""

    def __init__(self, student: Any, teacher: Any) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        teacher.trainable = False

    def compile(self, student_loss: Any, alpha: float = 0.1, **kwargs: Any) -> None:
        super().compile(**kwargs)
        self.student_loss, self.alpha = student_loss, alpha

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **options: Any
    ) -> Any:
        taught = tf.reduce_mean((self.teacher(x, training=False) - y_pred) ** 2)
        return self.alpha * self.student_loss(y, y_pred) + (1 - self.alpha) * taught

    def call(self, x: Any) -> Any:
        return self.student(x)


class Momentum(keras.Model):
    """Contrastive learning with a queue of keys in a raw variable and an encoder that follows another."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.follower = _net(8, 4, given=6), _net(8, 4, given=6)
        self.follower.set_weights(self.encoder.get_weights())
        self.queue = tf.Variable(tf.math.l2_normalize(tf.reshape(tf.sin(tf.range(128.0)), (32, 4)), 1), trainable=False)
        self.follower.trainable = False

    def call(self, x: Any) -> Any:
        return tf.math.l2_normalize(self.encoder(x), 1)

    def _loss_of(self, x: Any) -> tuple[Any, Any]:
        keys = tf.math.l2_normalize(self.follower(x * 1.01), 1)
        queries = self(x, training=True)
        logits = tf.concat([tf.reduce_sum(queries * keys, 1, keepdims=True), queries @ tf.transpose(self.queue)], 1)
        labels = tf.zeros(tf.shape(x)[:1], "int32")
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits / 0.2)), keys

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss, keys = self._loss_of(data[0])
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        for mine, theirs in zip(self.follower.variables, self.encoder.variables, strict=True):
            mine.assign(0.9 * mine + 0.1 * theirs)
        self.queue.assign(tf.concat([keys, self.queue], 0)[:32])
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        self._loss_tracker.update_state(self._loss_of(data[0])[0])
        return {"loss": self._loss_tracker.result()}


class QLearner(keras.Model):
    """Copies its network to its target every third step."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.target = _net(8, 3, given=6), _net(8, 3, given=6)

    def call(self, x: Any) -> Any:
        return self.network(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, reward = data
        wanted = reward[:, 0] + 0.9 * tf.reduce_max(self.target(x[:, ::-1]), 1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((tf.stop_gradient(wanted) - tf.reduce_max(self.network(x), 1)) ** 2)
        variables = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        tf.cond(self.optimizer.iterations % 3 == 0, self._copy, lambda: tf.constant(0))
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        self._loss_tracker.update_state(tf.reduce_mean((self.network(data[0]) - data[1]) ** 2))
        return {"loss": self._loss_tracker.result()}

    def _copy(self) -> Any:
        for mine, theirs in zip(self.target.variables, self.network.variables, strict=True):
            mine.assign(theirs)
        return tf.constant(1)


class Accumulates(keras.Model):
    """Adds up gradients in raw variables, as answers on the web do."""

    def __init__(self, every: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.every = tf.constant(every, dtype=tf.int32)
        self.done = tf.Variable(0, dtype=tf.int32, trainable=False)
        self.sums = [tf.Variable(tf.zeros_like(v.value), trainable=False) for v in self.trainable_variables]

    def train_step(self, data: Any) -> dict[str, Any]:
        self.done.assign_add(1)
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred)
        for total, gradient in zip(self.sums, tape.gradient(loss, self.trainable_variables), strict=True):
            total.assign_add(gradient)
        tf.cond(tf.equal(self.done, self.every), self._apply, lambda: None)
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(x, y, y_pred)

    def _apply(self) -> None:
        self.optimizer.apply_gradients(zip(self.sums, self.trainable_variables, strict=True))
        self.done.assign(0)
        for total in self.sums:
            total.assign(tf.zeros_like(total))


class Physics(keras.Model):
    """Its loss holds a derivative of its output by its input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = keras.Sequential([L.Dense(8, activation="tanh"), L.Dense(1)])

    def call(self, x: Any) -> Any:
        return self.net(x)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            u = self.net(x)
        slope = tape.gradient(u, x)
        return super().compute_loss(x, y, y_pred, sample_weight, training) + tf.reduce_mean((slope[:, :1] - u) ** 2)


class TwoTowers(keras.Model):
    """Users and items with the other items of a batch as negatives, and no labels."""

    def __init__(self) -> None:
        super().__init__()
        self.users = keras.Sequential([L.Embedding(9, 4), L.Dense(4)])
        self.items = keras.Sequential([L.Embedding(9, 4), L.Dense(4)])

    def call(self, x: Any) -> Any:
        return {"user": self.users(x["user"]), "item": self.items(x["item"])}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **options: Any
    ) -> Any:
        scores = y_pred["user"] @ tf.transpose(y_pred["item"])
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(tf.shape(scores)[0]), scores))


class MixesUp(keras.Model):
    """Mixes the examples of a batch, and reports a metric of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.seeds = _net(8, 1), keras.random.SeedGenerator(2)

    def call(self, x: Any) -> Any:
        return self.net(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        share = keras.random.uniform((), 0.5, 1.0, seed=self.seeds)
        return super().train_step((share * x + (1 - share) * x[::-1], share * y + (1 - share) * y[::-1]))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return super().compute_metrics(x, y, y_pred, sample_weight) | {"bias": tf.reduce_mean(y_pred)}


def _made_of(cls: Any, *args: Any, **options: Any) -> keras.Model:
    return compiled(cls(*args), **({"optimizer": keras.optimizers.Adam(0.01), "metrics": None} | options))


def _wasserstein() -> keras.Model:
    model = Wasserstein()
    model.compile(
        keras.optimizers.Adam(0.01, beta_1=0.5),
        keras.optimizers.Adam(0.01, beta_1=0.5),
        d_loss_fn=lambda real, fake: tf.reduce_mean(fake) - tf.reduce_mean(real),
        g_loss_fn=lambda fake: -tf.reduce_mean(fake),
    )
    return model


def _diffusion() -> keras.Model:
    model = Diffusion()
    model.normalizer.adapt(X)
    model.compile(optimizer=keras.optimizers.AdamW(0.01), loss=keras.losses.mean_absolute_error)
    return model


def _distiller() -> keras.Model:
    model = Distiller(_net(4, 1), _net(16, 1, given=6))
    model.compile(student_loss=keras.losses.MeanSquaredError(), alpha=0.3, optimizer="adam", metrics=["mae"])
    return model


def _accumulates() -> keras.Model:
    given = keras.Input((6,))
    return _made_of(lambda: Accumulates(2, given, _net(8, 1)(given)))


_PAIRS = {"user": IDS[:, 0], "item": IDS[:, 1]}
# `merge_call called while defining a new graph`
_IN_A_BRANCH = {"steps_mirrored": "TensorFlow: a branch of a graph cannot do what replicas do together"}
KINDS: dict[str, Kind] = {
    "vae_with_trackers": kind(lambda: _made_of(TrackedVAE, loss=None)),
    "wasserstein": kind(_wasserstein),
    "diffusion": kind(_diffusion),
    "distiller": kind(_distiller),
    "contrastive_with_a_queue": kind(lambda: _made_of(Momentum, loss=None)),
    "q_learning": kind(lambda: _made_of(QLearner, loss=None), exceptions=_IN_A_BRANCH),
    "accumulates_by_hand": kind(_accumulates, exceptions=_IN_A_BRANCH),
    "physics": kind(lambda: _made_of(Physics, loss="mse", metrics=["mae"])),
    "two_towers": kind(lambda: _made_of(TwoTowers, loss=None), batches(_PAIRS, None)),
    "mixes_up": kind(lambda: _made_of(MixesUp, loss="mse", metrics=["mae"])),
}
