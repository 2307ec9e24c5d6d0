"""A run that is killed and goes on draws again what its input functions drew when it began."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_estimator.engines.draws import check, drawing
from keras_estimator.errors import EstimatorWarning

NUMPY: Any = np.random  # the functions that draw by one state of the whole process


def drawn(before: Any = None) -> tuple[list[float], Any]:
    with drawing(before, seed=1) as noted:
        return [random.random(), random.gauss(), NUMPY.rand(), NUMPY.normal()], json.loads(json.dumps(noted))


def test_what_was_drawn_is_drawn_again():
    random.gauss(), NUMPY.normal()  # the second of a pair is kept for the next time
    numbers, noted = drawn()
    others, _ = drawn()
    again, noted_again = drawn(noted)
    assert numbers == again != others
    assert noted == noted_again


def test_noting_draws_nothing():
    random.seed(3), NUMPY.seed(3)
    numbers, _ = drawn()
    random.seed(3), NUMPY.seed(3)
    assert numbers == [random.random(), random.gauss(), NUMPY.rand(), NUMPY.normal()]


class TorchLike:
    """As much of torch as is asked for; the real one is tried by hand, as it is no requirement."""

    def __init__(self) -> None:
        self.state = np.arange(9, dtype=np.uint8)

    def get_rng_state(self) -> Any:
        return type("Tensor", (), {"numpy": lambda tensor, state=self.state: state.copy()})()

    @staticmethod
    def from_numpy(array: Any) -> Any:
        return array

    def set_rng_state(self, state: Any) -> None:
        if state.shape != self.state.shape:
            raise RuntimeError("RNG state is wrong size")
        self.state = state


def test_what_torch_draws_is_drawn_again_if_the_program_has_it(monkeypatch: pytest.MonkeyPatch):
    without = drawn()[1]
    assert without["torch"] is None
    torch = TorchLike()
    monkeypatch.setitem(sys.modules, "torch", torch)
    noted = drawn()[1]
    torch.state = torch.state + 1
    drawn(noted)
    assert torch.state.tolist() == list(range(9))
    assert torch.state.flags.writeable
    drawn(without)
    with pytest.warns(EstimatorWarning, match="cannot be put back"):
        drawn({**noted, "torch": "AAAA"})
    assert torch.state.tolist() == list(range(9))
    monkeypatch.delitem(sys.modules, "torch")
    drawn(noted)  # and nobody imports it


def test_to_check_states_leaves_them_as_they_are():
    noted = drawn()[1]
    random.seed(3), NUMPY.seed(3)
    check(noted)
    with pytest.raises((ValueError, TypeError, LookupError)):
        check({**noted, "numpy": {"words": "AAAA", "position": 1, "has_gauss": 0, "gauss": 0.0}})
    numbers = random.random(), NUMPY.rand()
    random.seed(3), NUMPY.seed(3)
    assert numbers == (random.random(), NUMPY.rand())


@pytest.mark.parametrize(
    "spoilt",
    [
        {},
        {"seed": "x"},
        {"python": None},
        {"python": {"version": 3, "words": "AAAA", "gauss": None}},
        {"python": {"version": 3, "words": "?", "gauss": None}},
        {"numpy": {"words": "AAAA", "position": 1, "has_gauss": 0, "gauss": 0.0}},
        {"backend": 7},
    ],
)
def test_what_is_no_state_is_told_and_the_run_goes_on(spoilt: dict[str, Any]):
    with drawing(None, seed=1) as noted:
        pass
    with (
        pytest.warns(EstimatorWarning, match="cannot be put back"),
        drawing({**noted, **spoilt} if spoilt else {}, seed=1),
    ):
        pass


PROGRAM = """
import random, sys
import numpy as np, keras, tensorflow as tf
import keras_estimator as ke

X = np.arange(60, dtype="float32").reshape(60, 1) / 60

def by_python():
    order = list(range(60))
    random.shuffle(order)
    return ke.Arrays(X[order], X[order], batch_size=6, shuffle=False)

def by_numpy():
    while True:
        rows = X[np.random.randint(0, 60, size=6)]
        yield rows, rows

def by_tensorflow():
    data = tf.data.Dataset.from_tensor_slices((X, X)).shuffle(60).repeat()
    return data.map(lambda x, y: (x + tf.random.uniform((1,)), y)).batch(6)

class Dies(ke.Hook):
    cadence = ke.Cadence(every_steps=1)
    def after_steps(self, run):
        if run.step == 27:
            raise SystemExit(9)

class Seen(keras.layers.Layer):
    def build(self, shape):
        self.rows = tf.Variable(tf.zeros((0, 1)), shape=(None, 1), trainable=False)
    def call(self, x, training=False):
        if training:
            self.rows.assign(tf.concat([self.rows, x], 0))
        return x

folder, dies, seeded = sys.argv[1], sys.argv[2] == "dies", sys.argv[3] == "seeded"
if seeded:
    keras.utils.set_random_seed(5)
for input_fn in (by_python, by_numpy, by_tensorflow):
    model = keras.Sequential([keras.Input((1,)), Seen(name="seen"), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    config = ke.RunConfig(save_checkpoints_steps=10, progress="off", save_summary_steps=None)
    estimator = ke.model_to_estimator(model, model_dir=f"{folder}/{input_fn.__name__}", config=config)
    # Two calls: one that is over does not draw again. A generator is read ahead, so that what the next one draws comes
    # at some moment in between: that is not the same in two programs, killed or not.
    for until in (40,) if input_fn is by_numpy else (20, 40):
        try:
            estimator.train(input_fn, [Dies()] if dies else None, max_steps=until)
        except SystemExit:
            break
    np.save(f"{folder}/{input_fn.__name__}.npy", estimator.get_variable_value("seen/rows"))
"""


def run(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "EstimatorWarning" not in done.stderr


@pytest.mark.parametrize("seeded", ["seeded", "unseeded"])
def test_the_rows_of_a_run_that_goes_on_are_those_that_it_had_not_seen(tmp_path: Path, seeded: str):
    """The rows that were seen are part of the state: up to the kill they come from the first program."""
    run(tmp_path, "dies", seeded)
    died = {name: np.load(tmp_path / f"{name}.npy") for name in ("by_python", "by_numpy", "by_tensorflow")}
    run(tmp_path, "goes on", seeded)
    if seeded == "seeded":
        (tmp_path / "unkilled").mkdir()
        run(tmp_path / "unkilled", "lives", seeded)
    for name, before in died.items():
        rows = np.load(tmp_path / f"{name}.npy")
        assert rows.shape == (240, 1)
        np.testing.assert_array_equal(rows[: len(before)], before)  # also those after the checkpoint of step 20
        if seeded == "seeded":
            np.testing.assert_array_equal(rows, np.load(tmp_path / "unkilled" / f"{name}.npy"))
