"""Only plain files are opened, and never more than a limit is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keras_estimator.plain_files import read_plain_file


def test_a_plain_file_is_read_up_to_the_limit(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_plain_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, more than 4"):
        read_plain_file(tmp_path / "file", 4)
    (tmp_path / "empty").touch()
    assert read_plain_file(tmp_path / "empty", 0) == b""


def test_nothing_else_is_opened(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("folder", "pipe", "device", "link"):
        with pytest.raises(OSError, match="it is not a plain file"):
            read_plain_file(tmp_path / name, 100)
    assert read_plain_file(tmp_path / "link", 100, follows_links=True) == b"12345"
    for name in ("folder", "pipe", "device"):
        with pytest.raises(OSError, match="it is not a plain file"):
            read_plain_file(tmp_path / name, 100, follows_links=True)


def test_one_that_is_not_there_is_told_apart(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_plain_file(tmp_path / "missing", 100)


def test_one_that_has_no_room_in_memory_is_refused(tmp_path: Path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**43)  # it takes no room on the disk
    with pytest.raises(OSError, match=r"there is no memory for its 8,796,093,022,208 bytes"):
        read_plain_file(tmp_path / "file", 2**50)
