"""Checkpoints of TensorFlow are read as data: those that TensorFlow 2.15 has written, and damaged ones of today."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_estimator.errors import CheckpointError, CorruptCheckpointError, NoCheckpointError
from keras_estimator.tf_checkpoints import TfCheckpoint, find_tf_checkpoint, list_tf_checkpoints

# tf.keras.estimator.model_to_estimator of TensorFlow 2.15 wrote them, with each of its two checkpoint formats, for
# Dense(3, name="hidden"), BatchNormalization(name="norm"), Dense(1, name="head") and Adam, steps 5 and 10.
OLD = Path(__file__).parent / "data" / "model_dirs_of_tf_2_15"
NAME_BASED, OBJECT_BASED = OLD / "name_based", OLD / "object_based"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the prefix of a checkpoint with all that tf.train.Checkpoint can hold."""
    module = tf.Module()
    module.weight = tf.Variable(np.arange(6, dtype="f4").reshape(2, 3), name="weight")
    module.parts = [tf.Variable(tf.cast([1, 2], tf.bfloat16)), tf.Variable(["a", "b"]), tf.Variable("alone")]
    setattr(module, "a/b.c", tf.Variable(3.0))
    optimizer = tf.compat.v1.train.AdamOptimizer()
    optimizer.minimize(lambda: tf.reduce_sum(module.weight * 2), var_list=[module.weight])
    step, place = tf.Variable(70, dtype=tf.int64), iter(tf.data.Dataset.range(5))
    checkpoint = tf.train.Checkpoint(model=module, optimizer=optimizer, step=step, place=place)
    return Path(checkpoint.save(str(tmp_path_factory.mktemp("written") / "ckpt")))


def copied(prefix: Path, folder: Path) -> Path:
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        shutil.copy(path, folder)
    return folder / prefix.name


def test_the_checkpoints_of_a_folder_are_listed_by_their_number(tmp_path: Path):
    for name in ("m-10.index", "m-9.index", "m-0.index", "m.index", "m-11.meta", ".index", "checkpoint"):
        (tmp_path / name).touch()
    assert [path.name for path in list_tf_checkpoints(tmp_path)] == ["m", "m-0", "m-9", "m-10"]
    assert list_tf_checkpoints(tmp_path / "missing") == []


def test_a_prefix_a_file_and_a_folder_mean_a_checkpoint(tmp_path: Path):
    newest = NAME_BASED / "model.ckpt-10"
    for path in (newest, f"{newest}.index", f"{newest}.data-00000-of-00001", NAME_BASED):
        assert find_tf_checkpoint(path) == newest
    for path in (NAME_BASED / "model.ckpt-7", NAME_BASED / "checkpoint", OLD, tmp_path, tmp_path / "none" / "x", "/"):
        assert find_tf_checkpoint(path) is None


def test_the_newest_is_the_one_that_the_folder_names_wherever_it_was_written(tmp_path: Path):
    assert find_tf_checkpoint(OBJECT_BASED) == OBJECT_BASED / "model.ckpt-10"  # its file names another folder
    shutil.copytree(NAME_BASED, tmp_path, dirs_exist_ok=True)
    for text, newest in (
        ('model_checkpoint_path: "model.ckpt-5"\n', "model.ckpt-5"),
        ("model_checkpoint_path: 'C:\\\\runs\\\\model.ckpt-5'", "model.ckpt-5"),
        ('all_model_checkpoint_paths: "model.ckpt-5"', "model.ckpt-10"),
        ('model_checkpoint_path: "../../elsewhere/gone-7"', "model.ckpt-10"),
        ('model_checkpoint_path: "\\xff\\377"', "model.ckpt-10"),
    ):
        (tmp_path / "checkpoint").write_text(text)
        assert find_tf_checkpoint(tmp_path) == tmp_path / newest


def test_variables_of_a_name_based_checkpoint_have_their_own_names():
    checkpoint = TfCheckpoint(NAME_BASED)
    assert (checkpoint.number, checkpoint.global_step(), checkpoint.save_counter()) == (10, 10, None)
    assert not checkpoint.is_object_based
    assert len(checkpoint.variables) == 25
    kernel = checkpoint.variables["hidden/kernel"]
    assert (kernel.shape, kernel.dtype, kernel.key, kernel.full_name) == ((2, 3), "float32", *["hidden/kernel"] * 2)
    np.testing.assert_array_equal(checkpoint.read("head/bias"), np.float32([-0.009994624182581902]))
    assert TfCheckpoint(NAME_BASED / "model.ckpt-5").global_step() == 5


def test_variables_of_an_object_based_checkpoint_are_named_by_their_path_and_their_program():
    checkpoint = TfCheckpoint(OBJECT_BASED)
    assert checkpoint.is_object_based
    assert checkpoint.global_step() == 10
    full_names = {name: variable.full_name for name, variable in checkpoint.variables.items() if not variable.slot_of}
    assert full_names["layer_with_weights-0/kernel"] == "hidden/kernel"
    assert full_names["optimizer/beta_1"] == "training/Adam/beta_1"
    slots = {name: variable.slot_of for name, variable in checkpoint.variables.items() if variable.slot_of}
    assert len(slots) == 12
    assert slots["optimizer/m/layer_with_weights-2/bias"] == "layer_with_weights-2/bias"
    assert checkpoint.read("optimizer/m/layer_with_weights-2/bias") == np.float32(5.487532138824463)
    assert not [name for name in checkpoint.variables if "/." in name]


