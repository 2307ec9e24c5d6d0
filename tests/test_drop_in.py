"""The old names are there or say what to use instead; a script runs as Python itself would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import keras_estimator as ke
from keras_estimator import tf_estimator
from keras_estimator.drop_in import install, run_script

EXAMPLES = sorted((Path(__file__).parent / "data" / "article").glob("*.py"))

# Every name of tf.estimator in TensorFlow 2.15.
NAMES = """
Estimator EstimatorSpec ModeKeys RunConfig TrainSpec EvalSpec train_and_evaluate WarmStartSettings VocabInfo add_metrics
BaselineClassifier BaselineRegressor BaselineEstimator LinearClassifier LinearRegressor LinearEstimator
DNNClassifier DNNRegressor DNNEstimator
DNNLinearCombinedClassifier DNNLinearCombinedRegressor DNNLinearCombinedEstimator
Head BinaryClassHead MultiClassHead MultiLabelHead MultiHead RegressionHead LogisticRegressionHead PoissonRegressionHead
Exporter LatestExporter FinalExporter BestExporter
SessionRunHook SessionRunArgs SessionRunContext SessionRunValues SecondOrStepTimer CheckpointSaverHook
CheckpointSaverListener StepCounterHook LoggingTensorHook SummarySaverHook StopAtStepHook NanTensorHook
NanLossDuringTrainingError GlobalStepWaiterHook FinalOpsHook FeedFnHook ProfilerHook
classifier_parse_example_spec regressor_parse_example_spec
export.ServingInputReceiver export.TensorServingInputReceiver export.build_parsing_serving_input_receiver_fn
export.build_raw_serving_input_receiver_fn export.ExportOutput export.ClassificationOutput export.RegressionOutput
export.PredictOutput export.EvalOutput
experimental.InMemoryEvaluatorHook experimental.make_early_stopping_hook experimental.stop_if_higher_hook
experimental.stop_if_lower_hook experimental.stop_if_no_increase_hook experimental.stop_if_no_decrease_hook
experimental.make_stop_at_checkpoint_step_hook experimental.build_raw_supervised_input_receiver_fn
experimental.call_logit_fn experimental.LinearSDCA experimental.RNNEstimator experimental.RNNClassifier
""".split()

install()


def script(folder: Path, text: str) -> Path:
    path = folder / "old.py"
    path.write_text(text)
    return path


def reached(name: str) -> Any:
    found: Any = tf.estimator
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    "statement",
    [
        "import tensorflow as tf; f = tf.keras.estimator.model_to_estimator",
        "from tensorflow import estimator, keras; f = keras.estimator.model_to_estimator; estimator.RunConfig",
        "from tensorflow.keras import estimator; f = estimator.model_to_estimator",
        "from tensorflow.keras.estimator import model_to_estimator as f",
        "import tensorflow.keras as k; f = k.estimator.model_to_estimator",
        "import tensorflow.compat.v1 as tf; f = tf.keras.estimator.model_to_estimator; tf.estimator.RunConfig",
        "import tensorflow as tf; f = tf.compat.v1.keras.estimator.model_to_estimator; tf.compat.v1.estimator.ModeKeys",
        "import tensorflow as tf; f = tf.compat.v2.keras.estimator.model_to_estimator; tf.compat.v2.estimator.ModeKeys",
    ],
)
def test_the_old_names_lead_to_ours(statement: str):
    names: dict[str, Any] = {}
    exec(statement, names)
    assert names["f"] is ke.model_to_estimator


@pytest.mark.parametrize(
    "statement",
    [
        "import tensorflow as tf; found = tf.estimator.TrainSpec",
        "import tensorflow.compat.v1 as tf; found = tf.estimator.TrainSpec",
        "from tensorflow import estimator; found = estimator.TrainSpec",
        "from tensorflow.estimator import TrainSpec as found",
        "import tensorflow.estimator as estimator; found = estimator.TrainSpec",
    ],
)
def test_tf_estimator_is_the_module_that_can_be_imported_without_it(statement: str):
    names: dict[str, Any] = {}
    exec(statement, names)
    assert names["found"] is tf_estimator.TrainSpec


def test_its_parts_can_be_imported_from():
    names: dict[str, Any] = {}
    exec("from tensorflow.estimator.experimental import stop_if_lower_hook as hook", names)
    exec("from tensorflow.estimator.export import PredictOutput as output", names)
    assert names["hook"] is ke.stop_if_lower_hook
    assert names["output"] is tf_estimator.export.PredictOutput


def test_installing_twice_changes_nothing():
    before = tf.estimator
    install()
    assert tf.estimator is before


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_original_is_there_or_says_what_to_use_instead(name: str):
    try:
        what = reached(name).__doc__
    except AttributeError as error:
        what = str(error).partition("fix:")[2]
    assert what
    assert "turns any Keras model into an Estimator" not in what, "that is what a name without advice gets"


def test_these_names_of_the_original_are_there():
    there = {name for name in NAMES if hasattr(reached(name.rpartition(".")[0]), name.rpartition(".")[2])}
    parts = [f"{part}.{name}" for part in ("experimental", "export") for name in reached(part).__all__]
    assert there == {*tf_estimator.__all__, *parts} - {"experimental", "export"}
    assert len(there) == 34


def test_the_list_is_complete():
    assert len(NAMES) == len(set(NAMES)) == 74


def test_a_name_that_was_never_there_is_an_attribute_error():
    assert not hasattr(tf.estimator, "Estimater")


def test_an_import_of_a_missing_name_says_what_to_use_instead():
    with pytest.raises(ImportError, match=r"(?s)DNNClassifier is not there.*build the network with keras\.layers"):
        exec("from tensorflow.estimator import DNNClassifier")


def test_a_script_sees_what_python_would_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "neighbour.py").write_text("answer = 42\n")
    path = script(
        tmp_path, "import sys, neighbour\nprint(__name__, __file__, sys.argv, sys.path[0], neighbour.answer)\n"
    )
    before = sys.argv, list(sys.path)
    run_script(path, ["--steps", "3"])
    assert capsys.readouterr().out == f"__main__ {path} {[str(path), '--steps', '3']} {tmp_path} 42\n"
    assert (sys.argv, sys.path) == before


def test_the_exit_status_of_a_script_passes_through(tmp_path: Path):
    with pytest.raises(SystemExit) as caught:
        run_script(script(tmp_path, "import sys\nsys.exit(3)\n"))
    assert caught.value.code == 3


def test_what_a_script_raises_passes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(KeyError, match="lost"):
        run_script(script(tmp_path, "raise KeyError('lost')\n"))


@pytest.mark.slow
def test_an_uncaught_error_is_shown_as_python_shows_it(tmp_path: Path):
    path = script(tmp_path, "def f():\n    raise KeyError('lost')\nf()\n")
    program = f"from keras_estimator.drop_in import run_script; run_script({str(path)!r})"
    ours = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    python = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert ours.returncode == python.returncode == 1
    assert ours.stderr[ours.stderr.index("Traceback") :] == python.stderr


def test_a_missing_script_is_a_clear_error():
    with pytest.raises(ke.ConfigError, match="there is no such script"):
        run_script("nowhere.py")


def test_numpy_that_cannot_run_on_a_tensor_names_the_line_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    text = "import keras, numpy as np\nx = keras.Input((3,))\ny = np.asarray(x)\n"
    with pytest.raises(ke.NumpyCallError, match=r"old\.py:3 asks for the numbers of a tensor"):
        run_script(script(tmp_path, text))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:.*int32 variable:keras_estimator.EstimatorWarning")
@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
def test_an_example_of_the_article_runs_unchanged(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    run_script(path)
    assert capsys.readouterr().out == "Conversion successful.\n"
