"""Fixes are applied until none is left; a file is written whole, as it was but for them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keras_estimator.doctor.mending import Mended, mended, write
from keras_estimator.doctor.settings import Settings

THIRD_OF_THE_ARTICLE = """import tensorflow as tf

class StatefulLambda(tf.keras.layers.Layer):
    def __init__(self):
        super(StatefulLambda, self).__init__()
        self.counter = tf.Variable(0, trainable=False)

    def call(self, x):
        self.counter.assign_add(1)
        return x * self.counter
"""
SETTINGS = Settings(select=("KE101", "KE102", "KE301"))


def test_fixes_of_several_rules_come_together():
    one = mended("net.py", THIRD_OF_THE_ARTICLE, SETTINGS)
    assert {finding.code for finding in one.applied} == {"KE101", "KE102", "KE301"}
    assert "import keras\n" in one.after
    assert '@keras.saving.register_keras_serializable(package="net")\nclass StatefulLambda' in one.after
    assert "def __init__(self, **kwargs):\n        super(StatefulLambda, self).__init__(**kwargs)\n" in one.after
    assert "self.counter = self.add_weight(" in one.after
    assert mended("net.py", one.after, SETTINGS).after == one.after


def test_only_wanted_and_only_safe_fixes_are_applied():
    text = THIRD_OF_THE_ARTICLE.replace("tf.Variable(0, trainable=False)", "tf.Variable(1.5)")
    assert mended("net.py", text, Settings(select=("KE301",))).after == text
    assert mended("net.py", text, Settings(select=("KE301",)), unsafe=True).after != text
    assert mended("net.py", text, Settings(select=("KE305",)), unsafe=True).after == text


def test_the_diff_shows_what_is_changed_and_nothing_else():
    one = mended("net.py", THIRD_OF_THE_ARTICLE, Settings(select=("KE102",)))
    changed = [line for line in one.diff.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == [
        "-    def __init__(self):",
        "-        super(StatefulLambda, self).__init__()",
        "+    def __init__(self, **kwargs):",
        "+        super(StatefulLambda, self).__init__(**kwargs)",
    ]
    assert mended("net.py", "x = 1", SETTINGS).diff == ""
    assert "No newline at end of file" in Mended("net.py", "x = 1", "x = 2", ()).diff


def test_a_file_keeps_its_rights_its_line_ends_and_its_mark(tmp_path: Path):
    path = tmp_path / "net.py"
    text = THIRD_OF_THE_ARTICLE.replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    path.chmod(0o750)
    one = mended(str(path), text, Settings(select=("KE102",)))
    write(one)
    assert path.read_bytes() == b"\xef\xbb\xbf" + one.after.encode()
    assert b"super(StatefulLambda, self).__init__(**kwargs)\r\n" in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert os.listdir(tmp_path) == ["net.py"]


def test_a_link_is_followed(tmp_path: Path):
    (tmp_path / "real.py").write_text(THIRD_OF_THE_ARTICLE, encoding="utf-8")
    (tmp_path / "link.py").symlink_to("real.py")
    write(mended(str(tmp_path / "link.py"), THIRD_OF_THE_ARTICLE, Settings(select=("KE102",))))
    assert (tmp_path / "link.py").is_symlink()
    assert "**kwargs" in (tmp_path / "real.py").read_text(encoding="utf-8")