def test_both_formats_hold_the_same_run():
    by_name, by_objects = TfCheckpoint(NAME_BASED), TfCheckpoint(OBJECT_BASED)
    assert {each.full_name for each in by_objects.variables.values()} == by_name.variables.keys()
    for name, variable in by_objects.variables.items():
        np.testing.assert_array_equal(by_objects.read(name), by_name.read(variable.full_name))


def test_values_of_every_kind_come_back(written: Path):
    checkpoint = TfCheckpoint(written)
    assert (checkpoint.global_step(), checkpoint.save_counter()) == (70, 1)
    np.testing.assert_allclose(checkpoint.read("optimizer/v/model/weight"), np.full((2, 3), 0.004, "f4"), rtol=1e-4)
    assert checkpoint.read("model/parts/0").astype(float).tolist() == [1, 2]
    assert checkpoint.read("model/parts/1").tolist() == [b"a", b"b"]
    assert checkpoint.read("model/parts/2").item() == b"alone"
    assert checkpoint.read("model/a/b.c") == 3


def test_what_is_no_array_is_named_and_not_read(written: Path):
    checkpoint = TfCheckpoint(written)
    [name] = [name for name, variable in checkpoint.variables.items() if variable.dtype == "variant"]
    with pytest.raises(CheckpointError, match="is no array"):
        checkpoint.read(name)
    with pytest.raises(NoCheckpointError, match="no variable 'model/wait'"):
        checkpoint.read("model/wait")


def test_a_variable_in_parts_is_read_as_one(tmp_path: Path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        values = tf.constant(np.arange(14.0).reshape(7, 2))
        tf.compat.v1.get_variable("rows", initializer=values, partitioner=tf.compat.v1.fixed_size_partitioner(3))
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = tf.compat.v1.train.Saver(sharded=True).save(session, str(tmp_path / "model.ckpt"), global_step=3)
    np.testing.assert_array_equal(TfCheckpoint(prefix).read("rows"), np.arange(14.0).reshape(7, 2))


def test_a_missing_file_is_named(tmp_path: Path):
    prefix = copied(OBJECT_BASED / "model.ckpt-10", tmp_path)
    shard = tmp_path / "model.ckpt-10.data-00001-of-00002"
    shard.unlink()
    with pytest.raises(CorruptCheckpointError) as raised:
        TfCheckpoint(prefix)
    assert raised.value.found == f"1 of 2 shards missing: {shard.name}"
    (tmp_path / "model.ckpt-10.index").unlink()
    with pytest.raises(CorruptCheckpointError, match=r"no model\.ckpt-10\.index"):
        TfCheckpoint(prefix)
    with pytest.raises(NoCheckpointError) as missing:
        TfCheckpoint(OBJECT_BASED / "model.ckpt-7")
    assert missing.value.found == f"in {OBJECT_BASED}: model.ckpt-5, model.ckpt-10"


def test_a_size_that_the_files_cannot_hold_is_not_made_room_for(tmp_path: Path):
    prefix = copied(NAME_BASED / "model.ckpt-10", tmp_path)
    with tmp_path.joinpath(f"{prefix.name}.data-00000-of-00001").open("r+b") as shard:
        shard.truncate(10)
    with pytest.raises(CorruptCheckpointError, match="would have 24 bytes or more, and all shards have 10"):
        TfCheckpoint(prefix).read("hidden/kernel")


def test_whatever_is_damaged_is_found_or_does_not_matter(tmp_path: Path):
    """Some bytes of an index are in no variable and under no sum."""
    whole, prefix = TfCheckpoint(OBJECT_BASED), tmp_path / "model.ckpt-10"
    values = {name: whole.read(name) for name in whole.variables}
    draw, num_found = random.Random(0), 0
    for _ in range(150):
        copied(OBJECT_BASED / "model.ckpt-10", tmp_path)
        file = draw.choice(sorted(tmp_path.iterdir()))
        data = bytearray(file.read_bytes())
        place = draw.randrange(len(data))
        data[place:] = draw.choice([b"", bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]])
        file.write_bytes(data)
        try:
            checkpoint = TfCheckpoint(prefix)
            assert all(np.array_equal(checkpoint.read(name), value) for name, value in values.items())
        except CorruptCheckpointError:
            num_found += 1
    assert num_found > 140


def test_finding_needs_no_tensorflow_and_reading_says_that_it_does():
    program = f"""
import sys
sys.modules["tensorflow"] = None  # as if it were not installed
from keras_estimator.errors import ConfigError
from keras_estimator.tf_checkpoints import TfCheckpoint, find_tf_checkpoint
print(find_tf_checkpoint({str(NAME_BASED)!r}).name)
try:
    TfCheckpoint({str(NAME_BASED)!r})
except ConfigError as error:
    print(error.fix, "keras" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == 'model.ckpt-10\npip install "keras-estimator[tensorflow]" False\n', done.stderr
