"""Curves are read as TensorBoard shows them, from damaged files too, and what is wrong with a file is said."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from keras_estimator.event_files import Folder, Rewind, read_folders
from keras_estimator.hooks.hook import Run
from keras_estimator.hooks.reporting import SummaryWriter, write_scalars


def go_on_from(folder: Path, step: int) -> None:
    """Mark the start of a run as its hook does."""
    SummaryWriter(folder).begin(
        Run(model=None, model_dir=folder, step=step, first_step=step, last_step=None, save=lambda: folder)
    )


def next_file(folder: Path) -> None:
    """Let what is written from now on go to another file, as another process would."""
    for path in folder.iterdir():
        path.rename(path.with_name(path.name + ".earlier"))


def only(model_dir: Path) -> Folder:
    (folder,) = read_folders(model_dir)
    return folder


def values(folder: Folder, tag: str) -> list[tuple[int, float]]:
    return [(step, point.value) for step, point in folder.curves[tag].items()]


def test_training_and_every_evaluation_are_found_in_order(tmp_path: Path):
    for name in ("eval_late", "train", "other", "eval", "eval_early"):
        write_scalars(tmp_path / name, 1, {"loss": 1.0})
    (tmp_path / "eval_empty").mkdir()
    (tmp_path / "eval_file").write_text("")
    assert [folder.name for folder in read_folders(tmp_path)] == ["train", "eval", "eval_early", "eval_late"]
    assert read_folders(tmp_path / "missing") == []


def test_what_was_written_beyond_the_checkpoint_of_a_start_is_dropped_as_tensorboard_does(tmp_path: Path):
    train = tmp_path / "train"
    chance = random.Random(1)
    step = 0
    for _ in range(8):
        go_on_from(train, step)
        for _ in range(chance.randint(1, 20)):
            step += chance.randint(1, 3)
            write_scalars(train, step, {"loss": chance.random(), **({"other": 1.0} if chance.random() < 0.5 else {})})
        step = chance.randint(0, step)
        if chance.random() < 0.5:
            next_file(train)
    board = EventAccumulator(str(train), size_guidance={"scalars": 0})
    board.Reload()
    folder = only(tmp_path)
    assert set(folder.curves) == set(board.Tags()["scalars"])
    for tag in folder.curves:
        assert values(folder, tag) == [(event.step, event.value) for event in board.Scalars(tag)]


def test_going_back_is_told(tmp_path: Path):
    train = tmp_path / "train"
    go_on_from(train, 0)
    for step in (10, 20, 30):
        write_scalars(train, step, {"loss": 1.0})
    next_file(train)
    go_on_from(train, 20)
    write_scalars(train, 25, {"loss": 2.0})
    assert values(only(tmp_path), "loss") == [(10, 1.0), (20, 1.0), (25, 2.0)]
    assert only(tmp_path).rewinds == [Rewind(reached=30, went_on_from=20)]


def test_of_two_values_at_one_step_the_later_one_counts(tmp_path: Path):
    for value in (1.0, 2.0):
        write_scalars(tmp_path / "eval", 10, {"loss": value})
    assert values(only(tmp_path), "loss") == [(10, 2.0)]


def test_scalars_of_tf_summary_are_read_and_other_summaries_left_out(tmp_path: Path):
    with tf.summary.create_file_writer(str(tmp_path / "train")).as_default(step=3):
        tf.summary.scalar("own", 0.5)
        tf.summary.text("text", "words")
        tf.summary.histogram("many", [1.0, 2.0])
    assert {tag: values(only(tmp_path), tag) for tag in only(tmp_path).curves} == {"own": [(3, 0.5)]}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_tail_that_is_cut_off_is_said_and_the_rest_shown(cut: int, tmp_path: Path):
    for step in range(1, 6):
        write_scalars(tmp_path / "train", step, {"loss": 1 / step})
    (file,) = (tmp_path / "train").iterdir()
    os.truncate(file, file.stat().st_size - cut)
    folder = only(tmp_path)
    whole = len(folder.curves["loss"])
    assert 3 <= whole <= 4
    if folder.problems:  # unless it is cut just behind an event
        assert f"the {whole + 1:,} events before" in folder.problems[0]
        assert "ends in the middle of an event" in folder.problems[0]


def test_damage_in_the_middle_is_said_and_a_later_file_is_read(tmp_path: Path):
    for step in range(1, 6):
        write_scalars(tmp_path / "train", step, {"loss": 1 / step})
    (file,) = (tmp_path / "train").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    next_file(tmp_path / "train")
    write_scalars(tmp_path / "train", 9, {"loss": 9.0})
    folder = only(tmp_path)
    assert "is damaged" in folder.problems[0]
    assert values(folder, "loss")[0] == (1, 1.0)
    assert values(folder, "loss")[-1] == (9, 9.0)


def test_a_file_of_anything_is_said(tmp_path: Path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "events.out.tfevents.1").write_bytes(random.Random(0).randbytes(1000))
    os.mkfifo(tmp_path / "train" / "events.out.tfevents.2")
    assert only(tmp_path).curves == {}
    assert len(only(tmp_path).problems) == 1


def event_file(folder: Path, *records: bytes, length: int | None = None) -> None:
    """Write records as TensorBoard does; `length` is what they say instead of their own."""
    folder.mkdir()
    data = b""
    for record in records:
        head = (len(record) if length is None else length).to_bytes(8, "little")
        sums = [masked_crc32c(part).to_bytes(4, "little") for part in (head, record)]
        data += head + sums[0] + record + sums[1]
    (folder / "events.out.tfevents.1").write_bytes(data)


@pytest.mark.parametrize("length", [100, 2**31, 2**63, 2**64 - 1])
def test_a_record_that_says_that_it_is_longer_than_the_file_takes_no_memory(length: int, tmp_path: Path):
    event_file(tmp_path / "train", b"record", length=length)
    tracemalloc.start()
    folder = only(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert "the 0 events before" in folder.problems[0]


def test_a_scalar_that_says_that_it_has_a_shape_takes_no_memory(tmp_path: Path):
    event = Event(step=1)
    value = event.summary.value.add(tag="loss")
    value.tensor.dtype = 1
    value.tensor.float_val.append(1.0)
    value.tensor.tensor_shape.dim.add(size=2**40)
    event_file(tmp_path / "train", event.SerializeToString())
    assert only(tmp_path) == Folder("train")
