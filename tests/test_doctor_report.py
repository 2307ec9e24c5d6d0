"""A report counts what was found, and is text or HTML where it is looked at."""

from __future__ import annotations

from test_findings import finding

from keras_estimator.doctor.findings import Applicability, Fix, Place, Severity
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.rewriting import needs_import


def test_a_report_without_errors_and_warnings_is_healthy():
    warning = finding()
    info = type(warning)(**{**vars(warning), "severity": Severity.INFO})
    assert Report("net.py", ()).is_healthy
    assert Report("net.py", (info,)).is_healthy
    assert not Report("net.py", (info, warning)).is_healthy
    assert Report("net.py", (info, warning)).of(Severity.INFO) == [info]


def test_fixes_are_counted_by_who_may_apply_them():
    change = (needs_import("keras"),)
    fixes = [Fix("a", Applicability.SAFE, change), Fix("b", Applicability.SAFE), Fix("c", Applicability.UNSAFE, change)]
    report = Report("net.py", tuple(finding(fix, Place("net.py", 1)) for fix in fixes))
    assert report.fixable == {Applicability.SAFE: 1, Applicability.UNSAFE: 1, Applicability.DISPLAY: 0}


def test_a_report_shows_itself_as_text_and_in_a_notebook():
    report = Report("net.py", (finding(at=Place("net.py", 1)),), "1 file")
    assert "net.py:1:1 KE999 something is wrong" in str(report)
    assert "net.py: 1 warning (1 file)" in str(report)
    assert "something is wrong" in report._repr_html_()
