"""What lies at a path is found out, and its weights are listed without optimizers and metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CheckpointError, CorruptCheckpointError, NoCheckpointError
from keras_estimator.weight_files import open_weights
from keras_estimator.weight_matching import LAYERS, STATE

ONE = np.ones((2,), "float32")


def test_a_model_dir_stands_for_its_newest_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    noise = dict.fromkeys(["optimizer/momentums/0", "loss_tracker/total", "dropout/seed_generator/state"], ONE)
    for step in (1, 2):
        path = checkpoints.write(step, {"dense/kernel": step * ONE, **noise}, {})
    for given in (tmp_path, path):
        with open_weights(given) as stored:
            assert [each.names for each in stored] == [{STATE: "dense/kernel"}]
            np.testing.assert_array_equal(stored[0].read(), 2 * ONE)
    (path / "state.safetensors").write_bytes(b"")
    with pytest.raises(CorruptCheckpointError), open_weights(path):
        pass


def test_a_checkpoint_of_tensorflow_has_the_names_of_its_program(tmp_path: Path) -> None:
    root = tf.Module()
    root.kernel = tf.Variable(ONE, name="dense_4/kernel")
    root.optimizer = tf.Module()
    root.optimizer.rate = tf.Variable(0.1)
    tf.train.Checkpoint(model=root).save(tmp_path / "model.ckpt")
    for given in (tmp_path, tmp_path / "model.ckpt-1"):
        with open_weights(given) as stored:
            assert [(each.name, each.names) for each in stored] == [("model/kernel", {LAYERS: "dense_4/kernel"})]
            np.testing.assert_array_equal(stored[0].read(), ONE)


def test_what_tensorflow_1_kept_for_its_optimizers_is_left_out(tmp_path: Path) -> None:
    names = ["dense/kernel", "dense/kernel/Adam", "training/Adam/dense/kernel/m", "global_step"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name in names:
            tf.compat.v1.get_variable(name, initializer=ONE)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "old"), write_meta_graph=False)
    with open_weights(tmp_path / "old") as stored:
        assert [each.name for each in stored] == ["dense/kernel"]


def test_what_holds_no_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoCheckpointError, match="gone"), open_weights(tmp_path / "gone"):
        pass
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(CheckpointError, match=r"a folder: notes\.txt"), open_weights(tmp_path):
        pass
    with pytest.raises(CheckpointError, match=r"a file: notes\.txt"), open_weights(tmp_path / "notes.txt"):
        pass
