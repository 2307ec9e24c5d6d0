"""Files are read and never run, findings are put together and sorted, and what is broken is a finding."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_estimator.doctor.examine import examine_files, examine_text, merged, of_failures, wanted
from keras_estimator.doctor.failure import Failure
from keras_estimator.doctor.findings import Applicability, Finding, Fix, Place, Severity
from keras_estimator.doctor.rewriting import needs_import
from keras_estimator.doctor.settings import Settings

COUNTS = """import tensorflow as tf
open("{canary}", "w").close()
class Counts(tf.keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.counter = tf.Variable(0, trainable=False)
"""


def test_a_file_is_read_and_not_run(tmp_path: Path):
    canary = tmp_path / "canary"
    (tmp_path / "net.py").write_text(COUNTS.format(canary=canary), encoding="utf-8")
    ((path, found),) = examine_files([tmp_path], Settings(select=("KE301",)))
    assert [(path.name, one.code, one.place and one.place.line) for one in found] == [("net.py", "KE301", 6)]
    assert not canary.exists()


def test_looking_at_files_starts_no_backend(tmp_path: Path):
    (tmp_path / "net.py").write_text(COUNTS.format(canary="canary"), encoding="utf-8")
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from keras_estimator.doctor.examine import examine_files\n"
        "from keras_estimator.doctor.settings import Settings\n"
        "print(sum(len(found) for _, found in examine_files([Path(sys.argv[1])], Settings())) > 0)\n"
        "print([name for name in ('keras', 'tensorflow', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["True", "[]"]


@pytest.mark.parametrize(
    "text", ["def f(:\n", "import keras\nclass A(:\n", "\0", "x = (" + "(" * 5000, "x = " + "-" * 50_000 + "1"]
)
def test_a_file_that_is_no_python_is_a_finding(text: str):
    (found,) = examine_text("net.py", text, Settings())
    assert (found.code, found.severity, found.place and found.place.file) == ("KE001", Severity.ERROR, "net.py")


def test_a_file_in_another_encoding_is_a_finding(tmp_path: Path):
    path = tmp_path / "net.py"
    path.write_bytes("import keras\nx = 'größe'\n".encode("latin-1"))
    ((_, (found,)),) = examine_files([path], Settings())
    assert found.code == "KE001"


def finding(code: str, at: Place | None, layer: str = "", evidence: str = "", fix: Fix | None = None) -> Finding:
    return Finding(code, "name", Severity.WARNING, "what", at, layer, "", evidence, fix)


def test_what_source_and_model_tell_of_one_line_is_put_together():
    fix = Fix("do", Applicability.SAFE, (needs_import("keras"),))
    of_source = finding("KE1", Place("a.py", 3, 5, 3, 9), fix=fix)
    of_model = finding("KE1", Place("a.py", 3), "dense", "1.0 instead of 2.0")
    (one,) = merged([of_source], [of_model])
    assert (one.place, one.layer, one.evidence, one.fix) == (of_source.place, "dense", of_model.evidence, fix)


def test_two_expressions_of_a_line_are_two_findings_and_the_worse_severity_counts():
    one, other = (finding("KE1", Place("a.py", 3, column, 3, 9)) for column in (1, 5))
    assert merged([one, other]) == [one, other]
    error = dataclasses.replace(other, severity=Severity.ERROR, evidence="it raised")
    first, second = merged([one, other], [error])
    assert (first, second.severity, second.evidence) == (one, Severity.ERROR, "it raised")


def test_two_layers_of_one_class_are_one_finding_of_both():
    at = Place("a.py", 3)
    (one,) = merged([], [finding("KE1", at, "dense"), finding("KE1", at, "dense_1"), finding("KE1", at, "dense")])
    assert one.layer == "dense, dense_1"
    assert len(merged([], [finding("KE1", None, "dense"), finding("KE1", None, "dense_1")])) == 2


def test_findings_are_in_the_order_of_their_places():
    one, two, three = finding("KE2", Place("a.py", 9)), finding("KE1", Place("a.py", 10)), finding("KE3", None)
    assert wanted([two, one, three], Settings()) == [three, one, two]


def test_an_error_that_no_rule_knows_is_told_with_its_line():
    try:
        _ = {}["seldom"]
    except KeyError as error:
        (found,) = of_failures([Failure(error, "build")])
    assert found.code == "KE002"
    assert "KeyError: 'seldom'" in found.message
    assert found.place is not None
    assert found.place.file == __file__


def test_a_named_file_is_looked_at_even_if_its_folder_would_not_be(tmp_path: Path):
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "net.py").write_text("def f(:\n", encoding="utf-8")
    assert list(examine_files([tmp_path], Settings())) == []
    assert len(list(examine_files([folder / "net.py", folder / "net.py"], Settings()))) == 1


def test_below_a_folder_only_files_are_looked_at_and_links_lead_round_no_circle(tmp_path: Path):
    (tmp_path / "net.py").write_text("import keras\n")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "other.py").write_text("import keras\n")
    for name in ("a", "b", "c"):
        (tmp_path / "inside" / name).symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "device.py").symlink_to("/dev/zero")
    (tmp_path / "circle.py").symlink_to(tmp_path / "circle.py")
    looked_at = [path for path, _ in examine_files([tmp_path], Settings())]
    assert looked_at == [tmp_path / "inside" / "other.py", tmp_path / "net.py"]
