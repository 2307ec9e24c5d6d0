"""The doctor mends the three examples of the article: plain Keras trains, saves, loads and goes on with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent / "data" / "article"
pytestmark = pytest.mark.slow

# Plain Keras: nothing of ours is imported. An example's last lines ask for an Estimator that is no longer there.
PLAIN = """
import importlib.util, sys
import keras, numpy as np

def model_of(name):
    spec = importlib.util.spec_from_file_location(name, sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except AttributeError as error:
        assert "estimator" in str(error), error
    return module.model

keras.utils.set_random_seed(0)
model = model_of("example")
x = np.random.default_rng(0).normal(size=(64, 10)).astype("float32")
y = x[:, :1] * 2
model.compile("sgd", "mse")
model.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0)
model.save(sys.argv[2])
loaded = keras.models.load_model(sys.argv[2], safe_mode=True)
np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))
assert [w.name for w in model.weights] == [w.name for w in loaded.weights]
for one, other in zip(model.weights, loaded.weights):
    np.testing.assert_array_equal(one, other)
losses = [one.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0).history["loss"] for one in (model, loaded)]
np.testing.assert_array_equal(*losses)
print("the same:", losses[0])
"""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_example_is_mended_so_that_plain_keras_carries_it(number: int, tmp_path: Path) -> None:
    example = tmp_path / f"example_{number}.py"
    example.write_bytes((EXAMPLES / example.name).read_bytes())

    def plain() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PLAIN, str(example), str(tmp_path / "model.keras")]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path)

    assert plain().returncode != 0, "it needs no doctor"
    command = [sys.executable, "-m", "keras_estimator.cli", "doctor", example.name, "--fix", "--exit-zero"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    after = plain()
    assert after.returncode == 0, example.read_text(encoding="utf-8") + after.stderr
    assert after.stdout.startswith("the same:")
