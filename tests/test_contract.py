"""For each kind of model: a run goes on in a new estimator with its bits, and an export serves what predict gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import zoo

import keras_estimator as ke

Whole = tuple[str, ke.Estimator, dict[str, bytes]]
pytestmark = pytest.mark.slow
SAVED, LAST = 3, 8  # of five batches in a pass


def estimator(name: str, folder: Path) -> ke.Estimator:
    """Make a new model and a new estimator, as a new program would: TensorFlow orders sums by names of operations."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    config = ke.RunConfig(
        progress="off", save_checkpoints_steps=SAVED, save_checkpoints_secs=None, save_summary_steps=None
    )
    return ke.model_to_estimator(zoo.KINDS[name].build(), model_dir=folder, config=config)


def trained(name: str, folder: Path) -> ke.Estimator:
    kind = zoo.KINDS[name]
    made = estimator(name, folder)
    with zoo.heard(kind, "trains"):
        return made.train(lambda: kind.data().repeat(), max_steps=LAST, class_weight=kind.class_weight)


def state(of: ke.Estimator) -> dict[str, bytes]:
    return {name: of.get_variable_value(name).tobytes() for name in of.get_variable_names()}


@pytest.fixture(scope="module", params=zoo.under_contract())
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """One kind after the other, trained without a stop."""
    made = trained(request.param, tmp_path_factory.mktemp("whole"))
    return request.param, made, state(made)


def test_an_export_serves_what_predict_gives(whole: Whole, tmp_path: Path) -> None:
    name, one, _ = whole
    kind = zoo.KINDS[name]
    if not kind.must("exports"):
        pytest.skip(kind.exceptions["exports"])
    batch = next(iter(kind.data()))
    features = batch[0] if isinstance(batch, tuple) else batch
    wanted = next(one.predict(kind.data, yield_single_examples=False))
    with zoo.heard(kind, "exports"):
        exported = one.export_saved_model(tmp_path, verify=False)
    loaded = tf.saved_model.load(exported)
    serve = loaded.signatures["serving_default"]
    names = list(serve.structured_input_signature[1])
    served = serve(**(features if isinstance(features, dict) else {names[0]: features}))
    assert served.keys() == wanted.keys()
    for key, array in wanted.items():
        np.testing.assert_allclose(served[key], array, rtol=1e-5, atol=1e-6)


def test_a_new_estimator_goes_on_from_a_checkpoint_with_equal_bits(whole: Whole, tmp_path: Path) -> None:
    name, one, theirs = whole
    if not zoo.KINDS[name].must("resumes"):
        pytest.skip(zoo.KINDS[name].exceptions["resumes"])
    saved = Path("checkpoints", f"step-{SAVED}")
    shutil.copytree(Path(one.model_dir, saved), tmp_path / saved)
    mine = state(trained(name, tmp_path))
    assert mine.keys() == theirs.keys()
    assert [path for path in mine if mine[path] != theirs[path]] == []
