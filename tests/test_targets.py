"""What a target means: files to read, or a model to make; what goes wrong on the way is told."""

from __future__ import annotations

import statistics
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from keras_estimator.doctor.targets import first_batch, forget_modules, make_model, parse_target
from keras_estimator.errors import ConfigError, InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return name


NET = """
    import keras

    def build():
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])

    model = build()
    number = 3

    def data():
        import numpy as np
        return np.ones((20, 3), "float32"), np.ones((20, 1), "float32")
"""


def test_files_and_folders_are_read(folder: Path):
    write(folder, "target_net.py", NET)
    for text in ("target_net.py", "."):
        target = parse_target(text)
        assert (target.path, target.module, target.name) == (Path(text), "", "")


@pytest.mark.parametrize("text", ["target_net.py:build", "target_net.py:model", "target_net:build"])
def test_a_model_is_made(folder: Path, text: str):
    write(folder, "target_net.py", NET)
    made = make_model(parse_target(text))
    assert made.failures == ()
    assert made.model.output_shape == (None, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing.py", "nothing to look at"),
        ("missing.py:build", "nothing to look at"),
        ("no_such_module:build", "no module"),
        ("target_net.py:bild", "no `bild`"),
        ("target_net.py:number", "is no model"),
    ],
)
def test_a_target_that_is_none_is_an_error(folder: Path, text: str, said: str):
    write(folder, "target_net.py", NET)
    with pytest.raises(ConfigError, match=said):
        make_model(parse_target(text))


def test_what_is_there_is_proposed(folder: Path):
    write(folder, "target_net.py", NET)
    with pytest.raises(ConfigError) as caught:
        make_model(parse_target("target_net.py:bild"))
    assert "build" in caught.value.expected
    assert caught.value.fix == "target_net.py:build"


def test_a_file_that_raises_after_the_model_was_made_is_looked_at_all_the_same(folder: Path):
    write(folder, "target_raises.py", NET + "\n    raise RuntimeError('too late')\n")
    made = make_model(parse_target("target_raises.py:model"))
    assert made.model is not None
    (failure,) = made.failures
    assert (failure.moment, failure.line) == ("import", "RuntimeError: too late")
    assert failure.source_line == "raise RuntimeError('too late')"


def test_a_file_that_raises_before_has_no_model_but_a_failure(folder: Path):
    write(folder, "target_broken.py", "import no_such_package_at_all\n" + textwrap.dedent(NET))
    made = make_model(parse_target("target_broken.py:build"))
    assert made.model is None
    assert [failure.moment for failure in made.failures] == ["import"]


def test_a_factory_that_raises_is_a_failure(folder: Path):
    write(folder, "target_factory.py", "def build():\n    return 1 / 0\n")
    made = make_model(parse_target("target_factory.py:build"))
    assert (made.model, [failure.moment for failure in made.failures]) == (None, ["build"])


def test_numpy_on_a_symbolic_tensor_is_told_and_the_model_is_made_in_a_second_try(folder: Path):
    write(
        folder,
        "target_numpy.py",
        """
        import keras
        import numpy as np

        def build():
            x = keras.Input((3,))
            return keras.Model(x, np.sin(x))
        """,
    )
    script = (
        "from keras_estimator.doctor.targets import make_model, parse_target\n"
        "made = make_model(parse_target('target_numpy.py:build'))\n"
        "print(made.model.output_shape, [(one.moment, one.source_line) for one in made.failures])\n"
    )
    # In a process of its own: NumPy must not run on tensors yet.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "(None, 3) [('build', 'return keras.Model(x, np.sin(x))')]\n"


def test_a_few_rows_of_data_are_taken(folder: Path):
    write(
        folder,
        "target_data.py",
        NET
        + """
    def dataset():
        import tensorflow as tf
        return tf.data.Dataset.from_tensor_slices(data()).batch(16)

    def generator():
        while True:
            yield data()
    """,
    )
    for name in ("data", "dataset", "generator"):
        x, y = first_batch(f"target_data.py:{name}")
        assert (np.shape(x), np.shape(y)) == ((8, 3), (8, 1)), name
    with pytest.raises(ConfigError, match="no `nothing`"):
        first_batch("target_data.py:nothing")


def test_data_that_cannot_be_made_are_said_with_the_line(folder: Path):
    write(folder, "target_no_data.py", "x = 1 / 0\ndef data():\n    return x\n")
    with pytest.raises(InputError, match="cannot be made") as caught:
        first_batch("target_no_data.py:data")
    assert "target_no_data.py:1:5: ZeroDivisionError" in caught.value.found


def test_a_file_that_is_called_like_a_module_of_python_stays_beside_it(folder: Path):
    write(folder, "statistics.py", NET)
    assert make_model(parse_target("statistics.py:build")).model is not None
    assert statistics.mean([1, 3]) == 2
    assert sys.modules["statistics"] is statistics


def test_a_module_that_has_changed_is_imported_anew(folder: Path):
    write(folder, "target_part.py", "UNITS = 2\n")
    write(
        folder,
        "target_whole.py",
        NET.replace("import keras", "import keras\n    from target_part import UNITS").replace(
            "Dense(1)", "Dense(UNITS)"
        ),
    )
    target = parse_target("target_whole:build")
    assert make_model(target).model.output_shape == (None, 2)
    write(folder, "target_part.py", "UNITS = 33\n")
    forget_modules(["target_part.py", folder / "target_whole.py"])
    assert make_model(target).model.output_shape == (None, 33)
