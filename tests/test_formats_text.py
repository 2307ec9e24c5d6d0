"""The text of a report: one block for each finding, with the line and a caret."""

from __future__ import annotations

import dataclasses
import linecache
from pathlib import Path

from test_findings import finding

from keras_estimator.doctor.findings import Applicability, Fix, Place
from keras_estimator.doctor.formats.text import as_text, summary
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.rewriting import needs_import


def test_a_finding_in_full(tmp_path: Path):
    file = tmp_path / "net.py"
    file.write_text("a = 1\n\treturn np.sin(x)  # what\n", encoding="utf-8")
    linecache.checkcache(str(file))
    fix = Fix("use keras.ops.sin", Applicability.SAFE, (needs_import("keras"),))
    one = dataclasses.replace(finding(fix, Place(str(file), 2, 9, 2, 18), "a/b"), evidence="2.44 instead of 6.93")
    assert as_text(Report("net.py", (one,))).replace(str(file), "net.py").splitlines() == [
        "net.py:2:9 KE999 [*] something is wrong; use keras.ops.sin",
        "     2 | \treturn np.sin(x)  # what",
        "       | \t       ^^^^^^^^^",
        "    layer:      a/b",
        "    evidence:   2.44 instead of 6.93",
        "    if ignored: it fails",
        "    fix:        use keras.ops.sin (safe)",
        "",
        "net.py: 1 warning",
        "[*] 1 can be mended with --fix",
        "keras-estimator explain KE999    tells more about KE999",
    ]


def test_the_short_form_is_one_line_each():
    at = Place("net.py", 1)
    assert (
        as_text(Report("net.py", (finding(at=at), finding(at=at))), is_short=True).splitlines()[:2]
        == ["net.py:1:1 KE999 something is wrong"] * 2
    )


def test_nothing_found_is_said_with_what_was_looked_at():
    assert summary(Report("net.py", (), "3 files", ("its train step: no data",))).splitlines() == [
        "net.py: nothing was found (3 files)",
        "not looked at: its train step: no data",
    ]


def test_a_range_over_lines_is_marked_to_the_end_of_its_first(tmp_path: Path):
    file = tmp_path / "net.py"
    file.write_text("x = f(\n    1,\n)\n", encoding="utf-8")
    lines = as_text(Report("net.py", (finding(at=Place(str(file), 1, 5, 3, 2)),))).splitlines()
    assert lines[1:3] == ["     1 | x = f(", "       |     ^^"]
